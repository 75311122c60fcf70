"""Which of its checkpoints a run goes back to."""

from collections.abc import Callable, Iterable
from typing import Any

from digits import checkpoint, record
from digits.errors import UserError


def latest(
    checkpoints: checkpoint.Checkpoints,
    files: record.Workdir,
    like: Any,
    told: Iterable[str],
    say: Callable[[str], None],
) -> tuple[Any, dict[str, Any]] | None:
    """The latest checkpoint that is whole and whose epochs are recorded; says which are not, and removes them.

    Args:
      like: the state that it must resemble; see `Checkpoints.restore`.
      told: what its `about` must say.

    Returns:
      Its state and `about`; None where there is no checkpoint yet.

    Raises:
      UserError: there were checkpoints, and none of them is whole.
    """
    if not files.checkpoints.is_dir():
        return None
    recorded = [line["epoch"] for line in files.history()]
    steps = checkpoints.steps()
    for step in steps:
        try:
            saved, about = checkpoints.restore(step, like)
            if missing := set(told) - about.keys():
                raise checkpoint.Damaged(f"it does not say its {min(missing)}")
            if recorded[: about["epoch"]] != list(range(1, about["epoch"] + 1)):
                raise checkpoint.Damaged(f"metrics.jsonl has no record of some of its {about['epoch']} epochs")
            return saved, about
        except checkpoint.Damaged as error:
            say(f"the checkpoint {files.checkpoints / str(step)} was damaged, and is removed ({error})")
            checkpoints.remove(step)
    if steps:
        raise UserError(
            f"{files.path} has no checkpoint left that is whole: give another --workdir, or remove this one to "
            "train from the beginning."
        )
    return None


def best(
    checkpoints: checkpoint.Checkpoints, files: record.Workdir, like: Any, step: int
) -> tuple[Any, dict[str, Any]]:
    """The checkpoint of the best epoch, after `step` updates; UserError if it is damaged."""
    try:
        return checkpoints.restore(step, like)
    except checkpoint.Damaged as error:
        raise UserError(
            f"{files.checkpoints / str(step)}, the checkpoint of the best epoch, is damaged ({error}): give "
            f"another --workdir, or remove {files.path} to train from the beginning."
        ) from error
