"""Tests of digits.models.ops.native: the compiled convolution, bias, ReLU and pooling against the stock operations."""

import concurrent.futures
import functools
import os
from pathlib import Path
import shutil
import subprocess
import sys

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from digits import errors
from digits.models import families
from digits.models.ops import convolution, native
from digits.runtime import cached, machine
from tests.conftest import slow
from tests.runtime import cached_test

ROOT = Path(__file__).parents[3]
needs_compiler = pytest.mark.skipif(not native.available(), reason=f"no compiled convolutions: {native.problem()}")
# The largest error relative to the largest magnitude of the stock result.
TOLERANCE = 1e-5

# The compiler would spend many seconds on optimising what it runs once here.
fast_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def normal(seed, shape, scale=1.0):
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=shape), jnp.float32)


def linear(x):
    return x


@functools.partial(fast_jit, static_argnums=(3, 4, 5, 6, 7))
def value_and_gradients(x, kernel, bias, padding, activation, window, implementation, stride=1):
    """The block's result and, for a random cotangent, the gradients of images, kernel and bias."""

    def block(*arrays):
        return convolution.conv_block(*arrays, padding, activation, window, implementation, stride)

    y, pullback = jax.vjp(block, x, kernel, bias)
    return y, *pullback(normal(9, y.shape))


def stock(x, kernel, bias, padding, activation, window, stride=1):
    """The same in the operations of JAX alone."""
    strides, names = (stride, stride), ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, kernel, strides, padding.upper(), dimension_numbers=names)
    shape = (1, window, window, 1)
    return lax.reduce_window(activation(y + bias), -jnp.inf, lax.max, shape, shape, "VALID")


@functools.partial(fast_jit, static_argnums=(3, 4, 5, 6))
def stock_value_and_gradients(x, kernel, bias, *static):
    y, pullback = jax.vjp(lambda *arrays: stock(*arrays, *static), x, kernel, bias)
    return y, *pullback(normal(9, y.shape))


def arrays(x_shape, size, width, seed=0):
    """Images, a kernel of the scale of He's initialiser, and a bias away from ties at zero."""
    fan_in = size * size * x_shape[-1]
    kernel = normal(seed + 1, (size, size, x_shape[-1], width), (2 / fan_in) ** 0.5)
    return normal(seed, x_shape), kernel, normal(seed + 2, (width,), 0.1)


def assert_equal(results, expected):
    names = ("value", "x", "kernel", "bias")[: len(expected)]
    for name, result, stock_result in zip(names, results, expected, strict=True):
        assert result.shape == stock_result.shape and result.dtype == stock_result.dtype
        scale = np.abs(stock_result).max()
        assert scale > 0, name
        assert np.abs(np.asarray(result) - np.asarray(stock_result)).max() <= TOLERANCE * scale, name


# Each size has its own algorithm; one channel, few and many; sides that leave partial tiles, pooled rows and columns
# that are dropped; output widths that are no multiple of a vector.
SHAPES = {
    "one channel": ((3, 13, 12, 1), 5),
    "few channels": ((2, 12, 15, 5), 33),
    "many channels": ((5, 14, 13, 32), 64),
    "uneven channels": ((2, 13, 17, 50), 20),
}


# With seed 0, a pixel of this one is so near to ReLU's kink (3e-7 of the largest value) that rounding decides its side.
SEEDS = {(7, "same", "many channels"): 1}


@needs_compiler
@pytest.mark.parametrize("activation, window", [(jax.nn.relu, 2), *slow((jax.nn.relu, 1), (linear, 1))])
@pytest.mark.parametrize("shape", ["one channel", "uneven channels", *slow("few channels", "many channels")])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, *slow(4, 11)])
def test_block_equals_stock(size, padding, shape, activation, window):
    if window == 2 and padding == "valid" and size == 11:
        pytest.skip("nothing new: a result of 3x2 pixels")
    x_shape, width = SHAPES[shape]
    given = arrays(x_shape, size, width, SEEDS.get((size, padding, shape), 0))
    results = value_and_gradients(*given, padding, activation, window, "native")
    assert_equal(results, stock_value_and_gradients(*given, padding, activation, window))


@needs_compiler
@pytest.mark.parametrize("activation, window", [(jax.nn.relu, 2), *slow((jax.nn.relu, 1), (jnp.tanh, 2))])
@pytest.mark.parametrize("shape", ["one channel", "many channels"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size, stride", [(4, 2), (5, 3), (2, 3), *slow((3, 2), (3, 3))])
def test_strided_block_equals_stock(size, stride, padding, shape, activation, window):
    x_shape, width = SHAPES[shape]
    given = arrays(x_shape, size, width)
    results = value_and_gradients(*given, padding, activation, window, "native", stride)
    assert_equal(results, stock_value_and_gradients(*given, padding, activation, window, stride))


@needs_compiler
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("channels, stride", [(8, 1), (32, 1), (33, 1), (5, 2)])
def test_depthwise_equals_stock(channels, stride, padding):
    def gradients(implementation):
        y, pullback = jax.vjp(lambda *arrays: convolution.depthwise(*arrays, padding, implementation, stride), *given)
        return y, *pullback(normal(9, y.shape))

    given = normal(0, (3, 14, 11, channels)), normal(1, (3, 3, channels, 1))
    assert_equal(*(jax.jit(gradients, static_argnums=0)(one) for one in ("native", "stock")))


@needs_compiler
@pytest.mark.parametrize("window", [1, 2])
def test_a_block_without_bias_is_one_with_zeros(window):
    x, kernel, bias = arrays((2, 12, 15, 5), 3, 33)
    static = "same", jax.nn.relu, window
    results = value_and_gradients(x, kernel, None, *static, "native")
    assert results[3] is None
    assert_equal(results[:3], stock_value_and_gradients(x, kernel, 0 * bias, *static)[:3])


@needs_compiler
def test_float32_stays_float32_where_float64_is_allowed():
    given = normal(0, (3, 14, 11, 8)), normal(1, (3, 3, 8, 1)), normal(2, (3, 3, 8, 5))

    def both():
        x, one_each, kernel = given
        y = convolution.depthwise(x, one_each, "same", "native", 1)
        return y, convolution.conv_block(y, kernel, None, "same", implementation="native")

    expected = both()
    with jax.enable_x64(True):
        assert_equal(both(), expected)


@pytest.mark.slow
@needs_compiler
def test_random_shapes_equal_stock():
    rng = np.random.default_rng(0)
    for _ in range(12):
        size = int(rng.choice([2, 3, 5, 7]))
        sides = rng.integers(size + 2, 24, 2)
        given = arrays(
            (int(rng.integers(1, 9)), *map(int, sides), int(rng.integers(1, 70))), size, int(rng.integers(1, 70))
        )
        static = (str(rng.choice(["valid", "same"])), jax.nn.relu, int(rng.integers(1, 3)))
        assert_equal(value_and_gradients(*given, *static, "native"), stock_value_and_gradients(*given, *static))


# The shapes with the largest errors in the networks of configs/, and one of each algorithm.
LARGE = [
    (2, (14, 14, 64), 64, "valid"), (3, (28, 28, 64), 64, "same"), (3, (14, 14, 128), 128, "same"),
    (5, (7, 7, 128), 160, "valid"), (11, (16, 16, 32), 32, "same"),
    *slow(
        (3, (13, 13, 32), 64, "valid"), (5, (18, 18, 96), 128, "valid"), (5, (5, 9, 64), 32, "same"),
        (7, (22, 22, 64), 32, "valid"), (4, (14, 14, 64), 64, "same"), (6, (13, 13, 48), 64, "valid"),
        (9, (11, 11, 32), 32, "valid"),
    ),
]  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("size, image, width, padding", LARGE)
def test_values_and_gradients_are_those_of_float64_within_their_bound(size, image, width, padding):
    x, kernel, bias = arrays((4, *image), size, width)
    x = jax.nn.relu(x)
    found = value_and_gradients(x, kernel, bias, padding, linear, 1, "native")
    with jax.enable_x64(True):
        given = [jnp.asarray(array, jnp.float64) for array in (x, kernel, bias)]
        cotangent = jnp.asarray(normal(9, found[0].shape), jnp.float64)
        true, pullback = jax.vjp(lambda *arrays: stock(*arrays, padding, linear, 1), *given)
        true = [np.asarray(array) for array in (true, *pullback(cotangent))]
    for result, expected in zip(found, true, strict=True):
        assert np.abs(np.asarray(result, np.float64) - expected).max() <= 5e-6 * np.abs(expected).max()


def test_a_library_is_named_after_all_files_that_it_is_built_from(tmp_path, monkeypatch):
    for path in native._SOURCES.iterdir():
        shutil.copy(path, tmp_path)
    before = native._path(["c++"])
    monkeypatch.setattr(native, "_SOURCES", tmp_path)
    assert native._path(["c++"]) == before
    for path in [*tmp_path.glob("*.cc"), *tmp_path.glob("*.h")]:
        path.write_text(path.read_text() + "\n")
        assert native._path(["c++"]) != before
        before = native._path(["c++"])


@needs_compiler
def test_multiplications_are_those_of_the_chosen_algorithm():
    same, valid = native.Settings(1, 1), native.Settings(0, 0)
    count = native.multiplications
    assert count((9, 28, 28, 32), (3, 3, 32, 64), same) == 49 * 36 * 32 * 64  # Tiles of 4x4 pixels.
    assert count((9, 14, 14, 32), (3, 3, 32, 64), same) == 9 * 49 * 32 * 64  # Of 5x5 pixels.
    assert count((9, 22, 22, 64), (7, 7, 64, 32), valid) == 16 * 4 * 49 * 64 * 32  # Four pieces.
    assert count((1, 14, 14, 32), (3, 3, 32, 64), same) == (3 * 14 - 2) * 4 * 6 * 32 * 64  # Along the rows alone.
    assert count((9, 28, 28, 1), (3, 3, 1, 32), valid) == 26**2 * 9 * 32  # The plain sum.


@needs_compiler
@pytest.mark.parametrize("bias", [0.0, -1000.0, 1.0])
def test_ties_are_broken_as_stock_does(bias):
    # Whole numbers: every sum is exact, many are equal, and with the low bias nothing is above zero.
    x = jnp.asarray(np.random.default_rng(0).integers(-1, 2, (4, 11, 13, 1)), jnp.float32)
    kernel = jnp.asarray(np.random.default_rng(1).integers(-1, 2, (3, 3, 1, 20)), jnp.float32)
    given = (x, kernel, jnp.full(20, bias), "same", jax.nn.relu, 2)
    for result, expected in zip(value_and_gradients(*given, "native"), stock_value_and_gradients(*given), strict=True):
        if bias > -1000:
            assert np.abs(expected).max() > 0
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(value_and_gradients(*given, "native")[0], stock_value_and_gradients(*given)[0])


@needs_compiler
@pytest.mark.parametrize("window", [1, 2])
def test_what_is_not_a_number_stays_so(window):
    x, kernel, bias = arrays((2, 8, 8, 20), 3, 16)
    x = x.at[1, 3, 4, 7].set(jnp.nan)
    y = np.asarray(convolution.conv_block(x, kernel, bias, "same", jax.nn.relu, window, "native"))
    expected = np.asarray(stock(x, kernel, bias, "same", jax.nn.relu, window))
    # A whole tile of pixels shares its sums: there may be more of them than stock has, never fewer.
    assert np.isnan(expected).any() and np.isnan(y[np.isnan(expected)]).all() and not np.isnan(y[0]).any()


@needs_compiler
def test_results_of_many_megabytes_equal_stock():
    # Such results are written past the caches.
    given = arrays((50, 40, 40, 4), 3, 32)
    static = ("same", jax.nn.relu, 1)
    assert_equal(value_and_gradients(*given, *static, "native"), stock_value_and_gradients(*given, *static))


@needs_compiler
def test_block_in_a_compiled_loop_equals_stock():
    x, kernel, bias = arrays((20, 12, 12, 16), 3, 16)

    def train(block):
        def loss(kernel):
            return jnp.mean(block(x, kernel, bias) ** 2)

        return jax.jit(lambda k: lax.fori_loop(0, 3, lambda _, k: k - 0.05 * jax.grad(loss)(k), k))(kernel)

    result = train(lambda *given: convolution.conv_block(*given, "same", jax.nn.relu, 2, "native"))
    expected = train(lambda *given: stock(*given, "same", jax.nn.relu, 2))
    assert np.abs(expected - kernel).max() > 1e-3, "the loop hardly moves the kernel"
    assert np.abs(result - expected).max() <= TOLERANCE * np.abs(expected).max()


@needs_compiler
@pytest.mark.parametrize("kernels", ["one kernel", "many kernels"])
def test_vmap_over_block(kernels):
    static = ("same", jax.nn.relu, 2, "native")
    given = [jnp.stack(a) for a in zip(*(arrays((4, 9, 9, 8), 3, 5, seed) for seed in (0, 10, 20)), strict=True)]
    if kernels == "one kernel":
        given[1:] = given[1][0], given[2][0]
    axes = (0, 0, 0) if kernels == "many kernels" else (0, None, None)
    mapped = jax.vmap(lambda *arrays: value_and_gradients(*arrays, *static), axes)(*given)
    for index in range(3):
        one = [a if axis is None else a[index] for a, axis in zip(given, axes, strict=True)]
        assert_equal([result[index] for result in mapped], stock_value_and_gradients(*one, *static[:3]))


@needs_compiler
@pytest.mark.parametrize("size", [2, 3, 5, 7, 11])
def test_same_bits_whichever_thread_computes_what(size):
    given = (*arrays((33, 14, 14, 32), size, 64), "same", jax.nn.relu, 2, "native")
    first = value_and_gradients(*given)
    for _ in range(20):
        for result, again in zip(first, value_and_gradients(*given), strict=True):
            np.testing.assert_array_equal(result, again)


@needs_compiler
def test_float64_takes_products():
    with jax.enable_x64(True):
        x, kernel = jnp.ones((2, 6, 6, 4), jnp.float64), jnp.ones((3, 3, 4, 5), jnp.float64)
        y = convolution.conv_block(x, kernel, jnp.zeros(5, jnp.float64), "valid", jax.nn.relu, 1, "native")
        assert y.dtype == jnp.float64 and np.all(np.asarray(y) == 36)


@needs_compiler
@pytest.mark.parametrize("stride", [1, 2])
def test_first_layer_computes_no_input_gradient(stride):
    x, kernel, bias = arrays((4, 12, 12, 1), 3, 8)

    def loss(kernel):
        return convolution.conv_block(x, kernel, bias, "same", jax.nn.relu, 2, "native", stride).sum()

    text = jax.jit(jax.grad(loss)).lower(kernel).compile().as_text()
    assert "digits_kernel_gradient" in text and "digits_input_gradient" not in text


def run(code, cache, **environment):
    """Runs Python code in a process of its own, with a cache folder of its own; returns its output."""
    environment = {**os.environ, "DIGITS_CACHE_DIR": str(cache), "JAX_PLATFORMS": "cpu", **environment}
    result = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


COMPARE = """
import jax
from tests.models.ops import native_test as t
assert t.native.available(), t.native.problem()
for (x, width), size in [(((3, 13, 12, 1), 5), 3), (((2, 12, 15, 5), 33), 2), (((5, 14, 13, 32), 64), 3),
                         (((2, 13, 17, 50), 20), 5), (((2, 13, 12, 20), 48), 7)]:
    for window in (1, 2):
        given = (*t.arrays(x, size, width), "same", jax.nn.relu, window)
        t.assert_equal(t.value_and_gradients(*given, "native"), t.stock_value_and_gradients(*given))
"""


AT_ONCE = """
import concurrent.futures, time
from digits.models.ops import native
libraries = native._libraries
native._libraries = lambda *args: time.sleep(0.2) or libraries(*args)
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert [*pool.map(lambda _: native.problem(), range(4))] == [None] * 4
"""


@needs_compiler
def test_members_that_begin_at_the_same_time_load_the_libraries_once():
    run(AT_ONCE, machine.cache_dir())


@pytest.fixture
def compiler(tmp_path):
    """A compiler that notes every call, takes its time, and gives a library that is here already."""
    library = next(path for path in (machine.cache_dir() / "native").glob("*.so") if cached.read(path))
    (tmp_path / "library").write_bytes(cached.read(library))
    path = tmp_path / "compiler"
    path.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/calls\nsleep 0.1\neval cp {tmp_path}/library \\${{$#}}\n')
    path.chmod(0o755)

    def load(names=("one", "two")):
        paths = [tmp_path / "cache" / "native" / f"{name}.so" for name in names]
        before = len(calls())
        libraries = native._libraries([[str(path), name] for name in names], paths)
        return libraries, sorted(calls()[before:])

    def calls():
        return (tmp_path / "calls").read_text().split() if (tmp_path / "calls").exists() else []

    return load


@needs_compiler
def test_of_several_that_lack_the_libraries_one_builds_them(compiler, tmp_path):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        built = [name for _, names in pool.map(lambda _: compiler(), range(3)) for name in names]
    assert sorted((tmp_path / "calls").read_text().split()) == ["one", "two"] and built
    assert {path.name for path in (tmp_path / "cache" / "native").iterdir()} == {".lock", "one.so", "two.so"}


@needs_compiler
def test_threads_that_begin_at_once_load_them_once():
    code = """
import concurrent.futures, jax, threading
from digits.models.ops import native
jax.devices()
begin = threading.Barrier(4)
def problem(_):
    begin.wait()
    return native.problem()
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(set(pool.map(problem, range(4))))
"""
    assert run(code, machine.cache_dir()) == "{None}\n"


@needs_compiler
@pytest.mark.parametrize("damage", ["cut", "a bit of the content", "empty", "a pipe"])
def test_a_damaged_library_is_built_anew(damage, compiler, tmp_path):
    assert compiler()[1] == ["one", "two"]
    cached_test.DAMAGES[damage](tmp_path / "cache" / "native" / "two.so")
    libraries, calls = compiler()
    assert calls == ["two"] and len({library._handle for library in libraries}) == 2
    assert compiler()[1] == []


@needs_compiler
def test_without_a_cache_folder_the_libraries_are_built_at_every_start(compiler, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cached, "_told", set())
    (tmp_path / "cache").write_text("")
    for _ in range(2):
        libraries, calls = compiler()
        assert len(libraries) == 2 and calls == ["one", "two"]
    assert capsys.readouterr().err.count("cannot be written") == 1


def test_matrix_products_in_their_place_are_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(native, "_loaded", lambda: "no C++ compiler was found")
    convolution._say_slow.cache_clear()
    if jax.default_backend() == "cpu":
        assert convolution.choose("dot") == convolution.choose("auto", jnp.float64) == "dot"
        assert capsys.readouterr().err == ""
        assert convolution.choose("auto") == convolution.choose("auto") == "dot"
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and "(no C++ compiler was found)" in told and "CXX" in told


@needs_compiler
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="its instruction sets are x86's")
@pytest.mark.skipif("DIGITS_SLOW_TESTS" not in os.environ, reason="a minute: only with DIGITS_SLOW_TESTS=1")
@pytest.mark.parametrize("flags", ["-mno-avx512f", "-mno-avx"])
def test_narrower_vectors_equal_stock(flags, tmp_path):
    run(COMPARE, tmp_path, CXX=f"g++ {flags}")
    assert len(list((tmp_path / "native").glob("*.so"))) == 2


@needs_compiler
def test_batch_sharded_over_two_devices_equals_one():
    code = """
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tests.models.ops import native_test as t
assert len(jax.devices()) == 2
given = t.arrays((6, 14, 13, 16), 3, 32)
mesh = Mesh(np.array(jax.devices()), ("data",))
place = lambda a, *axes: jax.device_put(a, NamedSharding(mesh, PartitionSpec(*axes)))
sharded = place(given[0], "data"), place(given[1]), place(given[2])
static = ("same", jax.nn.relu, 2)
t.assert_equal(t.value_and_gradients(*sharded, *static, "native"), t.stock_value_and_gradients(*given, *static))
"""
    run(code, machine.cache_dir(), JAX_NUM_CPU_DEVICES="2")


@pytest.mark.parametrize("compiler, reason", [("false", "false failed"), *slow(("/nowhere/c++", "no C++ compiler"))])
def test_without_a_compiler_everything_works_as_products(compiler, reason, tmp_path):
    code = """
import jax.numpy as jnp
from digits.models.ops import convolution as layers; from digits.models.ops import native
print(layers.choose("auto"), native.problem())
print(layers.conv(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 4)), "valid").sum())
"""
    first, second = run(code, tmp_path, CXX=compiler).splitlines()
    assert first.startswith(f"dot {reason}") and float(second) == 9 * 4 * 18
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {".lock"}


def test_forced_without_a_compiler_is_refused(monkeypatch):
    config = base.get_config()
    config.model.family, config.model.blocks, config.model.convolution = "cnn", ((4,),), "native"
    monkeypatch.setattr(native, "_loaded", lambda: "no C++ compiler was found")
    with pytest.raises(errors.UserError, match="config.model.convolution is 'native'.*no C.. compiler was found"):
        families.check(config.model)
