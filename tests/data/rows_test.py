"""Text files with a row of a label and 784 pixels for each image: their forms, parts and mistakes."""

import gzip

import pytest

from digits import data
from digits.errors import UserError
from tests.made_datasets import assert_same_arrays, save_csv, strokes

pytestmark = pytest.mark.usefixtures("mnist_dir")

IMAGES, LABELS = strokes(80)
ARRAYS = [IMAGES[:50], LABELS[:50], IMAGES[50:], LABELS[50:]]


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("ending", [".csv", ".txt", ".csv.gz"])
def test_csv_of_training_and_test_images(tmp_path, header, ending):
    for part, images, labels in (("train", *ARRAYS[:2]), ("test", *ARRAYS[2:])):
        path = save_csv(tmp_path / "set" / f"mnist_{part}{ending}", images, labels, header)
        if ending.endswith(".gz"):
            path.write_bytes(gzip.compress(path.read_bytes()))
    for name in (tmp_path / "set" / f"mnist_train{ending}", tmp_path / "set"):
        dataset = data.load(str(name))
        assert_same_arrays(dataset, ARRAYS)
        assert dataset.class_names == tuple("0123456789") and not dataset.notes


def test_kaggles_folder(tmp_path, monkeypatch):
    save_csv(tmp_path / "train.csv", IMAGES, LABELS, header=True)
    rows = [",".join(f"pixel{n}" for n in range(784)), *(",".join(map(str, image.ravel())) for image in IMAGES[:9])]
    (tmp_path / "test.csv").write_text("\n".join(rows))
    (tmp_path / "sample_submission.csv").write_text("ImageId,Label\n1,0\n")
    monkeypatch.chdir(tmp_path)
    for name in ("train.csv", "./train.csv", str(tmp_path)):
        dataset = data.load(name)
        assert [len(array) for array in dataset.arrays] == [64, 64, 16, 16]
        assert dataset.notes[0] == "test.csv has no labels and is left out"


CSV_FORMS = {
    "semicolons": lambda text: text.replace(",", ";"),
    "tabs": lambda text: text.replace(",", "\t"),
    "quotes": lambda text: "\n".join(",".join(f'"{cell}"' for cell in row.split(",")) for row in text.split("\n")),
    "Windows": lambda text: "\ufeff" + text.replace("\n", "\r\n") + "\r\n",
    "row numbers": lambda text: "\n".join(
        [f",label,{','.join(map(str, range(784)))}", *(f"{n},{row}" for n, row in enumerate(text.split("\n")))]
    ),
    "label last": lambda text: "\n".join(
        [
            f"{','.join(f'p{n}' for n in range(784))},class",
            *(",".join([*r.split(",")[1:], r[0]]) for r in text.split("\n")),
        ]
    ),
    "floats": lambda text: "\n".join(",".join(f"{float(c)}" for c in row.split(",")) for row in text.split("\n")),
}


@pytest.mark.parametrize("form", CSV_FORMS)
def test_csv_of_other_forms(tmp_path, form):
    path = save_csv(tmp_path / "set.csv", IMAGES, LABELS)
    plain = data.load(str(path))
    path.write_text(CSV_FORMS[form](path.read_text()), newline="")
    assert_same_arrays(data.load(str(path)), plain.arrays)


CSV_MISTAKES = {
    "another count": (lambda rows: [row + ",1" for row in rows], "786 columns"),
    "a short row": (lambda rows: [*rows[:5], rows[5][:-9], *rows[6:]], "line 6 has 781 columns, but must have 785"),
    "a word": (lambda rows: [*rows[:5], rows[5][:-1] + "x", *rows[6:]], "line 6 has 'x', no number, in column 785"),
    "an empty cell": (
        lambda rows: [*rows[:5], rows[5].replace(",0,", ",,", 1), *rows[6:]],
        "line 6 has '', no number, in column 2",
    ),
    "a negative label": (lambda rows: ["-1" + rows[0][1:], *rows[1:]], "whole numbers from 0 to 255, not -1"),
    "a label of 300": (lambda rows: ["300" + rows[0][1:], *rows[1:]], "whole numbers from 0 to 255, not 300"),
    "a label that is no number": (
        lambda rows: ["nan" + rows[0][1:], *rows[1:]],
        "whole numbers from 0 to 255, not nan",
    ),
    "a header alone": (lambda rows: [",".join(["label", *["x"] * 784])], "no row of numbers"),
}


@pytest.mark.parametrize("mistake", CSV_MISTAKES)
def test_csv_with_a_mistake_is_refused(tmp_path, mistake):
    change, words = CSV_MISTAKES[mistake]
    path = save_csv(tmp_path / "set.csv", IMAGES, LABELS)
    path.write_text("\n".join(change(path.read_text().split("\n"))))
    with pytest.raises(UserError) as error:
        data.load(str(path))
    assert str(path) in str(error.value) and words in str(error.value) and "\n" not in str(error.value)
