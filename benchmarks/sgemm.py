"""The peak that shares are taken of: python -m benchmarks.sgemm prints the GFLOP/s of a 2048^3 product.

The library whose product is the fastest is asked: on Intel's processors that is PyTorch's, on AMD's NumPy's.
"""

from collections.abc import Callable
import time

import numpy as np

try:
    import torch
except ImportError:  # Without the peers, NumPy's product is the peak.
    torch = None

SIDE = 2048


def peak(repetitions: int = 10) -> float:
    """float32 GFLOP/s, PyTorch's on a GPU where it finds one, otherwise of the faster of PyTorch and NumPy."""
    a, b = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32)
    if torch is None:
        return _best(lambda: a @ b, repetitions)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a_torch, b_torch = torch.from_numpy(a).to(device), torch.from_numpy(b).to(device)
    if device == "cuda":
        return _best(lambda: torch.mm(a_torch, b_torch), repetitions, products=200, wait=torch.cuda.synchronize)
    return max(_best(lambda: torch.mm(a_torch, b_torch), repetitions), _best(lambda: a @ b, repetitions))


def _best(product: Callable, repetitions: int, products: int = 3, wait: Callable = lambda: None) -> float:
    """GFLOP/s in the best of some runs of a few products each."""
    best = float("inf")
    for _ in range(repetitions + 1):  # The first one warms up, and is beaten.
        wait()
        started = time.perf_counter()
        for _ in range(products):
            product()
        wait()
        best = min(best, (time.perf_counter() - started) / products)
    return 2 * SIDE**3 / best / 1e9


if __name__ == "__main__":
    print(peak())
