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
from tests.made_datasets import assert_same_arrays, save_csv, strokes, write_idx

pytestmark = pytest.mark.usefixtures("mnist_dir")

IMAGES, LABELS = strokes(80)
ARRAYS = [IMAGES[:50], LABELS[:50], IMAGES[50:], LABELS[50:]]


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


def test_test_images_that_are_training_images_too_are_counted(tmp_path):
    repeated = np.concatenate([IMAGES[50:], IMAGES[:7]]), np.concatenate([LABELS[50:], LABELS[:7]])
    np.savez(tmp_path / "set.npz", x_train=IMAGES[:50], y_train=LABELS[:50], x_test=repeated[0], y_test=repeated[1])
    assert data.load(str(tmp_path / "set.npz")).notes == ("7 of 37 test images are training images too",)


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
