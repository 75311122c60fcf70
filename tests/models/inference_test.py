"""Loss and accuracy equal a plain NumPy computation, whatever the size of the batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from digits import models
from digits.models import families, inference
from tests.conftest import slow

CLASSES = 10
L2 = (0.01, 0.002)


def examples(count):
    """Images of noise, of the brightness of MNIST, and random labels."""
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, 28, 28), np.uint8) * (rng.random((count, 28, 28)) < 0.2)
    return images.astype(np.uint8), rng.integers(0, CLASSES, count, np.uint8)


def dense_config(l2=0.0):
    config = base.get_config().model
    config.hidden = (16, 12)
    config.hidden_l2 = l2
    config.hidden_dropout = 0.5  # Must not act in an evaluation.
    return config


def network(config):
    """The network's structure, and its parameters and statistics with biases that are not zero."""
    graphdef, params, stats = families.parts(models.build(config, CLASSES, jax.random.key(0)))
    rng = np.random.default_rng(1)

    def perturb(a):
        return a + rng.uniform(0, 0.5, a.shape).astype(a.dtype) if a.ndim == 1 else a

    return graphdef, jax.tree.map(perturb, params), jax.tree.map(perturb, stats)


def float64(array):
    return np.asarray(array, np.float64)


def dense_logits(params, x):
    """The network of dense_config in NumPy."""
    for name in ("dense_1", "dense_2", "dense_3"):
        x = x @ float64(params[name]["kernel"]) + float64(params[name]["bias"])
        x = np.maximum(x, 0) if name != "dense_3" else x
    return x


def metrics(logits, labels):
    """Mean cross-entropy and accuracy."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    return losses.mean(), np.count_nonzero(logits.argmax(axis=1) == labels) / len(labels)


def penalty(params):
    """Keras's L2 penalty: of the hidden kernels, not of the output's, without a half."""
    kernels = [float64(params[name]["kernel"]) for name in ("dense_1", "dense_2")]
    return sum(l2 * np.sum(kernel**2) for l2, kernel in zip(L2, kernels, strict=True))


def run(parts, images, labels, batch_size, normalization="unit"):
    graphdef, params, stats = parts
    compute = inference.make_evaluate(graphdef, normalization, batch_size)
    return compute(params, stats, jnp.asarray(images), jnp.asarray(labels))


@pytest.mark.parametrize(
    "count, batch_size",
    [(1, 1), (7, 10), (250, 250), (1003, 250), (1003, 2000), *slow((1, 250), (7, 1), (250, 10), (1003, 1), (1003, 10))],
)
def test_evaluation_equals_numpy_for_any_count_and_batch(count, batch_size):
    images, labels = examples(count)
    graphdef, params, stats = network(dense_config())
    loss, accuracy = metrics(dense_logits(params, images.reshape(count, -1) / 255.0), labels)
    result = run((graphdef, params, stats), images, labels, batch_size)
    assert set(result) == {"loss", "accuracy"}
    assert result["accuracy"] == accuracy
    assert result["loss"] == pytest.approx(loss, rel=1e-6, abs=0)


@pytest.mark.parametrize("batch_size", [1, 10])
def test_l2_penalty_is_added_once(batch_size):
    images, labels = examples(37)
    graphdef, params, stats = network(dense_config(L2))
    loss, accuracy = metrics(dense_logits(params, images.reshape(37, -1) / 255.0), labels)
    expected = loss + penalty(params)
    assert expected > 1.1 * loss, "the penalty is too small to be missed"
    result = run((graphdef, params, stats), images, labels, batch_size)
    assert result["accuracy"] == accuracy
    assert result["loss"] == pytest.approx(expected, rel=1e-6, abs=0)


def test_normalization_is_that_asked_for():
    images, labels = examples(37)
    graphdef, params, stats = network(dense_config())
    x = images / np.maximum(np.sqrt((images.astype(np.float64) ** 2).sum(axis=1, keepdims=True)), 1e-9)
    loss, accuracy = metrics(dense_logits(params, x.reshape(37, -1)), labels)
    result = run((graphdef, params, stats), images, labels, 10, "column_l2")
    assert result["accuracy"] == accuracy
    assert result["loss"] == pytest.approx(loss, rel=1e-6, abs=0)


def told_apart(params, blank, other):
    """Parameters that give blank images, as the padding is, other logits than images with a white pixel (14, 14)."""
    params = jax.tree.map(np.zeros_like, params)
    params["dense_1"]["kernel"][14 * 28 + 14, 0] = 1
    params["dense_2"]["kernel"][0, 0] = 1
    params["dense_3"]["kernel"][0] = np.subtract(other, blank)
    params["dense_3"]["bias"][:] = blank
    return params


def white_pixel(count):
    images, _ = examples(count)
    images[:, 14, 14] = 255
    return images


@pytest.mark.parametrize("count, batch_size", [(7, 5), (11, 10)])
def test_padding_is_never_counted_as_right(count, batch_size):
    graphdef, params, stats = network(dense_config())
    # Padded labels are 0: the padding would be right if it were counted.
    params = told_apart(params, blank=10 * np.eye(10)[0], other=10 * np.eye(10)[1])
    assert dense_logits(params, np.zeros((1, 784))).argmax() == 0
    compute = inference.make_evaluate(graphdef, "unit", batch_size)
    for label, accuracy in ((0, 0), (1, 1), (2, 0)):
        result = compute(params, stats, jnp.asarray(white_pixel(count)), jnp.full(count, label, jnp.uint8))
        assert result["accuracy"] == accuracy


@pytest.mark.parametrize("count, batch_size", [(7, 5), (251, 250)])
def test_padding_never_counts_in_the_loss(count, batch_size):
    graphdef, params, stats = network(dense_config())
    # The padding would cost 1000 nats an image, against none for the others.
    params = told_apart(params, blank=1000 * np.eye(10)[2], other=1000 * np.eye(10)[1])
    result = run((graphdef, params, stats), white_pixel(count), np.full(count, 1, np.uint8), batch_size)
    assert result == {"loss": 0, "accuracy": 1}


def test_padding_without_a_finite_loss_does_not_spoil_the_others(monkeypatch):
    make_predict = inference.make_predict

    def no_number_for_blank_images(graphdef, normalization):
        predict = make_predict(graphdef, normalization)

        def blank(images):
            return jnp.all(images == 0, axis=(1, 2))[:, None]

        return lambda params, stats, images: jnp.where(blank(images), jnp.nan, predict(params, stats, images))

    monkeypatch.setattr(inference, "make_predict", no_number_for_blank_images)
    graphdef, params, stats = network(dense_config())
    images, labels = white_pixel(7), examples(7)[1]
    loss, accuracy = metrics(dense_logits(params, images.reshape(7, -1) / 255.0), labels)
    result = run((graphdef, params, stats), images, labels, 5)
    assert result["accuracy"] == accuracy
    assert result["loss"] == pytest.approx(loss, rel=1e-6, abs=0)


def cnn_config():
    config = base.get_config().model
    config.family = "cnn"
    config.blocks = ((3,),)
    config.kernel_size = 3
    config.pool = 2
    config.batch_norm = "block"
    config.block_dropout = 0.5
    config.hidden = ()
    return config


def cnn_logits(params, stats, x):
    """The network of cnn_config in NumPy: convolution, ReLU, pooling, BatchNorm with its moving statistics, dense."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    y = np.einsum("nhwij,ijo->nhwo", windows, float64(params["conv_1"]["kernel"])[:, :, 0])
    y = np.maximum(y + float64(params["conv_1"]["bias"]), 0)
    y = y.reshape(len(x), 13, 2, 13, 2, 3).max(axis=(2, 4))
    norm = {key: float64(value) for tree in (params, stats) for key, value in tree["batch_norm_1"].items()}
    y = (y - norm["mean"]) / np.sqrt(norm["var"] + 1e-3) * norm["scale"] + norm["bias"]
    return y.reshape(len(x), -1) @ float64(params["dense_1"]["kernel"]) + float64(params["dense_1"]["bias"])


@pytest.mark.parametrize("batch_size", [5, *slow(50)])
def test_batch_norm_uses_its_moving_statistics_in_evaluation(batch_size):
    images, labels = examples(37)
    graphdef, params, stats = network(cnn_config())
    loss, accuracy = metrics(cnn_logits(params, stats, images / 255.0), labels)
    result = run((graphdef, params, stats), images, labels, batch_size)
    assert result["accuracy"] == accuracy
    assert result["loss"] == pytest.approx(loss, rel=1e-6, abs=0)


def test_predict_gives_the_logits_of_every_image():
    images, _ = examples(37)
    graphdef, params, stats = network(dense_config(L2))
    logits = inference.make_predict(graphdef, "unit")(params, stats, jnp.asarray(images))
    assert logits.shape == (37, CLASSES) and logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, dense_logits(params, images.reshape(37, -1) / 255.0), rtol=1e-5, atol=1e-5)
