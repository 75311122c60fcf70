"""digits: MNIST experiments in JAX and Flax, reproduced, questioned and extended."""

import sys

__version__ = "0.1.0"

if sys.argv[:1] == ["-m"]:  # `python -m digits.main` begins here.
    from digits.runtime.signals import end_at_once

    end_at_once()


def __getattr__(name: str):
    # `digits.load` without making `import digits` (and `--help`) wait for JAX.
    if name == "load":
        from digits.runs.loading import load

        return load
    raise AttributeError(f"module 'digits' has no attribute {name!r}")
