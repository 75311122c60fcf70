"""Trains an experiment, or goes on training it, and tests it.

    python -m digits.main --config=simple_cnn
    python -m digits.main --config=two_conv --config.model.kernel_size=5
    python -m digits.main --config=simple_cnn --fields

Without arguments it lists the experiments. --fields lists the fields of one,
each of which can be changed after --config. Runs are kept in runs/; the same
command goes on with one.
"""

import contextlib
import gc
import pathlib
import sys

from digits import command_line
from digits.config.experiment_files import Given, default_workdir, listing
from digits.config.values import fields_as_markdown
from digits.errors import UserError, refusals
from digits.runtime import screen


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 0, 2 for a user's mistake, 128 + signal for an interrupted run."""
    if len(argv) == 1:
        return command_line.show(listing(screen.width()))
    return command_line.train(argv, lambda: f"{__doc__}\n{command_line.flags_help()}", _train, sweeps=False)


def _train(given: Given) -> int:
    """Trains one run and writes its report, or lists the fields of its config; returns the exit code."""
    if command_line.LIST_FIELDS.value:
        page = "\n".join(fields_as_markdown(given.config, given.origin["config_file"]))
        print(screen.wrap(page, screen.width(), commands=False))
        return 0
    folder = command_line.WORKDIR.value or default_workdir(given.origin)
    data_dir = command_line.DATA_DIR.value
    # Both import NumPy, for which --help and a mistyped flag should not wait.
    from digits.training import startup, tracking

    trackers = tracking.names(command_line.TRACK.value)

    report = command_line.REPORT.value and not (pathlib.Path(folder).expanduser() / "report.html").exists()
    # Trackers import, and look for, some of the report's libraries: two threads must not do so at once.
    early = _import_report if report and not trackers else None
    start = startup.Start(given.config.data.name, data_dir).early(early)
    with startup.waiting("importing JAX ..."):  # While the dataset is being read.
        from digits.runs.workdir import Workdir
        from digits.runtime import processes
        from digits.training import terminal, train

    processes.join(
        command_line.COORDINATOR.value, command_line.NUM_PROCESSES.value, command_line.PROCESS_ID.value,
        command_line.INITIALIZATION_TIMEOUT.value,
    )  # fmt: skip
    tracks = tracking.Tracking(trackers if processes.first() else ())
    with tracks.run(Workdir(folder), terminal.say) as tracked:
        with processes.failing_at_once(), refusals():
            train.train_and_evaluate(
                given.config,
                folder,
                origin=given.origin,
                start=start,
                profile=command_line.PROFILE.value,
                tracked=tracked,
            )
        if report and processes.first():
            _write_report(folder, data_dir)
    if processes.first():
        terminal.say(terminal.next_lines(folder, tracks.looks))
    gc.freeze()  # The process ends. Python need not search a million objects for garbage first.
    return 0


def _import_report() -> None:
    """Imports the libraries of the report while the run trains, so that its end need not wait for them."""
    with contextlib.suppress(Exception):  # A library that is missing or broken is a message of the report.
        # Orbax is imported by another thread at the same time. Two threads must not import at once what both need.
        import orbax.checkpoint  # noqa: F401

        from digits.reports import run_page  # noqa: F401


def _write_report(folder: str, data_dir: str | None) -> None:
    """Writes the report. If it cannot be written, prints why: the run is whole without it."""
    print("writing the report ...", flush=True)
    from digits.reports import pages

    try:
        pages.write(folder, data_dir)
    except UserError as error:
        print(f"no report was written: {error}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
