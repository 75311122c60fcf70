"""Declares every field of a config: accepted values and meaning. Needs no JAX.

From this table come the checks of single fields, the conversion of `--config.NAME=` and `--sweep.NAME=`, the output of
`--fields` and the page docs/fields.md. The defaults stand in configs/base.py, rules between fields in
digits/training/train.py.
"""

from collections.abc import Callable
import dataclasses
import math
from typing import Any

_COUNTS = 2**31  # Counts and seeds are int32 in the compiled step.
# The step calculates in float32, where 1e-50 is 0, 0.99999999 is 1 and 1e50 is infinite. Each of these gives NaN.
_LARGEST = 1e37


@dataclasses.dataclass(frozen=True)
class Accepted:
    """The values that a field accepts.

    Attributes:
      type: the type of its values; `object` where it takes one value or a tuple.
      accepts: whether a value, of any type, makes sense by itself.
      text: the same in words, to follow "it must be".
    """

    type: type
    accepts: Callable[[Any], bool]
    text: str


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a config, by its dotted name."""

    name: str
    accepted: Accepted
    meaning: str


def whole(low: int = 0, below: float = _COUNTS) -> Accepted:
    """A whole number from `low` to below `below`, which is 2^31 or infinite."""

    def accepts(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value < below

    return Accepted(int, accepts, f"a whole number from {low}" + (" to below 2^31" if below == _COUNTS else ""))


def number(low: float = 0.0, below: float = _LARGEST, text: str = "", most: float = math.inf) -> Accepted:
    """A finite number from `low` to below `below`, and at most `most`."""

    def accepts(value: Any) -> bool:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and low <= value < below and value <= most

    at_most = f", at most {most}" if most != math.inf else ""
    return Accepted(float, accepts, text or f"a finite number from {low:g} to below {below:g}{at_most}")


def choice(*names: str) -> Accepted:
    """One of some words."""
    return Accepted(str, lambda value: value in names, "one of " + ", ".join(sorted(names)))


def text(words: str = "text") -> Accepted:
    """Any text. The code that uses it checks it further; `words` describe what that accepts."""
    return Accepted(str, lambda value: isinstance(value, str), words)


def switch() -> Accepted:
    """True or false."""
    return Accepted(bool, lambda value: isinstance(value, bool), "true or false")


def tuple_of(each: Accepted, words: str, least: int = 0) -> Accepted:
    """A tuple of `least` entries or more."""

    def accepts(value: Any) -> bool:
        return isinstance(value, tuple) and len(value) >= least and all(map(each.accepts, value))

    return Accepted(tuple, accepts, words)


def one_or_each(one: Accepted, note: str = "") -> Accepted:
    """One value for all layers or blocks, or a tuple with one value for each."""

    def accepts(value: Any) -> bool:
        return all(map(one.accepts, value)) if isinstance(value, tuple) else one.accepts(value)

    return Accepted(object, accepts, f"{one.text}{note}, or a tuple with one for each")


def documented() -> Accepted:
    """A number that a notebook printed, or None."""
    finite = number(-math.inf, math.inf)
    return Accepted(float, lambda value: value is None or finite.accepts(value), "a finite number, or None")


_INITIALIZERS = choice("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal")
_SHARE = number(0, 1, most=0.999999)  # float32 has hardly a number between that and 1.
_DROPOUT = number(0, 1, most=0.999)  # Dropout divides by 1 - rate.
_POSITIVE = number(1 / _LARGEST, text=f"a finite number above 0, {1 / _LARGEST:g} to below {_LARGEST:g}")
# digits.data.splits.check refuses negative folds: it knows how many there are.
_FOLD = dataclasses.replace(whole(-_COUNTS), text="a whole number from 0, below the number of folds")

_TABLE = (
    Field("seed", whole(), "Initial weights, shuffling, dropout and augmentation all derive from it."),
    Field("epochs", whole(1), "Passes over the training examples."),
    Field("batch_size", whole(1), "Examples in a step. The last, partial batch of an epoch is used too."),
    Field("eval_batch_size", whole(1), "Changes memory and speed only: evaluation is exact for any size."),
    Field(
        "label_smoothing", number(0, 1),
        "Share of the probability that the training loss gives to all classes alike.",
    ),
    Field("monitor", choice("loss", "accuracy", "val_loss", "val_accuracy"), 'Decides which epoch is "best".'),
    Field(
        "data.name",
        text(
            "mnist, optdigits, the name of a TFDS set, a path to a .npz, .csv or Parquet file, or a path (with a /) to "
            "a folder"
        ),
        "The dataset. optdigits is embedded; a TFDS set has images of 28x28; a folder has one folder of images per "
        "class, or holds IDX, .csv, .npz or Parquet files.",
    ),
    Field(
        "data.validation",
        text(
            "one of none, test, last(10000), random(0.175, 0) or stratified(0.175, 0) with a fraction below 1 and a "
            "seed below 2^32, folds(5), stratified_folds(5) or writer_folds(5)"
        ),
        "The validation examples. random(fraction, seed) is scikit-learn's train_test_split, stratified(fraction, "
        "seed) the same with the share of each class kept; folds(n) is its contiguous KFold, stratified_folds(n) its "
        "StratifiedKFold, writer_folds(n) its GroupKFold over the writers of mnist. test is the test set itself, as "
        "some notebooks did.",
    ),
    Field("data.fold", _FOLD, "The fold that is held out, where data.validation makes folds."),
    Field(
        "data.normalization", choice("unit", "column_l2"),
        "unit divides pixels by 255; column_l2 divides every image column by its L2 norm over the rows, as Keras's "
        "normalize(axis=1).",
    ),
    Field(
        "model.family", choice("dense", "cnn"),
        "dense has hidden layers alone, cnn has convolution blocks before them.",
    ),
    Field(
        "model.activation", choice("relu", "tanh", "sigmoid", "elu", "gelu", "silu", "linear"),
        "Follows every convolution and hidden layer.",
    ),
    Field("model.kernel_init", _INITIALIZERS, "Initial weights of all layers but the last. Biases start at zero."),
    Field("model.output_init", _INITIALIZERS, "Initial weights of the last layer."),
    Field("model.input_dropout", _DROPOUT, "Dropout rate of the pixels, in the dense family."),
    Field(
        "model.blocks",
        tuple_of(
            tuple_of(whole(1, math.inf), "", least=1), "a tuple of blocks, each a tuple of widths: ((32, 32), (64, 64))"
        ),
        "Widths of the convolutions. A block has its convolutions, then pooling, BatchNorm and dropout.",
    ),
    Field(
        "model.kernel_size", one_or_each(whole(1, math.inf)),
        "Window of the convolutions, in pixels; one for each block.",
    ),
    Field(
        "model.stride", one_or_each(whole(1, math.inf)),
        "Stride of the first convolution of a block, in pixels; the others have 1.",
    ),
    Field(
        "model.separable", one_or_each(switch()),
        "Makes each convolution of a block a depthwise one (a filter for each channel) and one of 1x1, as Keras's "
        "SeparableConv2D.",
    ),
    Field("model.conv_bias", switch(), "Biases of the convolutions. Directly before BatchNorm they have no effect."),
    Field("model.padding", choice("valid", "same"), "Padding of the convolutions."),
    Field(
        "model.pool", one_or_each(whole(0, math.inf), " (no pooling)"),
        "Window and stride of the max pooling of a block, in pixels. 0 makes no layer, 1 an identity, as in Keras.",
    ),
    Field(
        "model.batch_norm", choice("none", "conv", "block"),
        "BatchNorm in the blocks: conv after every convolution, block after the pooling.",
    ),
    Field("model.block_dropout", one_or_each(_DROPOUT), "Dropout rate at the end of a block."),
    Field(
        "model.global_pool", choice("none", "average", "max"),
        "Average or maximum of each channel over the whole image, in place of all pixels, before the hidden layers.",
    ),
    Field(
        "model.hidden", tuple_of(whole(1, math.inf), "a tuple such as (32,) or (64, 32), of widths from 1"),
        "Widths of the hidden layers. Each is a dense layer, then BatchNorm and dropout.",
    ),
    Field("model.hidden_batch_norm", one_or_each(switch()), "BatchNorm after a hidden layer."),
    Field("model.hidden_dropout", one_or_each(_DROPOUT), "Dropout rate after a hidden layer."),
    Field(
        "model.hidden_l2", one_or_each(number(0, 1e6)),  # The penalty must stay finite in float32.
        "Adds l2 * sum(kernel^2) of a hidden layer to the loss, as Keras does (no 1/2).",
    ),
    Field(
        "model.convolution", choice("auto", "stock", "dot", "native"),
        "How convolutions are computed: by XLA's own operation (stock), as matrix products (dot), or compiled for this "
        "processor with its C++ compiler (native, the fastest on CPUs). auto takes the fastest here.",
    ),
    Field(
        "optimizer.name", choice("adam", "sgd", "rmsprop", "lion", "muon"),
        "The optimizer, with Keras's formulas; muon with Optax's, and Adam for biases, BatchNorm and the last layer.",
    ),
    Field("optimizer.learning_rate", _POSITIVE, "The base rate, which the schedule multiplies."),
    Field("optimizer.momentum", _SHARE, "sgd: the share of the last update that the next one keeps."),
    Field("optimizer.nesterov", switch(), "sgd: Nesterov's momentum."),
    Field("optimizer.beta_1", _SHARE, "adam, lion, muon: decay of the mean of the gradients."),
    Field(
        "optimizer.beta_2", _SHARE,
        "adam, muon: decay of the mean of their squares. lion: decay of the mean of the gradients that is kept.",
    ),
    Field("optimizer.rho", _SHARE, "rmsprop: decay of the mean of the squared gradients."),
    Field("optimizer.epsilon", _POSITIVE, "adam, muon, rmsprop: added to the divisor."),
    Field("optimizer.epsilon_in_sqrt", switch(), "rmsprop: false as in Keras 2, true as in Keras 3."),
    Field(
        "optimizer.weight_decay", number(),
        "Decoupled decay of kernels: an update shrinks them by the learning rate times this.",
    ),
    Field(
        "optimizer.ema_momentum", _SHARE,
        "Validates, tests and keeps a moving average of the weights: an update leaves it this share. 0: the weights.",
    ),
    Field("optimizer.clip_norm", number(), "Scales gradients down to this global norm; 0 does not."),
    Field(
        "schedule.name", choice("constant", "exponential", "inverse_time", "cosine", "one_cycle", "plateau"),
        "exponential multiplies the rate by exp(-decay) an epoch; inverse_time divides it by 1 + decay * updates, as "
        "Keras's legacy decay; cosine ends at final_fraction; plateau is Keras's ReduceLROnPlateau.",
    ),
    Field("schedule.warmup_epochs", number(), "Epochs of linear warm-up from zero, which multiplies any schedule."),
    Field("schedule.start_epoch", whole(), "exponential: epochs at the full rate before the decay."),
    Field("schedule.decay", number(), "exponential: the decay of an epoch. inverse_time: the decay of an update."),
    Field("schedule.final_fraction", number(), "cosine: the last rate, as a fraction of the base rate."),
    Field(
        "schedule.peak_fraction", number(math.nextafter(0, 1), 1, "a finite number between 0 and 1"),
        "one_cycle: the share of training before the peak rate.",
    ),
    Field("schedule.initial_divisor", number(1), "one_cycle: the first rate is the peak rate divided by this."),
    Field("schedule.final_divisor", number(1), "one_cycle: the last rate is the first rate divided by this."),
    Field("schedule.factor", number(0, 1), "plateau: multiplies the rate."),
    Field("schedule.patience", whole(1), "plateau: epochs without improvement before the rate is reduced."),
    Field("schedule.min_delta", number(), "plateau: a smaller change of the monitor is no improvement."),
    Field("schedule.cooldown", whole(), "plateau: epochs after a reduction that are not counted."),
    Field("schedule.min_learning_rate", number(), "plateau: the rate is never reduced below this."),
    Field("early_stopping.patience", whole(), "Epochs without improvement before training stops; 0 never stops."),
    Field("early_stopping.min_delta", number(), "A smaller change of the monitor is no improvement."),
    Field(
        "early_stopping.restore_best", switch(),
        "Tests the weights of the best epoch, not of the last one. Works without early stopping too.",
    ),
    # A wider range would repeat angles, or leave nothing of an image.
    Field("augment.rotation", number(0, 360), "Rotates by an angle from minus to plus this, in degrees."),
    Field("augment.shear", number(0, 90), "Shears by an angle from minus to plus this, in degrees."),
    Field("augment.zoom", number(0, 1), "Scales each axis by a factor of its own, from 1 - zoom to 1 + zoom."),
    Field("augment.height_shift", number(0, 1), "Shifts up or down by up to this fraction of the height."),
    Field("augment.width_shift", number(0, 1), "Shifts left or right by up to this fraction of the width."),
    # Moved by the side of an image, nothing is left of it. A narrower Gaussian smooths nothing, a wider one shifts.
    Field(
        "augment.elastic", number(0, 28),
        "Moves pixels by a smooth random field, whose standard deviation along each axis this is, in pixels. Up to a "
        "quarter of elastic_sigma, digits stay legible.",
    ),
    Field(
        "augment.elastic_sigma", number(0.5, 28),
        "elastic: the standard deviation of the Gaussian that smooths the field, in pixels.",
    ),
    Field(
        "augment.erasing", number(0, 1),
        "Blackens a square at a random place of every image, partly outside if near an edge: its side, as a fraction "
        "of the image's. Up to 0.3, most digits stay legible.",
    ),
    Field("checkpoint_every", whole(1), "Epochs between checkpoints. The best and the last epoch are always saved."),
    Field("tensorboard", switch(), "Writes TensorBoard events."),
    Field(
        "deterministic", switch(),
        "On a GPU results differ in the last bits from run to run; true makes them reproducible, at some cost in "
        "speed. On a CPU they always are.",
    ),
    Field("compilation_cache", switch(), "Keeps compiled programs in the user's cache folder."),
    Field(
        "population.sharing", choice("auto", "mapped", "batched"),
        "How the runs of a sweep share a device: mapped trains each by itself, several at a time, with the bits of "
        "single runs; batched trains all in one program, the members as an array axis.",
    ),
    Field("population.workers", whole(), "mapped: runs at a time on a device; 0: one a core on a CPU, otherwise one."),
    Field("population.size", whole(), "batched: most members in a program; 0: as many as fit in memory."),
    Field("documented.test_accuracy", documented(), "Test accuracy that the notebook prints."),
    Field("documented.test_loss", documented(), "Test loss that the notebook prints."),
    Field("documented.val_accuracy", documented(), "Validation accuracy that the notebook prints of its last epoch."),
    Field("documented.source", text(), "Notebook and lines in which these figures stand."),
)  # fmt: skip
FIELDS = {field.name: field for field in _TABLE}
