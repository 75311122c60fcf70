"""Whether a config makes sense."""

from ml_collections import ConfigDict

from digits import augment, data, models, optimizer
from digits.errors import require, require_choice, require_number


def check(config: ConfigDict) -> None:
    """Raises UserError for a config that makes no sense, before anything is loaded, compiled or written."""
    whole = lambda value, low, high=2**31: isinstance(value, int) and low <= value < high
    for name in ("epochs", "batch_size", "eval_batch_size", "checkpoint_every"):
        require(whole(config[name], 1), name, config[name], "a whole number from 1")
    require(whole(config.seed, 0), "seed", config.seed, "a whole number from 0 to 2147483647")
    require_number("label_smoothing", config.label_smoothing, 0, 1)
    require_choice("population.sharing", config.population.sharing, ("auto", "mapped", "batched"))
    for name in ("workers", "size"):
        require(
            whole(config.population[name], 0), f"population.{name}", config.population[name], "a whole number from 0"
        )
    data.check(config.data)
    models.check(config.model)
    optimizer.check(config)
    augment.check(config.augment)


def check_batch(config: ConfigDict, examples: int) -> None:
    """Raises UserError if a batch is larger than the training set, or there are more steps than can be counted."""
    accepted = f"at most the {examples:,} training examples"
    require(config.batch_size <= examples, "batch_size", config.batch_size, accepted)
    most = (2**31 - 1) // -(-examples // config.batch_size)  # Steps are int32.
    require(config.epochs <= most, "epochs", config.epochs, f"at most {most:,} with this config.batch_size")
