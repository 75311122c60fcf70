"""Renders the measurements in benchmarks/results/ as the tables of pages. Runs and measures nothing.

    python -m benchmarks.table

A table stands between marks with its name: <!-- startup --> and <!-- /startup -->. The pages are benchmarks/README.md,
and docs/performance.md for the short table.
"""

from collections.abc import Callable
import json
import pathlib
import sys
from typing import Any

from absl import app, flags

from benchmarks import results
from benchmarks.contestants import CONTESTANTS
from digits import command_line
from digits.errors import UserError
from experiments.rendering.rows import between_marks, device

_FOLDER = pathlib.Path(__file__).resolve().parent
_RESULTS = flags.DEFINE_string("results", str(_FOLDER / "results"), "The folder with the JSON files.")
_README = flags.DEFINE_string("readme", str(_FOLDER / "README.md"), "The page to write.")


def tables(files: list[dict[str, Any]]) -> dict[str, str]:
    """The tables by name, from the contents of the JSON files; "" for one that nothing was measured for."""

    def of(kind):
        return [measured for measured in files if measured["kind"] == kind]

    return {
        "peers": _peers(of("peers")),
        "speed": _short(of("peers")),
        "networks": "\n".join(map(_network, of("peers"))),
        "startup": _startup(of("startup")),
        "time_to_accuracy": _each(of("time_to_accuracy"), _whole, results.WHOLE_HEADINGS, results.whole_rows),
        "notebook": _each(of("notebook"), lambda _: "", results.NOTEBOOK_HEADINGS, results.notebook_rows),
        "populations": _populations(of("population")),
        "sweeps": _sweeps(of("sweep")),
        "agreement": _agreement(of("agreement")),
        "devices": _devices(of("devices")),
        "dot": _operation(of("operations"), "dot", "stock call"),
        "dropout": _operation(of("operations"), "native", "bernoulli"),
        "kernels": _each(of("kernels"), _peak, results.KERNEL_HEADINGS, results.kernel_rows),
        "contestants": "\n".join(f"- `{name}`: {entry.words}" for name, entry in CONTESTANTS.items()),
    }


def render(page: str, files: list[dict[str, Any]]) -> str:
    """The text of a page with the tables of the files between its marks."""
    for name, table in tables(files).items():
        page = between_marks(page, name, table.strip() or "Not measured yet.")
    return page


def _peers(peers: list[dict]) -> str:
    """digits against the best PyTorch and Keras on TensorFlow, a row a file."""
    lines = []
    for measured in peers:
        ours, best, torch, keras = _against(measured)
        lines.append([
            _name(measured), measured["batch_size"], results.number(ours["images"].median) if ours else "-",
            f"{torch} (`{best}`)" if torch else "-", keras or "-", *_place(measured),
        ])  # fmt: skip
    headings = ["network", "batch", "digits, images/s", "against the best PyTorch", "against Keras on TensorFlow"]
    return _markdown([*headings, *_PLACE], lines)


def _short(peers: list[dict]) -> str:
    """The medians of the networks that were trained beside PyTorch and Keras, the newest first."""
    lines = []
    for measured in peers:
        if all(found := _against(measured)):
            ours, _, *ratios = found
            cells = [results.number(ours["images"].median), *(f"{ratio.median:.1f}" for ratio in ratios)]
            lines.append([f"`{measured['model']}`", measured["batch_size"], *cells, *_place(measured)])
    by_name = sorted(lines, key=lambda line: line[0])
    headings = ["config", "batch", "images/s", "against PyTorch", "against Keras", *_PLACE]
    return _markdown(headings, sorted(by_name, key=lambda line: line[-1], reverse=True))


def _against(measured: dict) -> tuple[dict | None, str | None, results.Spread | None, results.Spread | None]:
    """The row of digits, the name of the best PyTorch, and how many times as fast as it and as Keras digits is."""
    rows = _rows(measured)
    ratios = {name: row["ratio"] for name, row in rows.items() if row["ratio"]}
    torches = [name for name in ratios if name.startswith("torch_")]
    best = min(torches, key=lambda name: ratios[name].median, default=None)
    return rows.get("digits"), best, ratios.get(best), ratios.get("keras_tensorflow")


def _startup(startups: list[dict]) -> str:
    lines = []
    for measured in startups:
        spreads = results.startup_spreads(measured)
        cells = [str(spreads[name]) if name in spreads else "-" for name in ("digits", "torch_eager", "ratio")]
        lines.append([_name(measured), *cells, *_place(measured)])
    return _markdown(["network", "`python -m digits.main`, s", "PyTorch, s", "digits / PyTorch", *_PLACE], lines)


def _each(
    files: list[dict], about: Callable[[dict], str], headings: list[str], rows: Callable[[dict], list[list[str]]]
) -> str:
    """A table for each file."""
    return "\n".join(
        f"{_name(measured)}{about(measured)}. {_where(measured)}\n\n{_markdown(headings, rows(measured))}\n"
        f"`{measured['command']}`\n"
        for measured in files
    )


def _whole(measured: dict) -> str:
    return (
        f": {measured['epochs']} x {measured['examples']:,} images in batches of {measured['batch_size']}, "
        f"{measured['parameters']:,} parameters, to {measured['target']:g}"
    )


def _peak(measured: dict) -> str:
    return f", batch {measured['batch_size']}; peak {measured['sgemm_gflops']:,.0f} GFLOP/s"


def _populations(files: list[dict]) -> str:
    """Ways to train several members."""
    lines = []
    for measured in files:
        alone, found = measured["contestants"]["alone"], results.times_as_fast(measured, "alone")
        seconds = results.Spread.of(item["seconds"] for item in alone["rounds"])
        cells = [str(found[name]) if name in found else "-" for name in ("mapped", "batched")]
        lines.append([
            _name(measured), measured["members"], alone["steps"], seconds, alone["workers"], *cells, *_place(measured)
        ])  # fmt: skip
    headings = ["network", "members", "steps each", "one after another, s", "workers", "mapped", "batched", *_PLACE]
    return _markdown(headings, lines)


def _sweeps(files: list[dict]) -> str:
    """One sweep against single commands."""
    lines = []
    for measured in files:
        rounds = (measured["contestants"][name]["rounds"] for name in ("sweep", "single"))
        seconds = [results.Spread.of(item["seconds"] for item in items) for items in rounds]
        pairs = [results.times_as_fast(measured, "single", key)["sweep"] for key in ("seconds", "training")]
        runs = f"`{measured['model']}`, {measured['members']} {measured['members_are']}, {measured['epochs']} epochs"
        lines.append([runs, *seconds, *pairs, *_place(measured)])
    headings = ["runs", "one sweep, s", "single commands, s", "times as fast", "times their training alone", *_PLACE]
    return _markdown(headings, lines)


def _agreement(agreements: list[dict]) -> str:
    lines = []
    for measured in agreements:
        for implementation, report in measured["contestants"].items():
            figures = [f"{report['rounds'][0][key]:.5f}" for key in ("loss", "accuracy", "test_loss", "test_accuracy")]
            name = f"{_name(measured)}, seed {measured['seed']}"
            lines.append([name, f"`{implementation}`", *figures, *_place(measured)])
    headings = ["network", "`model.convolution`", "loss", "accuracy", "test loss", "test accuracy", *_PLACE]
    return _markdown(headings, lines)


def _devices(compared: list[dict]) -> str:
    """How far apart trainings on one device and on several are, beside the effect of rounding alone."""
    lines, pictures = [], ""
    for measured in compared:
        found = {(w["dtype"], w["devices"], *w["than"]): f"{w['all']:.0e}" for w in measured["weights"]}
        pairs = [(dtype, devices, dtype, 1) for dtype in ("float64", "float32") for devices in (2, 8)]
        cells = [found[pair] for pair in [*pairs, ("float32", 1, "float64", 1)]]
        lines.append([_name(measured), measured["steps"], *cells, *_place(measured)])
        title = measured["title"]
        pictures += f"\n![{title}: losses on one device and on several](results/devices_{title}.png)\n"
    columns = ["float64, 2", "float64, 8", "float32, 2", "float32, 8", "float32 against float64, 1"]
    return _markdown(["network", "steps", *columns, *_PLACE], lines) + pictures


def _operation(files: list[dict], ours: str, theirs: str) -> str:
    """An operation that replaces one of XLA's own, against that."""
    lines = []
    for measured in files:
        if theirs in measured["contestants"]:
            pair = {way: measured["contestants"][way] for way in (ours, theirs)}
            speeds = [results.Spread.of(1 / item["seconds"] for item in pair[way]["rounds"]) for way in pair]
            ratio = results.times_as_fast({"contestants": pair}, theirs)[ours]
            load = "-".join(f"{number:.0f}" for number in measured["load"])
            lines.append([_name(measured), *speeds, ratio, len(pair[ours]["rounds"]), load, *_place(measured)])
    headings = ["network", f"{ours}, steps/s", f"{theirs}, steps/s", "times as fast", "rounds", "load average"]
    return _markdown([*headings, *_PLACE], lines)


def _network(measured: dict) -> str:
    """One measurement with all that took part in it."""
    reports = measured["contestants"]
    lines = [[f"`{name}`", *results.row_cells(row, reports[name])] for name, row in _rows(measured).items()]
    failed = "".join(f"\nWithout `{name}`: {reason}.\n" for name, reason in measured["failed"].items())
    versions = {library: v for report in reports.values() for library, v in report["versions"].items()}
    peak = f"; peak {measured['sgemm_gflops']:,.0f} GFLOP/s" if measured["sgemm_gflops"] else ""
    return (
        f"### {_name(measured)}\n\n"
        f"Batch {measured['batch_size']}, {measured['parameters']:,} parameters, "
        f"{measured['flops_per_image'] / 1e6:.3g} million operations an image{peak}. {_where(measured)}"
        f"\n\n{_markdown(results.HEADINGS, lines)}{failed}\n"
        f"`{measured['command']}`\n\n{', '.join(f'{library} {v}' for library, v in sorted(versions.items()))}\n"
    )


def _rows(measured: dict) -> dict[str, dict]:
    return results.summarize(
        measured["contestants"], measured["batch_size"], measured["flops_per_image"], measured["sgemm_gflops"]
    )


def _name(measured: dict) -> str:
    """The network, and its differences from its config."""
    changed = ", ".join([*measured["overrides"], *measured.get("changes", ())])
    return f"`{measured['model']}` ({changed})" if changed else f"`{measured['model']}`"


def _where(measured: dict) -> str:
    """Where and when, and whether others used the machine too, as sentences."""
    return f"{', '.join(_place(measured))}. {results.disturbed(measured)}".strip()


_PLACE = ("device", "date")


def _place(measured: dict) -> tuple[str, str]:
    """The cells below _PLACE."""
    return device(measured["machine"]), measured["date"]


def _markdown(headings: list[str], lines: list[list]) -> str:
    """A table; empty without lines."""
    rows = [headings, ["---"] * len(headings), *lines]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows) if lines else ""


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
        readme = pathlib.Path(_README.value)
        pages = readme, readme.absolute().parent.parent / "docs" / "performance.md"
        written = {page: render(page.read_text(encoding="utf-8"), files) for page in pages if page.exists()}
        if readme not in written:
            raise UserError(f"--readme is {_README.value!r}, but there is no such file.")
    except (flags.Error, UserError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyError as error:
        print(f"error: a file in {_RESULTS.value} has no {error}: measure it again.", file=sys.stderr)
        return 2
    for page, text in written.items():
        page.write_text(text, encoding="utf-8")
    print(f"{_README.value}: {len(files)} measurements")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
