"""Records, by the protocol of docs/records.md: every seed counts.

    python -m experiments.reproduce records_study

The notebooks claim nothing of this kind, so that the study has no claims. Its tables and pictures are in
docs/records.md.
"""

from typing import NamedTuple

from experiments.judging.study import Arm, Study

SPEED = (
    Arm("fast_99", "fast_99", "ours", seeds=100),
    Arm("fast_995", "fast_995", "ours", seeds=30),
)

ACCURACY = (Arm("best_cnn", "best_cnn", "ours", seeds=20),)


def _few(*widths: int, separable: bool = True) -> Arm:
    """The network with one convolution of each width in turn."""
    blocks = tuple((width,) for width in widths)
    depthwise = (False, *(separable for _ in widths[1:]))  # The image has one channel: the first is a depthwise one.
    pool = (2, 2, *(1 for _ in widths[2:]))
    overrides = {"model.blocks": blocks, "model.separable": depthwise, "model.pool": pool}
    kind = "" if separable else ",full"
    return Arm(f"few_parameters,{'-'.join(map(str, widths))}{kind}", "few_parameters", "ours", overrides)


PARAMETERS = (
    *(_few(width, 2 * width, 2 * width) for width in (3, 4, 6, 8, 12, 16, 24, 32)),
    *(_few(width, 2 * width, 2 * width, 2 * width) for width in (4, 6, 8)),
    *(_few(width, 2 * width, 2 * width, separable=False) for width in (2, 4, 8)),
)


class Published(NamedTuple):
    """A figure that others published, for the pictures.

    Attributes:
      name: the project; on GitHub, its owner and name.
      accuracy: the test accuracy.
      seconds, parameters: of training, and of the network; None where it is not claimed.
      protocol: how the figure came about.
    """

    name: str
    accuracy: float
    seconds: float | None
    parameters: int | None
    protocol: str


PUBLISHED = (
    Published(
        "tuomaso/train_mnist_fast", 0.99, 0.762, None,
        "99% after 0.762 ± 0.025 s of training on a GTX 1660 Ti; the settings were tuned on the test set",
    ),
    Published(
        "ttdoucet/mnist", 0.99738, 180, None,
        "99.738 ± 0.031%, the mean of ten networks; ten epochs each, about three minutes on a GTX 1080 Ti",
    ),
    Published(
        "cdeotte/MNIST-CNN-99.75", 0.99641, 960, None,
        "99.641 ± 0.047%, the mean of 1,500 networks; 30 epochs each, four hours for fifteen on a Tesla K80",
    ),
    Published("697 parameters", 0.99, None, 697, "99%, the best of 700 networks of one architecture"),
)  # fmt: skip

STUDY = Study(
    "records_study",
    "Records",
    "How fast does a network reach 99% on an ordinary CPU, how accurate is one, and how few parameters suffice?",
    SPEED + ACCURACY + PARAMETERS,
    claims=(),
    lessons=(),
    appendix=lambda members: "The protocol, the tables and the pictures: [docs/records.md](../../docs/records.md).",
)
