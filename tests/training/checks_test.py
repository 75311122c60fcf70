"""What is refused before anything is loaded, compiled or written."""

import pytest

from tests.conftest import refused


@pytest.mark.parametrize(
    "field, value, accepted",
    [
        ("epochs", 0, "from 1"),
        ("batch_size", 0, "from 1"),
        ("batch_size", 2000, "at most the 1,149 training examples"),
        ("seed", -1, "from 0"),
        ("monitor", "accurcy", "val_accuracy"),
        ("data.validation", "last 10", "last(10000)"),
        ("data.validation", "last(1437)", "each side"),
        ("data.validation", "random(0.0, 0)", "each side"),
        ("data.fold", 1, "folds(n)"),
        ("data.normalization", "l2", "column_l2"),
        ("model.family", "rnn", "cnn"),
        ("model.activation", "rleu", "relu"),
        ("model.kernel_init", "glorot", "glorot_uniform"),
        ("model.kernel_size", 0, "from 1"),
        ("model.kernel_size", (3, 3, 3), "one for each of the 2"),
        ("model.kernel_size", 20, "same"),
        ("model.pool", (2, 20), "pixel"),
        ("model.blocks", ((4,), ()), "((32, 32), (64, 64))"),
        ("model.hidden", (0,), "from 1"),
        ("model.hidden_dropout", 1.0, "below 1"),
        ("model.block_dropout", "much", "number"),
        ("model.hidden_l2", -0.1, "from 0"),
        ("model.batch_norm", "everywhere", "block"),
        ("model.convolution", "fft", "stock"),
        ("optimizer.name", "adagrad", "adam, rmsprop, sgd"),
        ("optimizer.learning_rate", 0.0, "above 0"),
        ("optimizer.learning_rate", float("nan"), "finite"),
        ("optimizer.momentum", 0.9, "sgd"),
        ("optimizer.beta_1", 1.0, "below 1"),
        ("schedule.name", "cosin", "cosine"),
        ("schedule.factor", 1.5, "below 1"),
        ("early_stopping.patience", -1, "from 0"),
        ("augment.rotation", -5.0, "from 0"),
        ("augment.zoom", 1.0, "below 1"),
    ],
)
def test_senseless_configs_are_refused_with_a_sentence_and_nothing_is_written(
    tiny_cnn, tmp_path, field, value, accepted
):
    tiny = tiny_cnn
    with tiny.ignore_type():
        tiny.update_from_flattened_dict({field: value})
    sentence = refused(tiny, tmp_path / "run", f"config.{field}", accepted)
    assert repr(value) in sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("field", ["restore_best", "patience", "plateau"])
def test_following_a_validation_that_is_not_there_is_refused(tiny, tmp_path, field):
    tiny.data.validation = "none"
    if field == "plateau":
        tiny.schedule.name = "plateau"
    else:
        tiny.early_stopping[field] = type(tiny.early_stopping[field])(1)
    refused(tiny, tmp_path / "run", "config.monitor", "val_loss", field)
    assert not (tmp_path / "run").exists()
