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
    """The latest checkpoint that is whole and whose epochs are recorded.

    Later ones are removed, and it is said, once there is one to go back to: what cannot be read now is not lost for that.

    Args:
      like: the state that it must resemble; see `Checkpoints.restore`.
      told: what its `about` must say.

    Returns:
      Its state and `about`; None where there is no checkpoint yet.

    Raises:
      UserError: there are checkpoints, and none of them is whole.
      OSError, MemoryError: the machine did not let one be read, which says nothing of it.
    """
    if not files.checkpoints.is_dir():
        return None
    recorded = [line["epoch"] for line in files.history()]
    damaged = {}
    for step in checkpoints.steps():
        try:
            saved, about = checkpoints.restore(step, like)
            if missing := set(told) - about.keys():
                raise checkpoint.Damaged(f"it does not say its {min(missing)}")
            if recorded[: about["epoch"]] != list(range(1, about["epoch"] + 1)):
                raise checkpoint.Damaged(f"metrics.jsonl has no record of some of its {about['epoch']} epochs")
        except checkpoint.Damaged as error:
            damaged[step] = error
            continue
        for worse, error in damaged.items():
            say(f"the checkpoint {files.checkpoints / str(worse)} was damaged, and is removed ({error})")
            checkpoints.remove(worse)
        return saved, about
    if damaged:
        step, error = next(iter(damaged.items()))
        raise UserError(
            f"{files.path} has no checkpoint that is whole (that of step {step}: {error}): give another --workdir, or "
            "remove this one to train from the beginning."
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
