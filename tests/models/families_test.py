"""The model families: order of layers, training and evaluation mode, L2."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base, five_conv, plateau_cnn, simple_cnn_batchnorm
from digits import errors, models
from digits.config.numbers import each
from digits.models import families, layers, summary
from digits.models.ops import dropout


def build(config, classes=10):
    return models.build(config.model, classes, jax.random.key(0))


def outline(config):
    """The module without its weights: drawing them takes seconds."""
    return models.outline(config.model, 10)


def operations(config):
    """The names of the operations of a network; those of a block's convolution and pooling apart."""
    config.model.convolution = "stock"  # The compiled ones would have to be compiled.
    return [row.name for row in summary.describe(outline(config))]


def test_blocks_are_convolutions_pooling_batchnorm_dropout_in_this_order():
    expected = (
        "conv_1 conv_2 max_pool_1 batch_norm_1 dropout_1 conv_3 conv_4 max_pool_2 batch_norm_2 dropout_2 "
        "conv_5 batch_norm_3 dropout_3 flatten_1 dense_1 dropout_4 dense_2 dropout_5 dense_3"
    )
    assert operations(five_conv.get_config()) == expected.split()


def test_batchnorm_after_every_convolution_comes_before_the_pooling():
    expected = (
        "conv_1 batch_norm_1 max_pool_1 conv_2 batch_norm_2 max_pool_2 flatten_1 dense_1 batch_norm_3 dense_2".split()
    )
    assert operations(simple_cnn_batchnorm.get_config()) == expected


def test_a_separable_convolution_is_a_depthwise_one_and_one_of_1x1():
    config = base.get_config()
    config.model.family, config.model.blocks, config.model.separable = "cnn", ((4, 6), (8,)), (True, False)
    config.model.stride, config.model.conv_bias, config.model.global_pool = (2, 1), False, "average"
    names = "depthwise_1 conv_1 depthwise_2 conv_2 max_pool_1 conv_3 max_pool_2 global_pool_1 dense_1 dense_2 dense_3"
    assert operations(config) == names.split()
    shapes = jax.tree.map(lambda array: array.shape, families.parts(outline(config))[1])
    kernels = {name: leaves["kernel"] for name, leaves in shapes.items() if "bias" not in leaves}
    assert kernels == {
        "depthwise_1": (3, 3, 1, 1), "conv_1": (1, 1, 1, 4), "depthwise_2": (3, 3, 4, 1), "conv_2": (1, 1, 4, 6),
        "conv_3": (3, 3, 6, 8),
    }  # fmt: skip
    assert [row.output for row in summary.describe(outline(config))[:5]] == [
        (13, 13, 1), (13, 13, 4), (11, 11, 4), (11, 11, 6), (5, 5, 6)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "field, value", [("stride", 2), ("separable", True), ("conv_bias", False), ("global_pool", "max")]
)
def test_the_dense_family_refuses_what_only_convolutions_have(field, value):
    config = base.get_config()
    config.model[field] = value
    with pytest.raises(errors.UserError, match=f"config.model.{field} is {value!r}, but it must be .* dense family"):
        families.check(config.model)


def test_a_key_means_training():
    config = base.get_config()
    config.model.hidden_dropout, config.model.hidden_batch_norm = 0.5, True
    model = build(config)
    images = jnp.asarray(np.random.default_rng(0).random((8, 28, 28, 1)), jnp.float32)
    before = families.parts(model)[2]
    evaluated = model(images)
    np.testing.assert_array_equal(evaluated, model(images))
    np.testing.assert_array_equal(before["batch_norm_1"]["mean"], families.parts(model)[2]["batch_norm_1"]["mean"])
    one, same, other = (model(images, key=jax.random.key(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other) and not np.allclose(one, evaluated)
    assert not np.allclose(before["batch_norm_1"]["mean"], families.parts(model)[2]["batch_norm_1"]["mean"])


def test_dropout_layers_draw_from_different_streams():
    config = base.get_config()
    config.model.hidden, config.model.hidden_dropout = (64, 64), 0.5
    model = build(config)
    key = jax.random.key(0)
    ones = jnp.ones((4, 64))
    masks = [
        layers.apply_layer(getattr(model, name), ones, jax.random.fold_in(key, model.names.index(name)))
        for name in ("dropout_1", "dropout_2")
    ]
    assert not np.array_equal(*masks)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("batch_norm", ["none", "conv", "block"])
def test_random_streams_are_numbered_by_operation(batch_norm, separable, monkeypatch):
    """A run goes on with the same bits as when its checkpoint was written: a stream keeps its number."""
    config = base.get_config()
    config.model.family, config.model.blocks, config.model.batch_norm = "cnn", ((2, 2), (2,)), batch_norm
    config.model.pool, config.model.block_dropout, config.model.hidden_dropout = (2, 0), 0.5, 0.5
    config.model.separable, config.model.global_pool = separable, "average" if separable else "none"
    key, keys = jax.random.key(1), []
    monkeypatch.setattr(dropout, "inverted_dropout", lambda x, rate, key, *_: keys.append(key) or x)
    build(config)(jnp.ones((1, 28, 28, 1)), key)
    places = [index for index, name in enumerate(operations(config)) if name.startswith("dropout")]
    assert len(keys) == len(places) == 4
    for found, place in zip(keys, places, strict=True):
        assert jax.random.key_data(found).tolist() == jax.random.key_data(jax.random.fold_in(key, place)).tolist()


def test_a_training_call_uses_the_numbers_that_it_is_given():
    config = base.get_config()
    config.model.hidden_dropout, config.model.hidden_l2 = 0.5, 0.1
    model, key, images = build(config), jax.random.key(0), jnp.ones((2, 28, 28, 1))
    given = {"dropout_1": 0.25, "dropout_2": 0.25, "dense_1": 0.2, "dense_2": 0.2}
    config.model.hidden_dropout = 0.25
    np.testing.assert_array_equal(model(images, key, given), build(config)(images, key))
    assert not np.array_equal(model(images, key, given), model(images, key))
    assert families.penalty(model, given) == 2 * families.penalty(model)


def test_penalty_is_l2_times_the_sum_of_squares_of_the_chosen_kernels():
    config = plateau_cnn.get_config()
    model = build(config)
    kernel = np.asarray(model.dense_1.kernel[...], np.float64)
    np.testing.assert_allclose(families.penalty(model), 0.001 * (kernel**2).sum(), rtol=1e-5)
    config.model.hidden_l2 = 0.0
    assert families.penalty(build(config)) == 0


def test_another_number_of_classes_widens_the_output():
    assert build(base.get_config(), classes=47)(jnp.zeros((2, 28, 28, 1))).shape == (2, 47)


def test_one_value_serves_all_and_a_tuple_each():
    assert each(0.5, 3, "f", "g") == (0.5, 0.5, 0.5) and each((1, 2), 2, "f", "g") == (1, 2)
    with pytest.raises(errors.UserError, match="config.f is .1, 2., but"):
        each((1, 2), 3, "f", "g")


def test_networks_that_differ_in_what_only_training_uses_are_equal_for_evaluation():
    config, bare = base.get_config(), base.get_config()
    for model in (config.model, bare.model):
        model.family, model.blocks, model.batch_norm, model.convolution = "cnn", ((3,), (4,)), "block", "stock"
    config.model.block_dropout, config.model.hidden_dropout, config.model.hidden_l2 = (0.5, 0.0), 0.2, 1e-3
    model = build(config)
    network, images = families.for_evaluation(model), jnp.ones((2, 28, 28, 1))
    assert families.parts(network)[0] == families.parts(families.for_evaluation(outline(bare)))[0]
    assert not any(name.startswith("dropout") for name in network.names) and families.penalty(network) == 0
    np.testing.assert_array_equal(network(images), model(images))
    assert families.penalty(model) > 0 and "dropout_1" in model.names  # As it was.
