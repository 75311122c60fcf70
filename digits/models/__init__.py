"""The networks: families, layers, inference, summary; ops/ has convolution, pooling, dropout and the C++ kernels.

    model = models.build(config.model, classes=10, key=jax.random.key(0))

Imports `data` and `runtime`; `runs`, `training`, `reports`, `serving` and `sweeps` may import it. Start with
families.py: `Dense` and `CNN`, two classes that cover every documented architecture.
"""

from digits.models.families import Network, build, outline

__all__ = ["Network", "build", "outline"]
