"""Evaluates the finished seeds of a record together: ensembles, shifted copies of an image, and the images missed.

    python -m experiments.ensembles runs/studies/best_cnn

It writes experiments/results/ensembles/NAME.json and experiments/figures/NAME_missed.png, for the folder's name.
docs/records.md shows both. Every network sees the test images once as they are, and once in nine copies, shifted by up
to one pixel.
"""

import collections
from collections.abc import Iterator, Sequence
import json
import pathlib
import sys
from typing import Any

from absl import flags
import numpy as np

from digits import command_line
from digits.errors import UserError
from digits.runs import files

_FLAGS = flags.FlagValues()
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for digits.main.", flag_values=_FLAGS)
FOLDER = pathlib.Path(__file__).parent
SIZE, COUNT = 10, 10  # Ensembles of ten networks; ten of them.
# The test images whose label fewer than three of five people saw (Northcutt, Athalye and Mueller 2021,
# arXiv:2103.14749; cleanlab/label-errors, mturk/mnist_mturk.json).
DISPUTED = (947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729)


def shifted(images: np.ndarray) -> Iterator[np.ndarray]:
    """The images, NxHxW, in nine copies: shifted by -1, 0 or 1 pixel down and to the right, black where they left."""
    height, width = images.shape[1:]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    for row in range(3):
        for column in range(3):
            yield padded[:, row : row + height, column : column + width]


def groups(networks: int) -> tuple[list[list[int]], bool]:
    """The members of each ensemble, and whether no network belongs to two of them.

    With fewer networks than that needs, each ensemble is drawn by itself. UserError below SIZE + 1 networks.
    """
    if networks <= SIZE:
        raise UserError(f"ensembles of {SIZE} need at least {SIZE + 1} finished seeds, but there are {networks}.")
    apart = networks >= SIZE * COUNT
    rng = np.random.default_rng(0)
    orders = rng.permutation(networks)[: SIZE * COUNT].reshape(COUNT, SIZE) if apart else [
        rng.choice(networks, SIZE, replace=False) for _ in range(COUNT)
    ]  # fmt: skip
    return [sorted(map(int, order)) for order in orders], apart


def together(plain: np.ndarray, averaged: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The accuracies of the networks and of ensembles, and the images that some network misses.

    Args:
      plain: SxNxK, the probabilities that S networks give N images.
      averaged: SxNxK, the means of the probabilities that they give an image's shifted copies.
      labels: N.
    """

    def accuracy(probabilities):
        return float((probabilities.argmax(-1) == labels).mean())

    ensembles, apart = groups(len(plain))
    predictions = plain.argmax(-1)
    wrong = predictions != labels
    missed = [
        {
            "image": int(image),
            "label": int(labels[image]),
            "missed": int(wrong[:, image].sum()),
            "taken_for": collections.Counter(predictions[wrong[:, image], image].tolist()).most_common(1)[0][0],
        }
        for image in np.flatnonzero(wrong.any(0))
    ]
    return {
        "single": [accuracy(one) for one in plain],
        "single_shifted": [accuracy(one) for one in averaged],
        "ensembles": [accuracy(plain[group].mean(0)) for group in ensembles],
        "ensembles_shifted": [accuracy(averaged[group].mean(0)) for group in ensembles],
        "members": ensembles,
        "apart": apart,
        "missed": sorted(missed, key=lambda entry: (-entry["missed"], entry["image"])),
    }


def predicted(folders: Sequence[pathlib.Path], images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities that runs give images, and their means over shifted copies, SxNxK each."""
    import digits

    plain, averaged = [], []
    for number, folder in enumerate(folders, start=1):
        run = digits.load(folder, "latest")
        copies = [run.predict(np.ascontiguousarray(copy)) for copy in shifted(images)]
        plain.append(copies[4])
        averaged.append(np.mean(copies, 0))
        print(f"{number}/{len(folders)}  {folder.name}", flush=True)
    return np.array(plain), np.array(averaged)


def picture(images: np.ndarray, missed: Sequence[dict[str, Any]], networks: int) -> bytes:
    """Draws the images that at least half of the networks miss, as a PNG file; * marks a disputed label."""
    from digits.analysis.figures.sheet import png, sheet

    shown = [entry for entry in missed if 2 * entry["missed"] >= networks]
    captions = [
        f"{entry['label']}{'*' * (entry['image'] in DISPUTED)}, taken for {entry['taken_for']}\n"
        f"by {entry['missed']} of {networks}"
        for entry in shown
    ]
    return png(sheet(images[[entry["image"] for entry in shown]], captions, columns=8))


def evaluate(folder: pathlib.Path, data_dir: str | None) -> int:
    """Evaluates the finished runs in a folder together, and writes the file and the picture; returns the exit code."""
    from digits import data

    found = sorted(
        (path.parent for path in folder.glob("seed=*/result.json")), key=lambda path: int(path.name.partition("=")[2])
    )
    groups(len(found))  # Before the minutes of work: are there enough?
    *_, images, labels = data.load("mnist", data_dir).arrays
    result = together(*predicted(found, images), labels)
    path = FOLDER / "results" / "ensembles" / f"{folder.name}.json"
    files.write(path, (json.dumps(result) + "\n").encode())
    files.write(FOLDER / "figures" / f"{folder.name}_missed.png", picture(images, result["missed"], len(found)))
    for name in ("single", "single_shifted", "ensembles", "ensembles_shifted"):
        print(f"{name}: {np.mean(result[name]):.5f} ± {np.std(result[name], ddof=1):.5f}")
    print(path)
    return 0


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""

    def body(names: list[str]) -> int:
        if len(names) != 1 or not pathlib.Path(names[0]).is_dir():
            raise UserError(f"{' '.join(names)!r} is given, but it must be one folder of runs, one for each seed.")
        return evaluate(pathlib.Path(names[0]), _DATA_DIR.value)

    return command_line.run(argv, __name__, _FLAGS, body, files="a folder of runs")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
