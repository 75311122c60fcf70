"""Renders the measurements in benchmarks/results/ into benchmarks/README.md. Runs and measures nothing.

    python -m benchmarks.table

docs/performance.md of the folder above gets the short table, where it has a place for one.
"""
# Lines of the text that this module writes are up to 120 characters wide without their quotes.
# ruff: noqa: E501

from collections.abc import Callable
import json
import pathlib
import re
import sys
from typing import Any

from absl import app, flags

from benchmarks import driver, results
from benchmarks.contestants import CONTESTANTS
from digits import command_line
from digits.errors import UserError

_FOLDER = pathlib.Path(__file__).resolve().parent
_RESULTS = flags.DEFINE_string("results", str(_FOLDER / "results"), "The folder with the JSON files.")
_README = flags.DEFINE_string("readme", str(_FOLDER / "README.md"), "The file to write.")
_SHORT_TABLE = r"(?s)(?<=<!-- speed -->\n)(.*?)(?=<!-- /speed -->)"

INTRODUCTION = """# How fast is it, beside others?

This page is written by `python -m benchmarks.table` from the measurements in `results/`; do not edit it by hand.

The same network is trained by this project and by PyTorch, Keras and Flax's own tutorial, side by side on one machine.
"""

METHOD = f"""## How it is measured

**Who takes part**

{{contestants}}

**The same for all**: the network, layer for layer (the number of parameters is checked), the initialisers, the optimizer
and its settings, the batch size, the loss with its L2 penalty, float32, and the training images in one fixed random
order. All keep the mean loss and the accuracy of their training, without waiting for the device between steps. The
comparison leaves out augmentation and changing learning rates, which the peers do not have in the same form, and the
partial batch at the end of an epoch.

**Advantages of the peers**: their images are normalised and in order before they start, while `digits` normalises and
gathers each batch from uint8 as it always does. Keras trains without progress bar and without shuffling, and the time
in which `fit` sets itself up does not count.

**The protocol**: each contestant is a process of its own. They start one after another; each trains its first step and
then warms up. Then come rounds. In a round every contestant trains for about the same time (a number of steps that is
fixed after the warm-up) while all others are stopped, so that exactly one is running; the order alternates. A ratio is
formed within a round, because a machine's speed changes from minute to minute. The tables give the median of the ratios,
with the smallest and the largest in brackets. The use of the processor by other programs is measured too, and stated
where it matters. At the end all contestants report loss and accuracy over their last span, and the accuracy on the first
2,000 test images, as proof that they trained. They have not trained for the same number of steps, and with BatchNorm the
test accuracy rises only after some hundred of them.

**The columns**: *share of peak* is the rate of floating-point operations that training needs (forward, weight and input
gradients of convolutions and dense layers, counted as matrix products) as a share of the rate of a product of two
2048x2048 float32 matrices on the same machine in the same run. That product is PyTorch's or, where it is faster, as on
AMD, NumPy's. An algorithm that needs fewer operations may exceed 100%. *First step* is the time from the start of the
process to the end of the first training step, with compilation; `digits` may find compiled programs in its cache. *Peak*
is the largest memory that the process had resident. On an accelerator all wait for the device at the end of each span,
and each library multiplies in the precision that is its default there.

## Measure it yourself

```
{driver.INSTALL.replace(" && ", chr(10))}
python -m benchmarks.peers --model=deep_cnn --json=benchmarks/results/deep_cnn.json
python -m benchmarks.startup --model=deep_cnn --json=benchmarks/results/startup_deep_cnn.json
python -m benchmarks.table
```

The first two lines install the peers into an environment of their own; contestants whose libraries are missing are left
out. For an NVIDIA GPU, install `tensorflow[and-cuda]` in place of `tensorflow-cpu`, and `jax[cuda12]`, there. MNIST is
found as in training (`DIGITS_DATA_DIR` or `--data_dir`). `--epoch` also times a whole epoch,
`--contestants=digits,torch_eager` chooses who takes part, `--rounds` and `--seconds` for how long,
`--set=batch_size=64` changes a field of the config. Let the machine do nothing else meanwhile: with two cores, a
second program can slow one contestant down ten times and another not at all.
"""


def render(files: list[dict[str, Any]]) -> str:
    """The page, from the contents of the JSON files."""

    def of(kind):
        return [measured for measured in files if measured["kind"] == kind]

    peers = of("peers")
    parts = [
        INTRODUCTION, _summary(peers), _startup(of("startup")), _whole(of("time_to_accuracy")), _notebook(of("notebook")),
        _populations(files), _agreement(of("agreement")), _devices(of("devices")), _operations(of("operations")),
        _kernels(of("kernels")),
    ]  # fmt: skip
    contestants = "\n".join(f"- `{name}`: {entry.words}" for name, entry in CONTESTANTS.items())
    parts.append(METHOD.format(contestants=contestants))
    if peers:
        parts += ["## Network by network\n", *map(_section, peers)]
    return "\n".join(part for part in parts if part)


def _summary(peers: list[dict]) -> str:
    """digits against the best PyTorch and Keras on TensorFlow, a row a file."""
    if not peers:
        return "No measurements have been committed yet.\n"
    lines = []
    for measured in peers:
        ours, best, torch, keras = _against(measured)
        lines.append([
            f"`{measured['model']}`{_differences(measured)}", measured["batch_size"],
            results.number(ours["images"].median) if ours else "-",
            f"{torch} (`{best}`)" if torch else "-", keras or "-", _device(measured), measured["date"],
        ])  # fmt: skip
    headings = ["network", "batch", "digits, images/s", "against the best PyTorch", "against Keras on TensorFlow"]
    text = "The speed of `digits` divided by that of its peers: above 1, `digits` is faster.\n\n"
    return text + _markdown([*headings, "device", "date"], lines)


def short(files: list[dict[str, Any]]) -> str:
    """The short table: the medians of the networks that were trained beside PyTorch and Keras, the newest first."""
    lines = []
    for measured in files:
        if measured["kind"] == "peers" and all(found := _against(measured)):
            ours, _, *ratios = found
            cells = [results.number(ours["images"].median), *(f"{ratio.median:.1f}" for ratio in ratios)]
            lines.append(
                [f"`{measured['model']}`", measured["batch_size"], *cells, _device(measured), measured["date"]]
            )
    headings = ["config", "batch", "images/s", "against PyTorch", "against Keras", "device", "date"]
    by_name = sorted(lines, key=lambda line: line[0])
    return _markdown(headings, sorted(by_name, key=lambda line: line[-1], reverse=True))


def _against(measured: dict) -> tuple[dict | None, str | None, results.Spread | None, results.Spread | None]:
    """The row of digits, the name of the best PyTorch, and how many times as fast as it and as Keras digits is."""
    rows = _rows(measured)
    ratios = {name: row["ratio"] for name, row in rows.items() if row["ratio"]}
    torches = [name for name in ratios if name.startswith("torch_")]
    best = min(torches, key=lambda name: ratios[name].median, default=None)
    return rows.get("digits"), best, ratios.get(best), ratios.get("keras_tensorflow")


def _startup(startups: list[dict]) -> str:
    if not startups:
        return ""
    lines = []
    for measured in startups:
        spreads = results.startup_spreads(measured)
        cells = [str(spreads[name]) if name in spreads else "-" for name in ("digits", "torch_eager", "ratio")]
        name = f"`{measured['model']}`{_differences(measured)}"
        lines.append([name, *cells, _device(measured), measured["date"]])
    headings = ["network", "`python -m digits.main`, s", "PyTorch, s", "digits / PyTorch", "device", "date"]
    text = (
        "## From the command to the first training step\n\n"
        "The second start of the real command, which finds its compiled programs in the cache, beside the start of\n"
        "the PyTorch contestant, whose images are normalised already, in the same run. Below 1, `digits` is faster.\n\n"
    )
    return text + _markdown(headings, lines)


def _each(
    files: list[dict], text: str, about: Callable[[dict], str], headings: list[str], rows: Callable[[dict], list]
) -> str:
    """A section of `text` with a table for each of its files; empty if there is none."""
    for measured in files:
        what = f"`{measured['model']}`{_differences(measured)}{about(measured)}. {_where(measured)}"
        text += f"\n{what}\n\n{_markdown(headings, rows(measured))}\n`{measured['command']}`\n"
    return text if files else ""


def _whole(files: list[dict]) -> str:
    """Whole trainings to an accuracy."""
    text = (
        "## A whole training to an accuracy\n\n"
        "The same recipe by all: network, optimizer, schedule, batches and epochs. Each round is a training with another\n"
        "seed, tested on all test images. *Training* leaves out compilation, *command* is a whole process from its start to\n"
        "the result: that of `digits` (`--noreport`) also writes the run's files, and reads MNIST's own files, where the\n"
        "peers find normalised images. *Cold* is the first start, which compiles. The last column is the median of the rounds'\n"
        "ratios: above 1, `digits` is faster.\n"
    )

    def about(measured):
        return (
            f": {measured['epochs']} x {measured['examples']:,} images in batches of {measured['batch_size']}, "
            f"{measured['parameters']:,} parameters, to {measured['target']:g}"
        )

    return _each(files, text, about, results.WHOLE_HEADINGS, results.whole_rows)


def _notebook(files: list[dict]) -> str:
    """Trainings of a notebook as its reader runs them."""
    text = (
        "## A notebook's training as its reader runs it\n\n"
        "The whole command, `python -m digits.main --noreport` with its files and checkpoints, beside the notebook's own\n"
        "pipeline in Keras 3 on TensorFlow: `ImageDataGenerator` augments in five processes, `fit` trains and\n"
        "validates after every epoch. Both test at the end; both are timed from the start of the process to its end. Each\n"
        "round has another seed.\n"
    )
    return _each(files, text, lambda measured: "", results.NOTEBOOK_HEADINGS, results.notebook_rows)


def _populations(files: list[dict]) -> str:
    """Ways to train several members, and one sweep against single commands."""
    text = "## Many at once\n\n"
    lines = []
    for measured in (measured for measured in files if measured["kind"] == "population"):
        found = results.times_as_fast(measured, "alone")
        alone = results.Spread.of(item["seconds"] for item in measured["contestants"]["alone"]["rounds"])
        cells = [str(found[name]) if name in found else "-" for name in ("mapped", "batched")]
        steps, workers = (measured["contestants"]["alone"][key] for key in ("steps", "workers"))
        name = f"`{measured['model']}`{_differences(measured)}"
        lines.append([name, measured["members"], steps, alone, workers, *cells, _device(measured), measured["date"]])
    if lines:
        headings = ["network", "members", "steps each", "one after another, s", "workers", "mapped", "batched"]
        text += (
            "The speed of two ways to train several members, divided by that of training one after another. *Mapped*\n"
            "members run the single run's program, as many at a time as there are workers; *batched* members are one\n"
            "program (`python -m benchmarks.populations`).\n\n"
        )
        text += _markdown([*headings, "device", "date"], lines) + "\n"
    rows = []
    for measured in (measured for measured in files if measured["kind"] == "sweep"):
        seconds = [
            results.Spread.of(item["seconds"] for item in measured["contestants"][name]["rounds"])
            for name in ("sweep", "single")
        ]
        pairs = [results.times_as_fast(measured, "single", key)["sweep"] for key in ("seconds", "training")]
        name = f"`{measured['model']}`, {measured['members']} {measured['members_are']}, {measured['epochs']} epochs"
        rows.append([name, *seconds, *pairs, _device(measured), measured["date"]])
    if rows:
        headings = ["runs", "one sweep, s", "single commands, s", "times as fast", "times their training alone"]
        text += (
            "One `python -m digits.sweep` beside as many `python -m digits.main` one after another, whole processes (add\n"
            "`--commands`). In the last ratio, only the epochs of the single commands count.\n\n"
        )
        text += _markdown([*headings, "device", "date"], rows)
    return text if lines or rows else ""


def _agreement(agreements: list[dict]) -> str:
    if not agreements:
        return ""
    lines = []
    for measured in agreements:
        for implementation, report in measured["contestants"].items():
            name = f"`{measured['model']}`{_differences(measured)}, seed {measured['seed']}"
            figures = [f"{report['rounds'][0][key]:.5f}" for key in ("loss", "accuracy", "test_loss", "test_accuracy")]
            lines.append([name, f"`{implementation}`", *figures, _device(measured), measured["date"]])
    headings = ["network", "`model.convolution`", "loss", "accuracy", "test loss", "test accuracy", "device", "date"]
    text = (
        "## The same training with XLA's own layers\n\n"
        "One epoch from the same seed: means over the epoch, and the test set after it\n"
        "(`python -m benchmarks.agreement`).\n\n"
    )
    return text + _markdown(headings, lines)


def _devices(compared: list[dict]) -> str:
    """How far apart trainings on one device and on several are, beside what rounding alone does."""
    if not compared:
        return ""
    lines, pictures = [], ""
    for measured in compared:
        name = f"`{measured['model']}`{_differences(measured)}"
        found = {(w["dtype"], w["devices"], *w["than"]): f"{w['all']:.0e}" for w in measured["weights"]}
        pairs = [(dtype, devices, dtype, 1) for dtype in ("float64", "float32") for devices in (2, 8)]
        cells = [found[pair] for pair in [*pairs, ("float32", 1, "float64", 1)]]
        lines.append([name, measured["steps"], *cells, _device(measured), measured["date"]])
        pictures += (
            f"\n![{measured['title']}: losses on one device and on several](results/devices_{measured['title']}.png)\n"
        )
    headings = [
        "network",
        "steps",
        "float64, 2",
        "float64, 8",
        "float32, 2",
        "float32, 8",
        "float32 against float64, 1",
    ]
    text = (
        "## One device or several\n\n"
        "Differences of the weights after some steps on 2 and on 8 simulated devices from those on one device, relative\n"
        "to their size, all with matrix products for convolutions (`python -m benchmarks.devices`). Devices add in\n"
        "another order, which rounds differently, and training makes such differences grow: at the kink of a ReLU, and\n"
        "where pixels tie in pooling, the last bit decides which way a gradient goes. Compare them with the last column,\n"
        "the difference of one device's float32 from its own float64 after the same steps. The figures below show the\n"
        "losses of two epochs of the first images in float32.\n\n"
    )
    return text + _markdown([*headings, "device", "date"], lines) + pictures


def _operations(files: list[dict]) -> str:
    """The operations that replace XLA's own against those, a table for each."""
    if not files:
        return ""
    text = "## Operations in place of XLA's own\n"
    for ours, theirs, words in (
        (
            "dot",
            "stock call",
            "Without a C++ compiler: convolutions as matrix products in the compiled epoch, against XLA's own in a call of\n"
            "a compiled function for every step",
        ),
        (
            "native",
            "bernoulli",
            "Dropout by 8 or 16 random bits a number, against `jax.random.bernoulli`, both in the compiled epoch",
        ),
    ):
        lines = []
        for measured in files:
            if theirs in measured["contestants"]:
                pair = {way: measured["contestants"][way] for way in (ours, theirs)}
                speeds = [results.Spread.of(1 / item["seconds"] for item in pair[way]["rounds"]) for way in pair]
                ratio = results.times_as_fast({"contestants": pair}, theirs)[ours]
                load = "-".join(f"{number:.0f}" for number in measured["load"])
                name = f"`{measured['model']}`{_differences(measured)}"
                rounds = len(pair[ours]["rounds"])
                lines.append([name, *speeds, ratio, rounds, load, _device(measured), measured["date"]])
        headings = ["network", f"{ours}, steps/s", f"{theirs}, steps/s", "times as fast", "rounds", "load average"]
        text += f"\n{words} (`python -m benchmarks.operations`).\n\n{_markdown([*headings, 'device', 'date'], lines)}"
    return text


def _kernels(files: list[dict]) -> str:
    """Where the time of a training step goes."""
    text = (
        "## Where the time of a step goes\n\n"
        "The compiled convolutions by themselves, with their ReLU and pooling, and the rest of the compiled training step.\n"
        "*Effective* operations are those of the plain sum. *Executed* ones are those that the products of minimal filtering\n"
        "need; its transforms take time and do not count. The peak is that of a product of two 2048x2048 float32 matrices in\n"
        "the same run. *Error* is the largest difference from float64, relative to the largest value.\n"
    )

    def about(measured):
        return f", batch {measured['batch_size']}; peak {measured['sgemm_gflops']:,.0f} GFLOP/s"

    return _each(files, text, about, results.KERNEL_HEADINGS, results.kernel_rows)


def _section(measured: dict) -> str:
    """One measurement with all that took part in it."""
    reports = measured["contestants"]
    lines = [[f"`{name}`", *results.row_cells(row, reports[name])] for name, row in _rows(measured).items()]
    failed = "".join(f"\nWithout `{name}`: {reason}.\n" for name, reason in measured["failed"].items())
    versions = {library: v for report in reports.values() for library, v in report["versions"].items()}
    peak = f"; peak {measured['sgemm_gflops']:,.0f} GFLOP/s" if measured["sgemm_gflops"] else ""
    return (
        f"### `{measured['model']}`{_differences(measured)}\n\n"
        f"Batch {measured['batch_size']}, {measured['parameters']:,} parameters, "
        f"{measured['flops_per_image'] / 1e6:.3g} million operations an image{peak}. {_where(measured)}"
        f"\n\n{_markdown(results.HEADINGS, lines)}{failed}\n"
        f"`{measured['command']}`\n\n{', '.join(f'{library} {v}' for library, v in sorted(versions.items()))}\n"
    )


def _rows(measured: dict) -> dict[str, dict]:
    return results.summarize(
        measured["contestants"], measured["batch_size"], measured["flops_per_image"], measured["sgemm_gflops"]
    )


def _differences(measured: dict) -> str:
    changed = [*measured["overrides"], *measured.get("changes", ())]
    return f" ({', '.join(changed)})" if changed else ""


def _where(measured: dict) -> str:
    """Where and when, and whether others used the machine too, as sentences."""
    return f"{_device(measured)}, {measured['date']}. {results.disturbed(measured)}".strip()


def _device(measured: dict) -> str:
    machine = measured["machine"]
    return machine["gpu"] or f"{machine['cpu']}, {machine['cores']} cores"


def _markdown(headings: list[str], lines: list[list]) -> str:
    rows = [headings, ["---"] * len(headings), *lines]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The contents of the JSON files of a folder, by name."""
    if not folder.is_dir():
        raise UserError(f"--results is {str(folder)!r}, but there is no such folder.")
    files = []
    for path in sorted(folder.glob("*.json")):
        try:
            files.append(json.loads(path.read_text()))
            files[-1]["kind"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not a file of benchmarks.peers or benchmarks.startup.") from error
    return files


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 0, or 2 for a user's mistake."""
    app.define_help_flags()
    if {"--help", "-h", "--helpshort", "-help"} & set(argv):
        shown = flags.FLAGS.get_key_flags_for_module(sys.modules[__name__])
        return command_line.show(f"{__doc__}\n{command_line.describe(shown)}")
    if "--version" in argv:
        return command_line.show_version()
    try:
        if len(rest := flags.FLAGS(argv)) > 1:
            raise UserError(f"{rest[1]!r} is no flag: flags start with --.")
        files = read(pathlib.Path(_RESULTS.value))
        page = render(files)
    except (flags.Error, UserError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyError as error:
        print(f"error: a file in {_RESULTS.value} has no {error}: measure it again.", file=sys.stderr)
        return 2
    readme = pathlib.Path(_README.value)
    readme.write_text(page)
    page_of_speed = readme.absolute().parent.parent / "docs" / "performance.md"
    if page_of_speed.exists() and len(parts := re.split(_SHORT_TABLE, page_of_speed.read_text(encoding="utf-8"))) == 3:
        page_of_speed.write_text(parts[0] + short(files) + parts[2], encoding="utf-8")
    print(f"{_README.value}: {len(files)} measurements")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
