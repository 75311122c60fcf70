"""Refuses a config that makes no sense, before anything is loaded, compiled or written."""

from ml_collections import ConfigDict

from digits.config.values import check_fields
from digits.data import splits
from digits.errors import require
from digits.models import families


def check(config: ConfigDict) -> None:
    """Raises UserError for a config that makes no sense: a field by itself, or fields that contradict each other."""
    check_fields(config)
    splits.check(config.data)
    families.check(config.model)
    opt = config.optimizer
    for name in ("momentum", "nesterov"):
        only_sgd = "off unless config.optimizer.name is sgd"
        require(not opt[name] or opt.name == "sgd", f"optimizer.{name}", opt[name], only_sgd)
    require(not opt.nesterov or opt.momentum, "optimizer.nesterov", True, "False without config.optimizer.momentum")
    if config.data.validation == "none" and config.monitor.startswith("val_"):
        accepted = "loss or accuracy when config.data.validation is 'none'"
        for user, used in (
            ("config.early_stopping.restore_best", config.early_stopping.restore_best),
            ("config.early_stopping.patience", config.early_stopping.patience),
            ("config.schedule.name='plateau'", config.schedule.name == "plateau"),
        ):
            require(not used, "monitor", config.monitor, f"{accepted}, because {user} follows it")


def check_batch(config: ConfigDict, examples: int) -> None:
    """Raises UserError if a batch is larger than the training set, or there are more steps than can be counted."""
    accepted = f"at most the {examples:,} training examples"
    require(config.batch_size <= examples, "batch_size", config.batch_size, accepted)
    most = (2**31 - 1) // -(-examples // config.batch_size)  # Steps are int32.
    require(config.epochs <= most, "epochs", config.epochs, f"at most {most:,} with this config.batch_size")
