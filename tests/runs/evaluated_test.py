"""A loaded run's evaluation: the images of a split, the notes beside its figures, how it shows and draws itself."""

import dataclasses
import pathlib
import types

import numpy as np
from PIL import Image
import pytest

from digits import data, errors
from digits.analysis import statistics
from digits.config.values import with_values
from digits.reports import judged_run
from digits.runs import evaluated
from tests.conftest import tiny_config


def loaded(digest=None, **values):
    """All that is asked of a loaded run of the embedded dataset: nothing is trained."""
    config = with_values(tiny_config(), {f"data.{field}": value for field, value in values.items()})
    result = {"data": {"digest": digest}} if digest else None
    return types.SimpleNamespace(
        config=config, class_names=tuple("0123456789"), path=pathlib.Path("runs/made"), result=result, notes=()
    )


def evaluation(examples, right=0.9, seed=0):
    """An evaluation with this share of the images read rightly."""
    rng = np.random.default_rng(seed)
    shift = rng.permutation(len(examples.labels)) >= right * len(examples.labels)
    logits = rng.normal(size=(len(shift), 10)) + 8 * np.eye(10)[(examples.labels + shift) % 10]
    return evaluated.Evaluation(examples, 0.5, float(np.mean(logits.argmax(-1) == examples.labels)), logits)


def test_the_images_are_those_of_the_split():
    dataset, run = data.load("optdigits"), loaded(validation="last(100)")
    test, validation, train = (evaluated.examples([run], split) for split in ("test", "validation", "train"))
    np.testing.assert_array_equal(test.images, dataset.test_images)
    np.testing.assert_array_equal(test.labels, dataset.test_labels)
    np.testing.assert_array_equal(validation.images, dataset.train_images[-100:])
    np.testing.assert_array_equal(train.labels, dataset.train_labels[:-100])
    assert [repr(each) for each in (test, validation, train)] == [
        "Examples(360 test images)", "Examples(100 validation images)", "Examples(1,337 training images)",
    ]  # fmt: skip
    assert test.class_names == run.class_names and test.notes == ()


def test_images_that_are_not_there_are_refused():
    run = loaded()
    with pytest.raises(errors.UserError, match="split is 'dev', but it must be one of test, validation, train"):
        evaluated.examples([run], "dev")
    with pytest.raises(errors.UserError, match="'none', so there are no validation images"):
        evaluated.examples([loaded(validation="none")], "validation")
    few = loaded()
    few.class_names = ("a", "b")
    with pytest.raises(errors.UserError, match="has 10 classes here, but the run was trained on 2"):
        evaluated.examples([few])
    mixed = [run, loaded(validation="last(50)")]
    assert len(evaluated.examples(mixed).labels) == 360
    with pytest.raises(errors.UserError, match="no validation images in common: config.data.validation is"):
        evaluated.examples(mixed, "validation")
    with pytest.raises(errors.UserError, match="no test images in common: config.data.name is 'optdigits' and 'mnist'"):
        evaluated.examples([run, loaded(name="mnist")])


@pytest.mark.parametrize("name", ["letters.npz", "letters/"])
def test_a_run_whose_data_were_moved_names_the_flag_that_finds_them(name, tmp_path):
    path = f"{tmp_path}/{name}"
    moved = loaded(name=path)
    for ask in (lambda: evaluated.examples([moved]), lambda: judged_run.SharedByRuns().dataset(path)):
        with pytest.raises(
            errors.UserError, match="letters.*; if the data were moved, --data_dir names their place[.]$"
        ):
            ask()
    (tmp_path / "letters.npz").write_bytes(b"damaged")
    if name.endswith(".npz"):
        with pytest.raises(errors.UserError) as error:
            evaluated.examples([moved])
        assert "--data_dir" not in str(error.value)


def test_figures_of_other_images_or_of_the_validation_set_carry_a_note():
    assert evaluated.examples([loaded(digest=data.load("optdigits").digest())]).notes == ()
    other = evaluated.examples([loaded(digest="0")])
    assert "optdigits is not what it was" in repr(evaluation(other))
    seen = loaded(validation="test")
    assert "validation was the test set" in repr(evaluation(evaluated.examples([seen])))
    assert evaluated.examples([seen], "train").notes == ()


def test_an_evaluation_shows_its_figures():
    found = evaluation(evaluated.examples([loaded()]))
    low, high = statistics.wilson(round(found.accuracy * 360), 360)
    assert found.n == 360 and found.accuracy_interval == (low, high) and 0.85 < found.accuracy < 0.95
    assert repr(found) == (
        f"Evaluation(360 test images: accuracy {found.accuracy:.4f}, 95% interval {low:.4f} to {high:.4f}, loss 0.5000)"
    )
    assert found.confusion.sum() == 360 and np.trace(found.confusion) == round(found.accuracy * 360)
    html = found._repr_html_()
    assert html.count("<tr>") == 11 and html.count(">F1<") == 1 and f">{found.per_class[3]['recall']:.4f}<" in html


def test_a_class_without_images_has_no_recall_in_the_table():
    examples = evaluated.examples([loaded()])
    images = examples.labels != 3
    some = dataclasses.replace(examples, images=examples.images[images], labels=examples.labels[images])
    row = evaluation(some, right=1.0)._repr_html_().split("<tr>")[5]
    assert row.count(">0<") == 1 and ">-<" in row


def test_an_evaluation_draws_its_confusions_and_mistakes():
    found = evaluation(evaluated.examples([loaded()]))
    assert f"{np.sum(found.confusion) - np.trace(found.confusion)} of 360" in found.plot().axes[0].get_title()
    assert isinstance(found.mistakes(), Image.Image) and isinstance(found.doubtful(), Image.Image)
    right = 20.0 * np.eye(10)[found.examples.labels]
    assert dataclasses.replace(found, logits=right).mistakes() is None
