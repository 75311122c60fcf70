"""Tests of digits.models.ops.products: minimal filtering against sums written out, and convolutions against the stock
operations.

tests/models/ops/convolution_test.py holds the products without filtering, which few channels take, against stock.
"""

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from digits.models.ops import products
from tests.conftest import slow


@pytest.mark.parametrize("size", products._TILES)
def test_minimal_filter_is_the_sum(size):
    a, g, b = products._minimal_filter(size)
    assert len(b) == len(a) + size - 1, "as few products as there can be"
    pixels, taps = np.random.default_rng(0).normal(size=(2, len(b)))
    expected = [pixels[i : i + size] @ taps[:size] for i in range(len(a))]
    np.testing.assert_allclose(a @ ((g @ taps[:size]) * (b @ pixels)), expected, rtol=1e-12, atol=1e-12)


# Sides of their own, whole and partial tiles, chunks of some images; an even kernel's `same` reaches further behind.
@pytest.mark.parametrize("padding", ["same", *slow("valid")])
@pytest.mark.parametrize(
    "size, dtype, tolerance", [*((size, "float64", 1e-12) for size in products._TILES), (7, "float32", 1e-5)]
)
def test_filtered_convolution_equals_stock(size, padding, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(products, "_PATCHES_IN_CACHE", 300_000)
    rng = np.random.default_rng(size)
    pads = (0, 0) if padding == "valid" else ((size - 1) // 2, size // 2)
    with jax.enable_x64(dtype == "float64"):
        x, kernel = (jnp.asarray(rng.normal(size=s), dtype) for s in ((6, 11, 14, 16), (size, size, 16, 18)))
        assert products._is_filtered(kernel.shape)

        def stock(x, k):
            return lax.conv_general_dilated(x, k, (1, 1), [pads] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))

        g = jnp.asarray(rng.normal(size=stock(x, kernel).shape), dtype)
        results = []
        for function in (lambda x, k: products.conv(x, k, pads), stock):

            @jax.jit
            def value_and_gradients(x, kernel, g, function=function):
                y, pullback = jax.vjp(function, x, kernel)
                return y, *pullback(g)

            results.append(value_and_gradients(x, kernel, g))
        for result, expected in zip(*results, strict=True):
            assert result.shape == expected.shape and result.dtype == expected.dtype == dtype
            assert np.abs(result - expected).max() <= tolerance * np.abs(expected).max()


def test_few_channels_are_not_filtered():
    assert not products._is_filtered((3, 3, 1, 32)) and not products._is_filtered((11, 11, 64, 32))
