"""Whole trainings: the same bits again, exact figures, and the configs and folders that are refused."""

import jax
import numpy as np
import pytest

import digits
from digits import data
from digits.runs import files
from digits.runs.checkpoints import Checkpoints
from digits.runs.workdir import Workdir
from digits.training import train
from tests.conftest import refused

TIMES = ("seconds", "images_per_second")


def final(workdir):
    """The last checkpoint's arrays (parameters, optimizer state, statistics) and the metrics without the times."""
    saved = Checkpoints(Workdir(workdir).checkpoints, Workdir(workdir).identity, read_only=True)
    state, about = saved.restore(saved.steps()[0])
    saved.close()
    history = [{k: v for k, v in line.items() if k not in TIMES} for line in Workdir(workdir).history()]
    return state, about, history


def assert_same_bits(one, other):
    (state, about, history), (state2, about2, history2) = final(one), final(other)
    assert jax.tree.structure(state) == jax.tree.structure(state2)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(state2), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert history == history2 and len(history) == about["epoch"]
    for rule in ("plateau", "early_stopping"):
        assert about[rule] == about2[rule]
    results = [Workdir(workdir).result() for workdir in (one, other)]
    for figure in ("test_loss", "test_accuracy", "tested_epoch", "best_epoch", "epochs"):
        assert results[0][figure] == results[1][figure]


def test_same_config_gives_the_same_bits_and_another_seed_does_not(tiny, tmp_path):
    first = train.train_and_evaluate(tiny, tmp_path / "a")
    train.train_and_evaluate(tiny, tmp_path / "b")
    assert_same_bits(tmp_path / "a", tmp_path / "b")
    tiny.seed = 1
    assert train.train_and_evaluate(tiny, tmp_path / "c")["test_loss"] != first["test_loss"]


def test_metrics_are_exact_running_means_and_evaluations(tiny, tmp_path):
    """With a learning rate too small to move a weight, the epoch's mean is the loss of the fixed network."""
    tiny.optimizer.name, tiny.optimizer.learning_rate, tiny.epochs = "sgd", 1e-30, 1
    tiny.model.hidden_batch_norm, tiny.model.hidden_dropout, tiny.augment.rotation = False, 0.0, 0.0
    tiny.model.hidden_l2 = 0.01
    tiny.data.validation = "test"
    result = train.train_and_evaluate(tiny, tmp_path / "run")
    loaded = digits.load(tmp_path / "run")
    dataset = data.load("optdigits")
    penalty = 0.01 * float((np.asarray(loaded.model.dense_1.kernel[...], np.float64) ** 2).sum())
    for images, labels, loss, accuracy in (
        (dataset.train_images, dataset.train_labels, loaded.history.loss[1], loaded.history.accuracy[1]),
        (dataset.test_images, dataset.test_labels, result["test_loss"], result["test_accuracy"]),
    ):
        probabilities = loaded.predict(images)
        assert accuracy == pytest.approx(np.mean(probabilities.argmax(-1) == labels), abs=1e-9)
        nll = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
        assert loss == pytest.approx(nll + penalty, rel=1e-5)
    assert loaded.history.val_loss[1] == result["test_loss"]


def test_a_finished_run_is_not_trained_again(tiny, tmp_path, capsys):
    result = train.train_and_evaluate(tiny, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert train.train_and_evaluate(tiny, tmp_path / "run") == result
    assert "finished" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}


@pytest.mark.slow
def test_fewer_checkpoints_give_the_same_bits(tiny, tmp_path):
    train.train_and_evaluate(tiny, tmp_path / "a")
    tiny.checkpoint_every = 100
    train.train_and_evaluate(tiny, tmp_path / "b")
    assert_same_bits(tmp_path / "a", tmp_path / "b")


def test_a_workdir_of_another_config_is_refused_with_the_differing_fields(tiny, tmp_path):
    train.train_and_evaluate(tiny, tmp_path / "run")
    tiny.optimizer.learning_rate, tiny.seed = 0.5, 7
    refused(tiny, tmp_path / "run", "optimizer.learning_rate was 0.001, is 0.5", "seed was 0, is 7", "the same config")


def test_a_run_of_an_earlier_version_goes_on_and_one_with_a_field_that_is_gone_is_refused(tiny, tmp_path):
    result = train.train_and_evaluate(tiny, tmp_path / "run")
    content = files.read_json(tmp_path / "run" / "config.json")
    del content["config"]["label_smoothing"], content["config"]["augment"]["elastic"]
    files.write_json(tmp_path / "run" / "config.json", content)
    assert train.train_and_evaluate(tiny, tmp_path / "run") == result
    content["config"]["gone"] = 1
    files.write_json(tmp_path / "run" / "config.json", content)
    refused(tiny, tmp_path / "run", "config.gone was 1, is absent", "its version of digits")


def test_a_workdir_that_is_a_file_holds_other_files_or_cannot_be_made_is_refused(tiny, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(tiny, tmp_path / "file", "which is a file")
    refused(tiny, tmp_path, "holds files but no run")
    refused(tiny, tmp_path / "file" / "below", "cannot be written")
    assert (tmp_path / "file").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_the_average_of_the_weights_is_validated_tested_and_loaded(tiny, tmp_path):
    tiny.optimizer.ema_momentum = 0.9
    result = train.train_and_evaluate(tiny, tmp_path / "run")
    run = digits.load(tmp_path / "run")
    state, _, _ = final(tmp_path / "run")
    averaged, last = (state["train"][name]["dense_1"]["kernel"] for name in ("average", "params"))
    np.testing.assert_array_equal(run.model.dense_1.kernel[...], averaged)
    assert np.abs(averaged - last).max() > 1e-4
    assert run.evaluate().loss == result["test_loss"]


def test_a_diverging_run_stops_and_keeps_the_epochs_before(tiny, tmp_path):
    tiny.optimizer.name, tiny.model.hidden_batch_norm, tiny.optimizer.learning_rate = "sgd", False, 1e30
    refused(tiny, tmp_path / "run", "loss became", "learning_rate")
    assert Workdir(tmp_path / "run").result() is None


def test_learning_rates_of_the_run_follow_the_schedule(tiny, tmp_path):
    tiny.schedule.name, tiny.schedule.start_epoch, tiny.schedule.decay = "exponential", 1, 0.5
    train.train_and_evaluate(tiny, tmp_path / "run")
    rates = [line["learning_rate"] for line in Workdir(tmp_path / "run").history()]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3 * np.exp(-0.5)], rel=1e-6)


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
        ("model.stride", 0, "from 1"),
        ("model.stride", (1, 2, 1), "one for each of the 2"),
        ("model.stride", (1, 14), "at most 13"),
        ("model.separable", 2, "true or false"),
        ("model.global_pool", "mean", "average"),
        ("model.pool", (2, 20), "pixel"),
        ("model.blocks", ((4,), ()), "((32, 32), (64, 64))"),
        ("model.hidden", (0,), "from 1"),
        ("model.hidden_dropout", 1.0, "below 1"),
        ("model.block_dropout", "much", "number"),
        ("model.hidden_l2", -0.1, "from 0"),
        ("model.batch_norm", "everywhere", "block"),
        ("model.convolution", "fft", "stock"),
        ("optimizer.name", "adagrad", "adam, lion, muon, rmsprop, sgd"),
        ("optimizer.learning_rate", 0.0, "above 0"),
        ("optimizer.learning_rate", float("nan"), "finite"),
        ("optimizer.momentum", 0.9, "sgd"),
        ("optimizer.beta_1", 1.0, "below 1"),
        ("schedule.name", "cosin", "cosine"),
        ("schedule.factor", 1.5, "below 1"),
        ("early_stopping.patience", -1, "from 0"),
        ("augment.rotation", -5.0, "from 0"),
        ("augment.zoom", 1.0, "below 1"),
        ("augment.elastic", -1.0, "from 0 to below 28"),
        ("augment.elastic_sigma", 0.0, "from 0.5 to below 28"),
        ("augment.erasing", 1.0, "below 1"),
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
