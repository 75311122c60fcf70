"""The peak that shares are taken of: python -m benchmarks.sgemm prints the GFLOP/s of PyTorch's 2048^3 product."""

import time

import torch

SIDE = 2048


def peak(repetitions: int = 5) -> float:
    """float32 GFLOP/s on PyTorch's default device for training: the best of some runs of a few products each."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    products = 200 if device == "cuda" else 3
    a, b = (torch.randn(SIDE, SIDE, device=device) for _ in range(2))
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    best = float("inf")
    for _ in range(repetitions + 1):  # The first one warms up, and is beaten.
        wait()
        started = time.perf_counter()
        for _ in range(products):
            torch.mm(a, b)
        wait()
        best = min(best, (time.perf_counter() - started) / products)
    return 2 * SIDE**3 / best / 1e9


if __name__ == "__main__":
    print(peak())
