"""The tables and pictures of docs/records.md. Needs no JAX."""

from collections.abc import Mapping, Sequence
import json
import pathlib
import statistics
from typing import Any

from matplotlib import ticker
from matplotlib.figure import Figure

from digits.analysis.figures.style import BLUE, DARK, DPI, png, styled
from digits.analysis.statistics import AccuracySummary, summarize
from experiments.ensembles import DISPUTED
from experiments.judging.study import TEST_ACCURACY, Arm, devices, median_seconds
from experiments.rendering import rows
from experiments.rendering.results import Results
from experiments.studies import records


def timed(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    """The files of benchmarks.time_to_accuracy in a folder, by the name of their config."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("time_to_accuracy_*.json"))]
    return {file["model"]: file for file in files}


def ensembles(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    """The files of experiments.ensembles in a folder, by the name of their arm."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def page(
    text: str, found: Results, times: Mapping[str, dict[str, Any]], joined: Mapping[str, dict[str, Any]] | None = None
) -> str:
    """The text of docs/records.md with the tables between its marks: <!-- speed --> ... <!-- /speed -->.

    Args:
      text: the page as it is.
      found: the collected results.
      times: what `timed` gives.
      joined: what `ensembles` gives.
    """
    tables = {
        "speed": _fast(found, times),
        "accuracy": _accurate(found),
        "ensembles": _together(joined or {}),
        "parameters": _small(found),
        "published": rows.table({"source": _source(one), "protocol": one.protocol} for one in records.PUBLISHED),
    }
    for name, table in tables.items():
        text = rows.between_marks(text, name, table or "Not run yet.")
    return text


def _fast(found: Results, times: Mapping[str, dict[str, Any]]) -> str:
    """The records of speed, with the seconds that they take alone on the machine."""
    shown = []
    for arm in _trained(records.SPEED, found):
        training, command = seconds(times.get(arm.config))
        own = {"command": f"`python -m digits.main --config={arm.config} --noreport`"}
        clock = {"training, s": training, "command, s": command, "timed on": _timed_on(times.get(arm.config))}
        size = {"parameters": _parameters(arm, found)}
        shown.append(own | _accuracy(arm, found) | size | {"trained on": devices(found.members[arm.name])} | clock)
    return rows.table(shown)


def _accurate(found: Results) -> str:
    """The records of accuracy, with the median minutes of one training."""
    return rows.table(
        {"command": f"`python -m digits.main --config={arm.config}`"}
        | _accuracy(arm, found)
        | {"parameters": _parameters(arm, found), "minutes": _minutes(arm, found)}
        | {"trained on": devices(found.members[arm.name])}
        for arm in _trained(records.ACCURACY, found)
    )


def _minutes(arm: Arm, found: Results) -> str:
    return f"{float(median_seconds(found.members[arm.name])) / 60:.1f}"


def _small(found: Results) -> str:
    """The networks with few parameters, the smallest first, and the best of them below some limits."""
    arms = sorted(_trained(records.PARAMETERS, found), key=lambda arm: found.parameters[arm.name])
    shown = (
        {"parameters": _parameters(arm, found), "network": f"`{_network(arm)}`"}
        | _accuracy(arm, found)
        | {"seconds": median_seconds(found.members[arm.name])}
        for arm in arms
    )
    means = {arm.name: summarize(map(TEST_ACCURACY.of, found.members[arm.name]), AccuracySummary).mean for arm in arms}
    lines = []
    if enough := [arm for arm in arms if means[arm.name] > 0.99]:
        lines.append(f"- Smallest with a mean above 99%: {_named(enough[0], means, found)}")
    for limit in (1_000, 2_000, 5_000, 10_000):
        if below := [arm for arm in arms if found.parameters[arm.name] < limit]:
            best = max(below, key=lambda arm: means[arm.name])
            lines.append(f"- Best below {limit:,} parameters: {_named(best, means, found)}")
    return "\n".join([rows.table(shown), "", *lines]) if arms else ""


def _network(arm: Arm) -> str:
    return arm.name.partition(",")[2]


def _named(arm: Arm, means: Mapping[str, float], found: Results) -> str:
    return f"`{_network(arm)}`, {_parameters(arm, found)} parameters, {means[arm.name]:.4f}"


def _together(joined: Mapping[str, dict[str, Any]]) -> str:
    """Ensembles and shifted copies beside single networks, and how many images most networks miss."""

    def figure(values: Sequence[float]) -> str:
        return str(summarize(values, AccuracySummary))

    shown, lines = [], []
    for name, result in joined.items():
        networks, size = len(result["single"]), len(result["members"][0])
        shown.append({
            "networks": f"{networks} of `{name}`",
            "one": figure(result["single"]),
            "one, nine copies": figure(result["single_shifted"]),
            f"ensembles of {size}": figure(result["ensembles"]),
            f"ensembles of {size}, nine copies": figure(result["ensembles_shifted"]),
            "ensembles": f"{len(result['members'])}, " + ("all apart" if result["apart"] else "which overlap"),
        })  # fmt: skip
        hard = [entry["image"] for entry in result["missed"] if 2 * entry["missed"] >= networks]
        disputed = sum(image in DISPUTED for image in hard)
        lines.append(
            f"- At least half of the networks of `{name}` miss {len(hard)} test images; {disputed} of these have one "
            f"of the {len(DISPUTED)} disputed labels."
        )
    return "\n".join([rows.table(shown), "", *lines]) if shown else ""


def _source(one: records.Published) -> str:
    return f"[{one.name}](https://github.com/{one.name})" if "/" in one.name else one.name


def _trained(arms: Sequence[Arm], found: Results) -> list[Arm]:
    """The arms with all their seeds: fewer would be no record."""
    return [arm for arm in arms if len(found.members[arm.name]) + len(found.diverged[arm.name]) >= arm.seeds]


def _parameters(arm: Arm, found: Results) -> str:
    return f"{found.parameters[arm.name]:,}" if arm.name in found.parameters else ""


def _accuracy(arm: Arm, found: Results) -> dict[str, str]:
    """The test accuracy of all seeds."""
    accuracies = [TEST_ACCURACY.of(member) for member in found.members[arm.name]]
    summary = summarize(accuracies, AccuracySummary)
    low, high = summary.interval() or (None, None)
    diverged = found.diverged[arm.name]
    return {
        "test accuracy": str(summary),
        "95% interval of the mean": "" if low is None else f"{low:.5f} to {high:.5f}",
        "lowest, highest": f"{min(accuracies):.4f}, {max(accuracies):.4f}",
        "seeds": rows.count(arm, summary) + (f"; diverged: {', '.join(map(str, diverged))}" if diverged else ""),
    }


def seconds(times: dict[str, Any] | None) -> tuple[str, str]:
    """The median seconds of training alone and of the whole command, warm, as texts; "" where they are not measured."""
    if times is None:
        return "", ""
    training = [item["seconds"] for item in times["contestants"]["digits"]["rounds"]]
    commands = times["commands"].get("digits", {}).get("warm", [])
    return tuple(f"{statistics.median(values):.2f}" if values else "" for values in (training, commands))


def _timed_on(times: dict[str, Any] | None) -> str:
    return rows.device(times["machine"]) if times else ""


def pictures(found: Results, times: Mapping[str, dict[str, Any]]) -> dict[str, bytes]:
    """The two pictures, by name: the test error against seconds of training, and against parameters."""
    made = {}
    trained = _trained(records.STUDY.arms, found)
    by_seconds = {arm.name: float(seconds(times[arm.config])[0]) for arm in trained if arm.config in times}
    # Their runs, too, are trained one at a time.
    by_seconds |= {
        arm.name: float(median_seconds(found.members[arm.name])) for arm in _trained(records.ACCURACY, found)
    }
    by_parameters = {arm.name: found.parameters[arm.name] for arm in trained if arm.name in found.parameters}
    for name, places, label in (
        ("seconds", by_seconds, "seconds of training (two CPU cores; open marks: GPUs)"),
        ("parameters", by_parameters, "trained parameters"),
    ):
        if places:
            made[f"records_{name}"] = _picture(places, found, name, label)
    return made


@styled
def _picture(places: Mapping[str, float], found: Results, quantity: str, label: str) -> bytes:
    """Draws test errors in percent against a quantity, both on logarithmic axes, as a PNG file."""
    figure = Figure(figsize=(7, 4.5), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for name, x in places.items():
        summary = summarize(map(TEST_ACCURACY.of, found.members[name]), AccuracySummary)
        y = 100 * (1 - summary.mean)
        low, high = summary.interval() or (summary.mean, summary.mean)
        axes.plot([x, x], [100 * (1 - low), 100 * (1 - high)], color=BLUE, lw=1.5)
        axes.plot(x, y, "o", color=BLUE, ms=5)
        shown = name.partition(",")[2] or name
        offset, side = _beside_the_dot(shown)
        axes.annotate(shown, (x, y), xytext=offset, textcoords="offset points", fontsize=8, ha=side)
    for one in records.PUBLISHED:
        if (x := getattr(one, quantity)) is not None:
            y = 100 * (1 - one.accuracy)
            axes.plot(x, y, "o", color=DARK, mfc="none", ms=6)
            owner = one.name.partition("/")[0]
            axes.annotate(
                owner, (x, y), xytext=(-6, -10), textcoords="offset points", fontsize=8, color=DARK, ha="right"
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(0.2)
    for axis, between in ((axes.xaxis, (3,)), (axes.yaxis, (2, 5))):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(ticker.LogLocator(subs=between))
        axis.set_minor_formatter("{x:g}")
    axes.set_xlabel(label)
    axes.set_ylabel("test error (%): dot the mean, line its 95% interval")
    return png(figure)


def _beside_the_dot(network: str) -> tuple[tuple[int, int], str]:
    """The place of a network's name in points from its dot, and its alignment.

    Networks of a kind lie apart. Those of different kinds may not, so that each kind has a side.
    """
    if network.endswith(",full") or "-" not in network:
        return (6, 4), "left"
    if network.count("-") == 2:  # Three layers.
        return (6, -10), "left"
    return (-6, -10), "right"
