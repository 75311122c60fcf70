"""Compiled convolutions, BatchNorm and random bits for the CPU: `kernels/`, built by the machine's C++ compiler.

XLA's CPU backend has no convolution gradients that are fast inside a compiled loop, and its matrix products reach half
of the processor's peak on the shapes of these networks. It draws random bits in loops over memory. The first use builds
the libraries, which takes some seconds, and keeps them in the user's cache folder with their digests. If it cannot
build them, `problem` returns the reason, and convolution.py takes another implementation. The compiler is CXX of the
environment, or the first of g++, clang++, c++.

Kernels are applied by minimal filtering in two dimensions (Winograd 1980; Lavin and Gray 2015, arXiv:1509.09308). Those
of 2, 3, 5, 7 and 11 pixels need up to 2.6, 4, 4.6, 4 and 4.4 times fewer multiplications than the plain sum, as
kernels/README.md explains.
Relative to the largest value of the result, values and gradients are within 5e-6 of those of the stock operations,
which are themselves within about 1e-6 of float64's.
"""

import concurrent.futures
import contextlib
import ctypes
import functools
import hashlib
import os
from pathlib import Path
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from typing import NamedTuple

import filelock
import jax
import jax.numpy as jnp
import numpy as np

from digits.errors import reason
from digits.runtime import cached, machine

_SOURCES = Path(__file__).with_name("kernels")
_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-w")
# Building takes under a minute on any machine that trains. A compiler that hangs must not hang the training.
_SECONDS_TO_BUILD = 120
# Parts of the source that are compiled as separate libraries in parallel, and the symbols of each.
_PARTS = {
    "DIGITS_FORWARD": ("digits_convolve", "digits_input_gradient"),
    "DIGITS_GRADIENT": (
        "digits_kernel_gradient", "digits_batch_norm", "digits_batch_norm_gradient", "digits_random_bits",
    ),
}  # fmt: skip
_EMPTY = (0, 0, 0, 0)
_LOADING = threading.Lock()


def available() -> bool:
    """Whether the compiled convolutions can be used. Builds them if they are not there yet."""
    return problem() is None


def problem() -> str | None:
    """The reason why the compiled convolutions cannot be used; None if they can."""
    if jax.default_backend() != "cpu":
        return "they are for CPUs"
    with _LOADING:  # Members of a population begin in threads of their own, and XLA takes each function once.
        found = _loaded()
    return found if isinstance(found, str) else None


def _compiler() -> list[str] | None:
    named = shlex.split(os.environ.get("CXX", ""))
    if named:
        return named if shutil.which(named[0]) else None
    return next(([name] for name in ("g++", "clang++", "c++") if shutil.which(name)), None)


def _machine_flags() -> tuple[str, ...]:
    if platform.machine().lower() in ("arm64", "aarch64"):
        return ("-mcpu=native",)
    return ("-march=native", "-mprefer-vector-width=512")


@functools.cache
def _loaded() -> tuple[ctypes.CDLL, ...] | str:
    """The loaded libraries, or the reason why there are none."""
    compiler = _compiler()
    if platform.system() == "Windows" or compiler is None:
        return "no C++ compiler was found"
    try:
        commands = [[*compiler, *_FLAGS, *_machine_flags(), f"-D{part}"] for part in _PARTS]
        libraries = _libraries(commands, [_path(command) for command in commands])
        for library, names in zip(libraries, _PARTS.values(), strict=True):
            for name in names:
                jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(library, name)), platform="cpu")
        return tuple(libraries)
    except subprocess.CalledProcessError as error:
        return f"{shlex.join(compiler)} failed: {error.stderr.decode(errors='replace').strip()[:300]}"
    except (OSError, subprocess.TimeoutExpired, AttributeError) as error:
        return reason(error)


def _path(command: list[str]) -> Path:
    """The file of the library that a command builds. Its name depends on everything that the code is compiled for.

    Among these is the processor, because several machines may share a cache folder.
    """
    sources = [path.read_text(encoding="utf-8") for path in sorted(_SOURCES.iterdir()) if path.suffix in (".cc", ".h")]
    identity = "\n".join([*sources, machine.instruction_sets(), jax.lib.__version__, *command])
    return machine.cache_dir() / "native" / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.so"


def _libraries(commands: list[list[str]], paths: list[Path]) -> list[ctypes.CDLL]:
    """Loads the libraries from the cache; builds those that are missing or damaged there.

    Of several processes that lack them, one builds and the others wait.
    """
    kept = [cached.read(path) for path in paths]
    if None not in kept:
        return [_open(content) for content in kept]
    print("compiling the convolutions for this processor, once ...", file=sys.stderr, flush=True)
    # The system releases it when the process ends.
    lock = filelock.FileLock(paths[0].parent / ".lock", fallback_to_soft=False)
    with contextlib.suppress(OSError):  # Neither a lock nor a cache: each process builds for itself.
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            return list(pool.map(_kept_or_built, commands, paths))
    finally:
        lock.release()


def _kept_or_built(command: list[str], path: Path) -> ctypes.CDLL:
    if (kept := cached.read(path)) is not None:
        return _open(kept)
    with tempfile.TemporaryDirectory(prefix="digits-") as folder:
        built = Path(folder) / path.name
        command = [*command, f"-I{jax.ffi.include_dir()}", str(_SOURCES / "convolution.cc"), "-o", str(built)]
        subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS_TO_BUILD)
        content = built.read_bytes()
    library = _open(content)
    cached.keep(path, content)
    return library


def _open(content: bytes) -> ctypes.CDLL:
    """Loads a library from a copy of its own: a file that is cut while it is in use ends the process."""
    if hasattr(os, "memfd_create"):
        # Stays open: to the loader, two libraries of the same name would be one.
        descriptor = os.memfd_create("convolution")
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        return ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    with tempfile.TemporaryDirectory(prefix="digits-") as folder:
        copy = Path(folder) / "convolution.so"
        copy.write_bytes(content)
        return ctypes.CDLL(str(copy))


class Settings(NamedTuple):
    """How a convolution and its pooling are computed.

    Attributes:
      low: rows and columns of zeros before the image.
      high: rows and columns of zeros after it.
      relu: whether the activation is max(0, .); otherwise there is none.
      window: side and stride of the pooling window, 1 or 2.
    """

    low: int
    high: int
    relu: bool = False
    window: int = 1


def convolve(x: jax.Array, kernel: jax.Array, bias: jax.Array, settings: Settings) -> tuple[jax.Array, jax.Array]:
    """Computes max_pool(activation(x * kernel + bias)) in one pass, all float32.

    Args:
      x: images, NxHxWxC.
      kernel: KxKxCxO.
      bias: O.
      settings: padding, activation and pooling.

    Returns:
      The result, NxH'xW'xO, and the winners for the gradient of the pooling, uint8 of the same shape: which of the four
      pixels was the largest, or 4 if all are below zero. For window 1 there are no winners: an empty array.
    """

    def side(length: int) -> int:
        return (length + settings.low + settings.high - kernel.shape[0] + 1) // settings.window

    shape = (x.shape[0], side(x.shape[1]), side(x.shape[2]), kernel.shape[3])
    winners = jax.ShapeDtypeStruct(shape if settings.window > 1 else _EMPTY, jnp.uint8)
    return _call("digits_convolve", (jax.ShapeDtypeStruct(shape, jnp.float32), winners), settings)(x, kernel, bias)


def input_gradient(
    g: jax.Array, y: jax.Array, winner: jax.Array, kernel: jax.Array, shape: tuple[int, ...], settings: Settings
) -> jax.Array:
    """The gradient of `convolve`'s x, which has the given shape.

    `g` is the gradient of the result, `y` and `winner` are the two results.
    """
    result = jax.ShapeDtypeStruct(shape, jnp.float32)
    return _call("digits_input_gradient", result, settings)(g, y, winner, kernel)


def kernel_gradient(
    x: jax.Array, g: jax.Array, y: jax.Array, winner: jax.Array, size: int, settings: Settings
) -> tuple[jax.Array, jax.Array]:
    """The gradients of `convolve`'s KxKxCxO kernel, K = size, and of its bias; arguments as of `input_gradient`."""
    outputs = g.shape[3]
    shapes = (size, size, x.shape[3], outputs), (outputs,)
    result = tuple(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    return _call("digits_kernel_gradient", result, settings)(x, g, y, winner)


def batch_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises N...xC by the mean and variance of each channel; returns the result and both, all float32."""
    shapes = (x.shape, scale.shape, scale.shape)
    result = tuple(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    call = jax.ffi.ffi_call("digits_batch_norm", result, vmap_method="sequential")
    y, mean, variance = call(x, scale, bias, epsilon=np.float32(epsilon))
    return y, mean, variance


def batch_norm_gradient(
    x: jax.Array, g: jax.Array, mean: jax.Array, variance: jax.Array, scale: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The gradients of `batch_norm`'s x, scale and bias; `g` is the gradient of its result."""
    result = tuple(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (x.shape, scale.shape, scale.shape))
    call = jax.ffi.ffi_call("digits_batch_norm_gradient", result, vmap_method="sequential")
    dx, dscale, dbias = call(x, g, mean, variance, scale, epsilon=np.float32(epsilon))
    return dx, dscale, dbias


def random_bits(key: jax.Array, count: int) -> jax.Array:
    """The bits of `jax.random.bits(key, (count,), jnp.uint32)`, for the two words of a threefry2x32 key."""
    result = jax.ShapeDtypeStruct((count,), jnp.uint32)
    return jax.ffi.ffi_call("digits_random_bits", result, vmap_method="sequential")(key)


def multiplications(shape: tuple[int, ...], kernel_shape: tuple[int, ...], settings: Settings) -> int:
    """How many numbers the products of `convolve` multiply for each image of NxHxWxC: fewer than the plain sum does.

    Those of the input's gradient are found with its own shapes: the image is the gradient, the outputs are channels.
    """
    size, _, channels, outputs = kernel_shape
    function = _loaded()[0].digits_multiplications  # type: ignore[union-attr]
    function.restype, function.argtypes = ctypes.c_int64, [ctypes.c_int64] * 8
    return function(*shape[:3], channels, outputs, size, settings.low, settings.high)


def _call(name, result, settings):
    call = jax.ffi.ffi_call(name, result, vmap_method="sequential")
    low, high, window = (np.int64(number) for number in (settings.low, settings.high, settings.window))
    return functools.partial(call, low=low, high=high, relu=settings.relu, window=window)
