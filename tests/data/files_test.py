"""Paths are opened by what they hold, whatever their names end with. Other kinds get a line that converts them."""

import gzip
import io
import pickle
import zipfile

import numpy as np
from PIL import Image
import pytest
from sklearn import model_selection

from digits import data
from digits.errors import UserError
from tests.made_datasets import assert_same_arrays, strokes, write_idx

pytestmark = pytest.mark.usefixtures("mnist_dir")

IMAGES, LABELS = strokes(80)
ARRAYS = [IMAGES[:50], LABELS[:50], IMAGES[50:], LABELS[50:]]


def save_csv(path, images, labels, header=False, end=""):
    rows = [",".join(["label", *(f"pixel{n}" for n in range(784))])] if header else []
    rows += [",".join(map(str, [label, *image.ravel()])) for image, label in zip(images, labels)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + end)
    return path


def save_parquet(path, images, labels, names=None, column="image"):
    """A file as Hugging Face's datasets writes it."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pictures = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        pictures.append({"bytes": file.getvalue(), "path": None})
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({column: pyarrow.array(pictures, kind), "label": pyarrow.array(labels.astype(np.int64))})
    if names:
        features = f'{{"info": {{"features": {{"label": {{"names": {names}, "_type": "ClassLabel"}}}}}}}}'
        table = table.replace_schema_metadata({"huggingface": features.replace("'", '"')})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
    return path


def save_single_arrays(folder, names):
    """A .npz with one array each, as Kuzushiji-49 and Kannada-MNIST have them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(names, ARRAYS, strict=True):
        np.savez_compressed(folder / f"{name}.npz", array)


KANNADA = ("X_kannada_MNIST_train", "y_kannada_MNIST_train", "X_kannada_MNIST_test", "y_kannada_MNIST_test")
KUZUSHIJI = ("k49-train-imgs", "k49-train-labels", "k49-test-imgs", "k49-test-labels")


@pytest.mark.parametrize("names", [KANNADA, KUZUSHIJI])
def test_one_array_a_file(tmp_path, names):
    save_single_arrays(tmp_path / "set", names)
    np.savez(tmp_path / "set" / "other-train-imgs.npz", IMAGES)
    assert_same_arrays(data.load(str(tmp_path / "set" / f"{names[0]}.npz")), ARRAYS)
    (tmp_path / "set" / "other-train-imgs.npz").unlink()
    assert_same_arrays(data.load(str(tmp_path / "set")), ARRAYS)


@pytest.mark.parametrize(
    "keys",
    [
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("trainX", "trainY", "testX", "testY"),
        ("xtrain", "ytrain", "xtest", "ytest"),
        ("images_train", "labels_train", "images_test", "labels_test"),
        ("training_data", "training_targets", "testing_data", "testing_targets"),
    ],
)
@pytest.mark.parametrize("column", [False, True], ids=["N", "Nx1"])
def test_npz_by_the_names_of_its_arrays(tmp_path, keys, column):
    arrays = [array[:, None] if column and array.ndim == 1 else array for array in ARRAYS]
    np.savez(tmp_path / "set.npz", **dict(zip(keys, arrays)))
    dataset = data.load(str(tmp_path / "set.npz"))
    assert_same_arrays(dataset, ARRAYS)
    assert not dataset.notes


@pytest.mark.parametrize("keys", [("X", "y"), ("images", "labels"), ("data", "target"), ("arr_0", "arr_1"), ("a", "b")])
def test_npz_without_parts_is_a_training_set(tmp_path, keys):
    np.savez(tmp_path / "set.npz", **dict(zip(keys, (IMAGES, LABELS.astype(int)))))
    dataset = data.load(str(tmp_path / "set.npz"))
    assert [len(array) for array in dataset.arrays] == [64, 64, 16, 16]


def test_npz_with_a_validation_set_as_medmnist_has_it(tmp_path):
    named = {"val_images": IMAGES[:30], "val_labels": LABELS[:30, None]}
    for part, images, labels in (("train", *ARRAYS[:2]), ("test", *ARRAYS[2:])):
        named |= {f"{part}_images": images, f"{part}_labels": labels[:, None]}
    np.savez(tmp_path / "set.npz", **named)
    dataset = data.load(str(tmp_path / "set.npz"))
    assert dataset.validation == 30 and "--config.data.validation='last(30)'" in dataset.notes[0]
    np.testing.assert_array_equal(dataset.train_images, np.concatenate([ARRAYS[0], IMAGES[:30]]))


@pytest.mark.parametrize(
    "images, words",
    [
        (IMAGES.reshape(-1, 784), "x_train.reshape(-1, 28, 28)"),
        (np.repeat(IMAGES[..., None], 3, -1), "x_train.mean(-1).astype('uint8') makes them grey"),
        (np.zeros((80, 8, 8), np.uint8), "resize((28, 28))"),
    ],
)
def test_npz_of_another_shape_is_refused_with_the_line_that_mends_it(tmp_path, images, words):
    np.savez(tmp_path / "set.npz", x_train=images, y_train=LABELS)
    with pytest.raises(UserError) as error:
        data.load(str(tmp_path / "set.npz"))
    assert words in str(error.value)


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


def test_csv_of_emnist_comes_upright_with_its_letters(tmp_path):
    for part, images, labels in (("train", *ARRAYS[:2]), ("test", *ARRAYS[2:])):
        save_csv(tmp_path / f"emnist-letters-{part}.csv", images.swapaxes(1, 2), labels + 1)
    dataset = data.load(str(tmp_path / "emnist-letters-train.csv"))
    assert_same_arrays(dataset, ARRAYS)
    assert dataset.class_names == tuple("ABCDEFGHIJ") and "turned upright" in dataset.notes[0]


def test_test_images_that_are_training_images_too_are_counted(tmp_path):
    repeated = np.concatenate([IMAGES[50:], IMAGES[:7]]), np.concatenate([LABELS[50:], LABELS[:7]])
    np.savez(tmp_path / "set.npz", x_train=IMAGES[:50], y_train=LABELS[:50], x_test=repeated[0], y_test=repeated[1])
    assert data.load(str(tmp_path / "set.npz")).notes == ("7 of 37 test images are training images too",)


def test_parquet_of_hugging_face(tmp_path):
    names = [f"number {n}" for n in range(10)]
    folder = tmp_path / "set" / "data"
    save_parquet(folder / "train-00000-of-00002.parquet", IMAGES[:30], LABELS[:30], names)
    save_parquet(folder / "train-00001-of-00002.parquet", IMAGES[30:50], LABELS[30:50], names)
    save_parquet(folder / "test-00000-of-00001.parquet", *ARRAYS[2:], names)
    for path in (tmp_path / "set", folder, folder / "train-00000-of-00002.parquet"):
        dataset = data.load(str(path))
        assert_same_arrays(dataset, ARRAYS)
        assert dataset.class_names == tuple(names)
    alone = save_parquet(tmp_path / "digits.parquet", IMAGES, LABELS, column="picture")
    assert data.load(str(alone)).class_names == tuple("0123456789")


def test_parquet_of_other_columns_or_damaged_is_refused(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "set.parquet"
    whole = save_parquet(path, IMAGES, LABELS).read_bytes()

    def refused(words):
        with pytest.raises(UserError) as error:
            data.load(str(path))
        assert str(path) in str(error.value) and words in str(error.value)

    parquet.write_table(pyarrow.table({"text": ["a"] * 20, "label": [1] * 20}), path)
    refused("needs a column of pictures as bytes and one of whole numbers as labels, not text (string), label")
    parquet.write_table(pyarrow.table({"image": [b"no picture"] * 20, "label": [1] * 20}), path)
    refused("in row 1, the picture is no image that can be read")
    parquet.write_table(pyarrow.table({"image": [None, *[b"a"] * 19], "label": [1] * 20}), path)
    refused("row 1 has no bytes of a picture")
    path.write_bytes(whole[:-100])
    refused("cannot be read as a Parquet file")
    negative = LABELS.astype(int) - 1
    save_parquet(path, IMAGES, negative)
    refused("must be whole numbers from 0 to 255")


def test_parquet_without_pyarrow_is_refused_with_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "set.parquet").write_bytes(b"PAR1" + bytes(100))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UserError, match="is a Parquet file, which needs pyarrow .*: pip install pyarrow"):
        data.load(str(tmp_path / "set.parquet"))


def test_idx_files_in_a_folder_within_the_folder(tmp_path):
    write_idx(tmp_path / "MNIST" / "raw", ARRAYS)  # As torchvision lays them.
    assert_same_arrays(data.load(str(tmp_path / "MNIST")), ARRAYS)


def zipped(name):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"x" * 100)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


OTHERS = {
    "old.mat": (b"MATLAB 5.0 MAT-file" + bytes(200), "a MATLAB file", "scipy.io.loadmat("),
    "new.mat": (b"\x89HDF\r\n\x1a\n" + bytes(200), "HDF5 or MATLAB 7.3", "h5py.File("),
    "set.h5": (b"\x89HDF\r\n\x1a\n" + bytes(200), "HDF5", "h5py.File("),
    "set.npy": (npy(IMAGES), "a single array", "np.load("),
    "set.pkl": (pickle.dumps([1, 2]), "a pickle, which could run any program", "pickle.load("),
    "mnist.pkl.gz": (gzip.compress(pickle.dumps([1, 2])), "a pickle", "pickle.load("),
    "set.pt": (zipped("archive/data.pkl"), "a file of PyTorch", "torch.load("),
    "set.zip": (zipped("0/1.png"), "a zip archive", "shutil.unpack_archive("),
    "set.tar": (bytes(257) + b"ustar" + bytes(300), "a tar archive", "shutil.unpack_archive("),
    "set.arrow": (b"ARROW1" + bytes(100), "an Arrow file", "to_parquet("),
    "set.xyz": (b"anything", "a kind that is not read", "np.savez("),
    "empty.csv": (b"", "a kind that is not read", "np.savez("),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_are_refused_with_the_line_that_converts_them(tmp_path, name):
    content, words, line = OTHERS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        data.load(str(tmp_path / name))
    message = str(error.value)
    assert str(tmp_path / name) in message and words in message and line in message
    assert ".npz, .csv, Parquet, IDX files in a folder" in message and "\n" not in message


def test_a_npz_is_one_whatever_its_ending(tmp_path):
    np.savez(tmp_path / "set.npz", x_train=IMAGES, y_train=LABELS)
    (tmp_path / "set.npz").rename(tmp_path / "set.data")
    assert len(data.load(str(tmp_path / "set.data")).train_labels) == 64


def test_a_folder_of_single_pictures_or_of_half_a_dataset_says_what_is_missing(tmp_path):
    (tmp_path / "flat").mkdir()
    for number in range(12):
        Image.fromarray(IMAGES[number]).save(tmp_path / "flat" / f"{LABELS[number]}_{number}.png")
    with pytest.raises(UserError, match="0 class folders with 0 images, and 12 pictures in no class folder"):
        data.load(str(tmp_path / "flat"))
    folder = write_idx(tmp_path / "half", ARRAYS)
    for path in folder.glob("*labels*"):
        path.unlink()
    for path in folder.iterdir():
        path.rename(folder / f"my-{path.name}")
    with pytest.raises(UserError, match="has no file train-images-idx3-ubyte or"):
        data.load(str(folder))


def test_an_idx_file_points_at_its_folder_and_several_datasets_at_their_files(tmp_path):
    folder = write_idx(tmp_path / "idx", ARRAYS)
    with pytest.raises(UserError, match="name the folder that holds them"):
        data.load(f"{folder}/train-images-idx3-ubyte")
    for name in ("a_train.csv", "b_train.csv"):
        save_csv(tmp_path / "two" / name, IMAGES, LABELS)
    with pytest.raises(UserError, match=r"has several datasets: name one of the files a_train.csv, b_train.csv"):
        data.load(str(tmp_path / "two"))


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


def test_data_dir_finds_what_was_moved(tmp_path, monkeypatch):
    np.savez(tmp_path / "set.npz", x_train=IMAGES, y_train=LABELS)
    name = str(tmp_path / "set.npz")
    before = data.load(name)
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "set.npz").rename(tmp_path / "elsewhere" / "set.npz")
    renamed = moved.with_name("other.npz")
    for place in (moved, moved.parent):
        dataset = data.load(name, str(place))
        assert dataset.name == name and dataset.digest() == before.digest()
        assert dataset.notes[0] == f"{name} is read from {moved}"
    monkeypatch.setenv("DIGITS_DATA_DIR", str(moved.parent))  # Is of datasets with a name.
    with pytest.raises(UserError, match="cannot be read as .npz"):
        data.load(name)
    moved.rename(renamed)
    assert data.load(name, str(renamed)).digest() == before.digest()
    with pytest.raises(UserError, match="--data_dir is '/no/where', but there is no such file or folder"):
        data.load(name, "/no/where")
    # A path that is there is meant, if `data_dir` has nothing of its name.
    np.savez(tmp_path / "set.npz", x_train=IMAGES, y_train=LABELS)
    assert not data.load(name, str(write_idx(tmp_path / "mnist", ARRAYS))).notes[0].startswith(name)


def test_the_test_set_of_a_run_of_an_earlier_version_is_found(tmp_path):
    name = str(tmp_path / "set.npz")
    np.savez(name, x_train=IMAGES, y_train=LABELS)
    expected = model_selection.train_test_split(IMAGES, LABELS, test_size=0.2, random_state=0)
    before = data.Dataset(name, expected[0], expected[2], expected[1], expected[3], tuple("0123456789"))
    assert data.load(name).digest() != before.digest()
    assert data.load(name, digest=before.digest()).digest() == before.digest()
    assert data.load(name, digest="0" * 64).digest() == data.load(name).digest()


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    np.savez(tmp_path / "set.npz", x_train=IMAGES, y_train=LABELS)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.load("~/set.npz").digest() == data.load(str(tmp_path / "set.npz")).digest()
    for name in ("~nobody-of-this-name/digits", "a\0b/digits", "\ud800/digits", "./\0"):
        with pytest.raises(UserError):
            data.load(name)


def test_a_folder_of_test_images_alone_is_refused(tmp_path):
    save_csv(tmp_path / "set" / "mnist_test.csv", IMAGES, LABELS)
    with pytest.raises(UserError, match="has a test set but no training set"):
        data.load(str(tmp_path / "set"))
