"""Trains one network with digits and its peers, in turns, and compares their speed.

    python -m benchmarks.peers --model=deep_cnn
    python -m benchmarks.peers --model=deep_cnn --contestants=digits,torch_channels_last --set=batch_size=64 --epoch

Same network, optimizer, batches and data for all; each in its own process; one running at a time. benchmarks/README.md
says how it is measured, and what the peers need.
"""

import pathlib
import sys
from typing import Any

from absl import flags

from benchmarks import command, driver, network, problem, results
from benchmarks.contestants import CONTESTANTS
from digits.errors import UserError

_CONTESTANTS = flags.DEFINE_list("contestants", list(CONTESTANTS), "Who takes part.")
_SECONDS = flags.DEFINE_float("seconds", 4.0, "How long each trains in a round.", lower_bound=0.01)
_EPOCH = flags.DEFINE_boolean("epoch", False, "Measure a whole epoch of each too.")
_EPOCH_LIMIT = flags.DEFINE_float("epoch_limit", 120.0, "No epoch that is expected to take more seconds than this.")


def compare(folder: pathlib.Path) -> dict[str, Any]:
    """Prepares the problem in `folder`, runs the race of the flags, and returns all that was measured."""
    names = list(dict.fromkeys(_CONTESTANTS.value))
    for name in names:
        if name not in CONTESTANTS:
            raise UserError(f"--contestants has {name!r}, but each must be one of {', '.join(CONTESTANTS)}.")
    config, changes = problem.resolve(command.MODEL.value, command.SET.value)
    task, parameters = problem.prepare(config, command.DATA_DIR.value, folder)
    if "no augmentation" not in changes:
        names = [name for name in names if name != "digits_augmented"]
    left_out = driver.missing_libraries(command.PEERS_PYTHON.value, names)
    for name, reason in left_out.items():
        command.say(f"{name} is left out: {reason}")
    names = [name for name in names if name not in left_out]
    peak = driver.sgemm_peak(command.PEERS_PYTHON.value)
    if peak is None:
        command.say("the share of the peak is left out: there is no PyTorch to measure it")
    race = driver.Race(_SECONDS.value, command.say)
    with driver.processes() as started:
        for name in names:
            started.append(driver.start(name, folder, command.PEERS_PYTHON.value))
            race.enter(started[-1])
            if name in race.reports and race.reports[name]["parameters"] != parameters:
                count = race.reports[name]["parameters"]
                raise UserError(f"{name} trains {count:,} parameters, digits {parameters:,}: not the same network.")
        race.run(command.ROUNDS.value)
        if _EPOCH.value:
            race.epochs(task.steps_per_epoch, _EPOCH_LIMIT.value)
        race.finish()
    # Twice, and the larger: a moment's disturbance must not lower the peak.
    peak = peak and max(peak, driver.sgemm_peak(command.PEERS_PYTHON.value) or 0.0)
    flops = network.training_flops(task.layers)
    rows = results.summarize(race.reports, task.batch_size, flops, peak)
    return {
        "kind": "peers",
        "model": command.MODEL.value,
        "overrides": command.SET.value,
        "changes": changes,
        "batch_size": task.batch_size,
        "steps_per_epoch": task.steps_per_epoch,
        "parameters": parameters,
        "flops_per_image": flops,
        "sgemm_gflops": peak,
        "seconds": _SECONDS.value,
        "cores_used_by_others": results.disturbance(race.reports),
        "contestants": race.reports,
        "ratios": {name: vars(row["ratio"]) for name, row in rows.items() if row["ratio"]},
        "failed": race.failed | dict.fromkeys(left_out, command.NOT_INSTALLED),
        "machine": results.computer(race.reports),
        "versions": results.own_versions(),
        **results.origin("benchmarks.peers", sys.argv[1:]),
    }


def table(measured: dict[str, Any]) -> str:
    """The measurements as an aligned table with what they are of."""
    rows = results.summarize(
        measured["contestants"], measured["batch_size"], measured["flops_per_image"], measured["sgemm_gflops"]
    )
    cells = [results.HEADINGS]
    cells += [[name, *results.row_cells(row, measured["contestants"][name])] for name, row in rows.items()]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in cells]
    peak = f", peak {measured['sgemm_gflops']:.0f} GFLOP/s" if measured["sgemm_gflops"] else ""
    head = (
        f"{measured['model']}{''.join(f', {change}' for change in [*measured['overrides'], *measured['changes']])}: "
        f"batch {measured['batch_size']}, {measured['parameters']:,} parameters, "
        f"{measured['flops_per_image'] / 1e6:.3g} MFLOP an image{peak}; medians [smallest-largest] of the rounds"
    )
    text = "\n".join([head, "", lines[0], "-" * len(lines[0]), *lines[1:]])
    return f"{text}\n{disturbed}" if (disturbed := results.disturbed(measured)) else text


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    return command.run(argv, __doc__, sys.modules[__name__], compare, table)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
