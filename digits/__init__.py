"""digits: MNIST experiments in JAX and Flax, reproduced, questioned and extended."""

__version__ = "0.1.0"


def __getattr__(name: str):
    # `digits.load` without making `import digits` (and `--help`) wait for JAX.
    if name == "load":
        from digits.runs.loading import load

        return load
    raise AttributeError(f"module 'digits' has no attribute {name!r}")
