"""Finds the folders of runs and sweeps, newest first, and those that a mistyped name may mean. Needs no JAX."""

from collections.abc import Iterator, Sequence
import contextlib
import os
import pathlib
import shlex

from digits.config.suggestions import nearest
from digits.errors import UserError
from digits.runtime import paths, screen

# The files that tell when a run or a sweep was written last: the first of which there is one.
_RECORDS = (("result.json", "sweep.csv"), ("metrics.jsonl", "failure.json"), ("config.json", "sweep.json"))
_DEPTH = 4  # runs/lesson/monday/simple_cnn.


def find(folder: str | os.PathLike = "runs", depth: int = _DEPTH) -> list[pathlib.Path]:
    """The runs and sweeps in a folder and in its folders, newest first; not the members of sweeps. Follows no links."""
    found = [(written(path), path) for path in _below(pathlib.Path(folder).expanduser(), depth)]
    return [path for _, path in sorted(found, key=lambda one: (-one[0], one[1]))]


def is_run(folder: pathlib.Path) -> bool:
    """Whether a folder holds a run or a sweep."""
    return (folder / "config.json").is_file() or is_sweep(folder)


def is_sweep(folder: pathlib.Path) -> bool:
    """Whether a folder holds a sweep."""
    return (folder / "sweep.json").is_file()


def written(folder: pathlib.Path) -> float:
    """When a run was finished, or written last, in seconds since 1970; 0 if the folder holds no run."""
    for names in _RECORDS:
        times = []
        for name in names:
            with contextlib.suppress(OSError):
                times.append((folder / name).lstat().st_mtime)
        if times:
            return max(times)
    return 0.0


def like(given: str) -> list[pathlib.Path]:
    """The runs that the name of no folder may mean: like("simple_cnn") is [runs/simple_cnn]."""
    path = pathlib.Path(given).expanduser()
    if not path.is_absolute() and is_run("runs" / path):
        return ["runs" / path]
    known: dict[str, pathlib.Path] = {}
    for folder in (path.parent, pathlib.Path("runs")):
        known |= {run.name: run for run in _below(folder, 1)}
    return [known[name] for name in nearest(path.name, known)[:3]]


def _below(folder: pathlib.Path, depth: int) -> Iterator[pathlib.Path]:
    try:
        entries = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for path in map(pathlib.Path, entries):
        if is_run(path):
            yield path
        elif depth > 1:
            yield from _below(path, depth - 1)


def none_named(sentence: str) -> UserError:
    """The mistake of naming no run: the sentence and, a line each, the newest runs."""
    runs = find()[:5]
    return UserError(
        "".join([sentence, "\nThe newest are:" if runs else "", *(f"\n  {shlex.quote(str(run))}" for run in runs)])
    )


def one_run(workdir: str | None, rest: list[str]) -> str:
    """The folder of the run that is named by --workdir or by the only argument; UserError if there is none."""
    given = [*([workdir] if workdir else []), *rest]
    if not given:
        raise none_named("--workdir is missing: name a run or a sweep, such as --workdir=runs/simple_cnn.")
    if len(given) > 1:
        raise UserError(f"{given[1]!r} is given besides {given[0]!r}, but the command takes one run.")
    return existing(given[0])


def existing(folder: str) -> str:
    """The folder of a run; UserError if there is no such folder, but one that may be meant."""
    if not paths.local(folder, "--workdir").exists() and (near := like(folder)):
        raise UserError(f"there is no folder {folder!r}; {meant(near)}")
    return folder


def meant(near: Sequence[pathlib.Path]) -> str:
    """Asks whether one of these runs is meant."""
    one = len(near) == 1
    return f"did you mean {screen.pasted(near[0])}?" if one else listed("did you mean one of these?", near)


def listed(heading: str, runs: Sequence[pathlib.Path]) -> str:
    """At most five runs, as a shell takes them. Several have a line each, because their names may hold commas."""
    lines = [screen.pasted(run) + " (a sweep)" * is_sweep(run) for run in runs[:5]]
    return f"{heading} {lines[0]}" if len(lines) == 1 else "\n  ".join([heading, *lines])
