"""Computes figures from the rounds of a measurement, and describes the machine that it was made on."""

import dataclasses
import datetime
import importlib.metadata
import pathlib
import platform
import shlex
import statistics
import subprocess
from typing import Any

from digits.analysis.statistics import summarize as mean_and_deviation
from digits.runtime import machine


@dataclasses.dataclass(frozen=True)
class Spread:
    """The median of some measurements, with the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values) -> "Spread":
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))

    def scaled(self, factor: float) -> "Spread":
        return Spread(self.median * factor, self.low * factor, self.high * factor)

    def __str__(self) -> str:
        return f"{number(self.median)} [{number(self.low)}-{number(self.high)}]"


def number(value: float) -> str:
    """At least three significant digits."""
    digits = len(str(int(abs(value))))
    return f"{value:,.{max(0, 3 - digits)}f}" if abs(value) >= 1 else f"{value:.3f}"


def rates(report: dict[str, Any]) -> dict[int, float]:
    """Steps a second of each round that a contestant trained in, by the round's number."""
    return {item["round"]: item["steps"] / item["seconds"] for item in report["rounds"]}


def paired_ratios(ours: dict[int, float], theirs: dict[int, float]) -> list[float]:
    """ours / theirs of each round in which both were measured."""
    return [ours[key] / theirs[key] for key in sorted(ours.keys() & theirs.keys())]


def times_as_fast(measured: dict[str, Any], to: str, key: str = "seconds") -> dict[str, Spread]:
    """How many times as fast as the contestant `to` the others are, within rounds."""
    base = {item["round"]: item[key] for item in measured["contestants"][to]["rounds"]}
    found = {}
    for name, report in measured["contestants"].items():
        if name != to:
            pairs = [base[item["round"]] / item["seconds"] for item in report["rounds"]]
            found[name] = Spread.of(pairs)
    return found


def summarize(reports: dict[str, dict], batch_size: int, flops: float, peak: float | None) -> dict[str, dict]:
    """A row for every contestant that trained a round.

    Args:
      reports: what each contestant reported, by name; `rounds` as the driver keeps them.
      flops: of training with one image.
      peak: GFLOP/s of a large matrix product; None if unknown.

    Returns:
      By name: `steps` and `images` a second (Spread); `share` of the peak (None if unknown); `ratio`, the Spread of
      digits / contestant round by round (None for digits itself, or without it).
    """
    rows = {}
    ours = rates(reports["digits"]) if "digits" in reports else {}
    for name, report in reports.items():
        if not (speeds := rates(report)):
            continue
        steps = Spread.of(speeds.values())
        ratios = paired_ratios(ours, speeds) if name != "digits" else []
        rows[name] = {
            "steps": steps,
            "images": steps.scaled(batch_size),
            "share": steps.median * batch_size * flops / (peak * 1e9) if peak else None,
            "ratio": Spread.of(ratios) if ratios else None,
        }
    return rows


def startup_spreads(measured: dict[str, Any]) -> dict[str, Spread]:
    """Seconds to the first step of each in a file of benchmarks.startup, and "ratio": digits / its peer, in pairs."""
    seconds = {
        name: {item["round"]: item["seconds"] for item in report["rounds"]}
        for name, report in measured["contestants"].items()
    }
    spreads = {name: Spread.of(values.values()) for name, values in seconds.items()}
    if len(seconds) == 2:
        spreads["ratio"] = Spread.of(paired_ratios(*seconds.values()))
    return spreads


def whole_rows(measured: dict[str, Any]) -> list[list[str]]:
    """The rows of WHOLE_HEADINGS for a file of benchmarks.time_to_accuracy: a row for each that trained."""
    seconds = {
        name: {item["round"]: item["seconds"] for item in report["rounds"]}
        for name, report in measured["contestants"].items()
        if report["rounds"]
    }
    found = []
    for name, own in seconds.items():
        accuracies = [item["test_accuracy"] for item in measured["contestants"][name]["rounds"]]
        accuracy = mean_and_deviation(accuracies)
        reached = "yes" if accuracy.mean >= measured["target"] else "**no**"
        commands = measured["commands"].get(name, {})
        cells = [str(Spread.of(commands[kind])) if kind in commands else "-" for kind in ("warm", "cold")]
        ratios = paired_ratios(own, seconds.get("digits", {})) if name != "digits" else []
        ratio = str(Spread.of(ratios)) if ratios else "-"
        found.append([name, Spread.of(own.values()), accuracy, accuracy.n, reached, *cells, ratio])
    return [list(map(str, row)) for row in found]


WHOLE_HEADINGS = [
    "contestant", "training, s", "test accuracy", "n", "target reached", "command, s", "cold, s", "it / digits",
]  # fmt: skip


def notebook_rows(measured: dict[str, Any]) -> list[list[str]]:
    """The rows of NOTEBOOK_HEADINGS for a file of benchmarks.notebook."""
    rounds = {name: report["rounds"] for name, report in measured["contestants"].items()}
    seconds = {name: {item["round"]: item["seconds"] for item in items} for name, items in rounds.items()}
    rows = []
    for name, items in rounds.items():
        accuracies = [Spread.of(item[key] for item in items) for key in ("val_accuracy", "test_accuracy")]
        ratio = Spread.of(paired_ratios(seconds[name], seconds["digits"])) if name != "digits" else "-"
        found = (f"{one.median:.4f} [{one.low:.4f}-{one.high:.4f}]" for one in accuracies)
        rows.append([name, str(Spread.of(seconds[name].values())), *found, str(len(items)), str(ratio)])
    return rows


NOTEBOOK_HEADINGS = ["contestant", "command, s", "validation accuracy", "test accuracy", "n", "it / digits"]

KERNEL_HEADINGS = ["layer", "pass", "ms", "effective GFLOP/s", "of peak", "executed GFLOP/s", "of peak", "error"]


def kernel_rows(measured: dict[str, Any]) -> list[list[str]]:
    """The cells of every pass, then of all else in a training step, and of the step."""
    rows, peak = [], measured["sgemm_gflops"]
    medians = {
        key: statistics.median(item["seconds"] for item in report["rounds"])
        for key, report in measured["contestants"].items()
    }
    total = {"plain": 0, "executed": 0}
    for key, report in measured["contestants"].items():
        if key == "step":
            continue
        cells = []
        for kind in total:
            total[kind] += report["flops"][kind]
            rate = report["flops"][kind] / medians[key] / 1e9
            cells += [number(rate), f"{rate / peak:.0%}"]
        spread = str(Spread.of(1e3 * item["seconds"] for item in report["rounds"]))
        rows.append([report["layer"], report["pass"], spread, *cells, f"{report['error']:.1e}"])
    step = medians.pop("step")
    seconds = sum(medians.values())
    rates = [count / seconds / 1e9 for count in total.values()]
    cells = [cell for rate in rates for cell in (number(rate), f"{rate / peak:.0%}")]
    rows.append(["all convolutions", "", number(1e3 * seconds), *cells, ""])
    rows.append(["the rest of a training step", "", number(1e3 * (step - seconds)), *[""] * 5])
    return rows


def row_cells(row: dict, report: dict[str, Any]) -> list[str]:
    """A contestant's row of the table, as texts, in the order of HEADINGS."""

    def cell(key, form):
        return form.format(report[key]) if report.get(key) is not None else "-"

    return [
        str(row["steps"]),
        number(row["images"].median),
        "-" if row["share"] is None else f"{100 * row['share']:.1f}%",
        cell("first_step_s", "{:.1f}"),
        cell("epoch_s", "{:.1f}"),
        cell("peak_mib", "{:.0f}"),
        cell("loss", "{:.3f}"),
        cell("accuracy", "{:.3f}"),
        cell("test_accuracy", "{:.3f}"),
        "-" if row["ratio"] is None else str(row["ratio"]),
    ]


HEADINGS = [
    "contestant", "steps/s", "images/s", "share of peak", "first step, s", "epoch, s", "peak, MiB", "loss", "accuracy",
    "test accuracy", "digits / it",
]  # fmt: skip


def computer(reports: dict[str, dict]) -> dict[str, Any]:
    """The processor's name, the number of its cores that may be used, and the accelerator, if one was used."""
    accelerators = sorted({report.get("device", "cpu") for report in reports.values()} - {"cpu"})
    return {"cpu": machine.processor(), "cores": machine.cores(), "gpu": accelerators[0] if accelerators else None}


def disturbance(reports: dict[str, dict]) -> float:
    """How many cores other programs used while contestants trained, on average over the rounds."""
    cores = [item["cores_used_by_others"] for report in reports.values() for item in report["rounds"]]
    return statistics.mean(cores) if cores else 0.0


def disturbed(measured: dict[str, Any]) -> str:
    """A sentence for a measurement that others disturbed; empty below a twentieth of a core, or if nobody looked."""
    cores = measured.get("cores_used_by_others", 0.0)
    return f"While it ran, other programs used {cores:.2f} cores on average." if cores >= 0.05 else ""


def own_versions() -> dict[str, str]:
    """Of Python and of the libraries that digits trains with."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("jax", "flax", "optax", "numpy")},
    }


# Flags that name places on the machine: they do not belong in a committed file.
_PLACES = ("json", "data_dir", "peers_python", "workdir")


def origin(module: str, arguments: list[str]) -> dict[str, Any]:
    """Date, commit and command line (without what names places on this machine) of a measurement."""
    kept, before = [], ""
    for argument in arguments:
        flag = argument.lstrip("-").split("=")[0] if argument.startswith("-") else before
        if flag not in _PLACES:
            kept.append(shlex.quote(argument))
        before = flag if argument.startswith("-") and "=" not in argument else ""
    root = pathlib.Path(__file__).resolve().parent.parent
    git = ["git", "-C", str(root), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or None
    except OSError:
        commit = None
    command = " ".join(["python", "-m", module, *kept])
    return {"date": datetime.date.today().isoformat(), "commit": commit, "command": command}
