"""Reads and writes experiments/results/STUDY.json, the figures of trained members. Needs no JAX.

    {"study": NAME, "arms": {ARM: {"config_file", "overrides", "repeats", "parameters", "config", "members",
                                   "diverged"}}}

    parameters the number that training changes; None in a file that was written before it had them
    config     by dotted field, without the field in which the members differ
    members    each has "seed" (or the fold, where the arm repeats "data.fold"), "command" (trains it alone), "result"
               (some keys of its result.json) and "history" (columns of its metrics.jsonl)
    diverged   the seeds whose loss became infinite; they are not tried again

A file that is damaged gives one sentence, a UserError.
"""

from collections.abc import Iterable, Mapping
import json
import pathlib
import shlex
from typing import Any

from digits.errors import UserError
from digits.runs.files import write
from experiments.judging.study import Arm, Member, Study

FOLDER = pathlib.Path(__file__).parent.parent
_RESULT = (
    "test_loss", "test_accuracy", "tested_epoch", "best_epoch", "validation_is_test", "seed", "epochs", "seconds",
    "images_per_second", "device", "versions", "commit", "dirty", "diff_sha256", "data",
)  # fmt: skip
_HISTORY = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
_ENTRY = {
    "config_file": str, "overrides": dict, "repeats": str, "parameters": (int, type(None)), "config": dict,
    "members": list, "diverged": list,
}  # fmt: skip
# These fields change no figure.
_ASIDE = ("documented.", "population.")


def path(study: Study, folder: pathlib.Path) -> pathlib.Path:
    return folder / "results" / f"{study.name}.json"


def read(study: Study, folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    """The collected arms of a study by name; none where there is no file yet. UserError if the file is damaged."""
    file = path(study, folder)
    if not file.exists():
        return {}
    try:
        arms = json.loads(file.read_text(encoding="utf-8"))["arms"]
        for name, arm in arms.items():
            arm.setdefault("parameters", None)
            for key, type_ in _ENTRY.items():
                if not isinstance(arm[key], type_):
                    raise ValueError(f"{key!r} of the arm {name!r} is {arm[key]!r:.50}")
            for member in arm["members"]:
                member["seed"], member["command"], member["result"]["test_accuracy"], member["history"]["loss"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is no file of collected results ({error!r}): restore it, or move it away.") from error
    return arms


def save(study: Study, folder: pathlib.Path, arms: Mapping[str, dict[str, Any]]) -> None:
    """Writes a study's arms, one member a line, so that a person can read the difference of two versions."""
    blocks = []
    for name, arm in arms.items():
        lines = [f'   "{key}": {json.dumps(arm[key])}' for key in _ENTRY if key != "members"]
        members = ",\n".join(f"    {json.dumps(member)}" for member in arm["members"])
        lines.append('   "members": [' + (f"\n{members}\n   " if members else "") + "]")
        blocks.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n  }")
    content = f'{{\n "study": {json.dumps(study.name)},\n "arms": {{\n' + ",\n".join(blocks) + "\n }\n}\n"
    write(path(study, folder), content.encode())


def entry(arm: Arm, config: Mapping[str, Any], parameters: int | None = None) -> dict[str, Any]:
    """An arm without members; `config` is its resolved config by dotted field, `parameters` those of its network."""
    kept = {field: v for field, v in config.items() if field != arm.repeats and not field.startswith(_ASIDE)}
    about = {"config_file": f"configs/{arm.config}.py", "overrides": dict(arm.overrides), "repeats": arm.repeats}
    about["parameters"] = parameters
    return json.loads(json.dumps(about | {"config": kept, "members": [], "diverged": []}))


def differing(before: Mapping[str, Any], now: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """The differences between the configs of two entries, a phrase each: "batch_size was 64, is 32".

    Args:
      before: an entry that may have been written before some fields existed; such a field had its default.
      now: the entry of the present config.
      defaults: the value of every field in configs/base.py.
    """
    new = now["config"]
    old = {field: json.loads(json.dumps(defaults[field])) for field in new if field in defaults} | before["config"]
    return [
        f"{field} was {old.get(field, 'absent')!r}, is {new.get(field, 'absent')!r}"
        for field in {**old, **new}
        if old.get(field, "absent") != new.get(field, "absent")
    ]


def record(arm: Arm, seed: int, result: Mapping[str, Any], history: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The entry of a finished member; its history is rounded to six digits."""
    history = list(history)

    def number(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.6g}")

    return {
        "seed": seed,
        "command": command(arm, seed),
        "result": {key: result[key] for key in _RESULT if key in result},
        "history": {
            column: [number(line[column]) for line in history]
            for column in _HISTORY
            if any(line.get(column) is not None for line in history)
        },
    }


def command(arm: Arm, seed: int) -> str:
    """The command line that trains one member alone."""
    fields = [f"--config.{field}={value}" for field, value in arm.values(seed).items()]
    return " ".join(map(shlex.quote, ["python", "-m", "digits.main", f"--config=configs/{arm.config}.py", *fields]))


def merge(entry: dict[str, Any], other: Mapping[str, Any]) -> int:
    """Adds the members of another entry of the same arm that this one lacks; returns how many."""
    there = {member["seed"] for member in entry["members"]}
    new = [member for member in other["members"] if member["seed"] not in there]
    entry["members"] = sorted(entry["members"] + new, key=lambda member: member["seed"])
    entry["diverged"] = sorted({*entry["diverged"], *other["diverged"]})
    return len(new)


def members(arms: Mapping[str, dict[str, Any]]) -> dict[str, list[Member]]:
    """The collected members of each arm, by its name."""
    return {name: [_member(kept) for kept in arm["members"]] for name, arm in arms.items()}


def _member(kept: dict[str, Any]) -> Member:
    columns = kept["history"]
    history = [
        {"epoch": epoch} | {column: values[epoch - 1] for column, values in columns.items()}
        for epoch in range(1, len(columns["loss"]) + 1)
    ]
    return Member(kept["seed"], kept["result"], history)
