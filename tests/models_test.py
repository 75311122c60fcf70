"""The model families: order of layers, training and evaluation mode, L2."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base, five_conv, plateau_cnn, simple_cnn_batchnorm
from digits import errors, models


def build(config, classes=10):
    return models.build(config.model, classes, jax.random.key(0))


def outline(config):
    """The module without its weights: drawing them takes seconds."""
    return nnx.eval_shape(lambda: build(config))


def test_blocks_are_convolutions_pooling_batchnorm_dropout_in_this_order():
    expected = (
        "conv_1 conv_2 max_pool_1 batch_norm_1 dropout_1 conv_3 conv_4 max_pool_2 batch_norm_2 dropout_2 "
        "conv_5 batch_norm_3 dropout_3 flatten_1 dense_1 dropout_4 dense_2 dropout_5 dense_3"
    )
    assert outline(five_conv.get_config()).names == tuple(expected.split())


def test_batchnorm_after_every_convolution_comes_before_the_pooling():
    expected = (
        "conv_1 batch_norm_1 max_pool_1 conv_2 batch_norm_2 max_pool_2 flatten_1 dense_1 batch_norm_3 dense_2".split()
    )
    assert outline(simple_cnn_batchnorm.get_config()).names == tuple(expected)


def test_a_key_means_training():
    config = base.get_config()
    config.model.hidden_dropout, config.model.hidden_batch_norm = 0.5, True
    model = build(config)
    images = jnp.asarray(np.random.default_rng(0).random((8, 28, 28, 1)), jnp.float32)
    before = models.split(model)[2]
    evaluated = model(images)
    np.testing.assert_array_equal(evaluated, model(images))
    np.testing.assert_array_equal(before["batch_norm_1"]["mean"], models.split(model)[2]["batch_norm_1"]["mean"])
    one, same, other = (model(images, key=jax.random.key(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other) and not np.allclose(one, evaluated)
    assert not np.allclose(before["batch_norm_1"]["mean"], models.split(model)[2]["batch_norm_1"]["mean"])


def test_dropout_layers_draw_from_different_streams():
    config = base.get_config()
    config.model.hidden, config.model.hidden_dropout = (64, 64), 0.5
    model = build(config)
    key = jax.random.key(0)
    ones = jnp.ones((4, 64))
    masks = [
        models.apply_layer(getattr(model, name), ones, jax.random.fold_in(key, model.names.index(name)))
        for name in ("dropout_1", "dropout_2")
    ]
    assert not np.array_equal(*masks)


def test_penalty_is_l2_times_the_sum_of_squares_of_the_chosen_kernels():
    config = plateau_cnn.get_config()
    model = build(config)
    kernel = np.asarray(model.dense_1.kernel[...], np.float64)
    np.testing.assert_allclose(models.penalty(model), 0.001 * (kernel**2).sum(), rtol=1e-5)
    config.model.hidden_l2 = 0.0
    assert models.penalty(build(config)) == 0


def test_another_number_of_classes_widens_the_output():
    assert build(base.get_config(), classes=47)(jnp.zeros((2, 28, 28, 1))).shape == (2, 47)


def test_one_value_serves_all_and_a_tuple_each():
    assert models.each(0.5, 3, "f", "g") == (0.5, 0.5, 0.5) and models.each((1, 2), 2, "f", "g") == (1, 2)
    with pytest.raises(errors.UserError, match="config.f is .1, 2., but"):
        models.each((1, 2), 3, "f", "g")


def test_networks_that_differ_in_what_only_training_uses_are_equal_for_evaluation():
    config, bare = base.get_config(), base.get_config()
    for model in (config.model, bare.model):
        model.family, model.blocks, model.batch_norm, model.convolution = "cnn", ((3,), (4,)), "block", "stock"
    config.model.block_dropout, config.model.hidden_dropout, config.model.hidden_l2 = (0.5, 0.0), 0.2, 1e-3
    model = build(config)
    network, images = models.for_evaluation(model), jnp.ones((2, 28, 28, 1))
    assert models.split(network)[0] == models.split(models.for_evaluation(outline(bare)))[0]
    assert not any(name.startswith("dropout") for name in network.names) and models.penalty(network) == 0
    np.testing.assert_array_equal(network(images), model(images))
    assert models.penalty(model) > 0 and "dropout_1" in model.names  # As it was.
