"""digits: MNIST experiments in JAX and Flax, reproduced, questioned and extended.

    import digits

    run = digits.train("quickstart", epochs=3)   # or digits.load("runs/quickstart")
    run.evaluate()
    run.predict(digits.data.load("optdigits").test_images[:5])

`load` opens a run or a sweep, `train` trains one, `data`, `models` and `analysis` are the rooms to build on.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digits import analysis, data, models
    from digits.runs.loading import load
    from digits.training.session import train

__version__ = "0.1.0"
__all__ = ["analysis", "data", "load", "models", "train"]

# Imported on first use, so that `import digits` (and `--help`) need not wait for JAX.
_FUNCTIONS = {"load": "digits.runs.loading", "train": "digits.training.session"}

if sys.argv[:1] == ["-m"]:  # `python -m digits.main` begins here, as `digits` in __main__.py.
    from digits.runtime import signals, streams

    streams.open_missing()
    signals.end_at_once()


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    if name in __all__:
        return importlib.import_module(f"digits.{name}")
    raise AttributeError(f"module 'digits' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
