"""Opens a dataset at a path by what the file or the folder is, whatever its name ends with."""

import collections
import pathlib
import zipfile

from digits.data import idx, npz, rows
from digits.data.source import Source, part_of, role_of, words
from digits.errors import UserError, reason

READ = ".npz, .csv, Parquet, IDX files in a folder, and a folder with one folder of pictures per class"
# What is not read: how such a file starts, what it is called, and what makes a .npz of it in Python.
_SAVED = "np.savez('digits.npz', x_train={x}, y_train={y})"
_OTHERS = (
    (b"MATLAB 5.0", "a MATLAB file",
     "m = scipy.io.loadmat({path!r}); " + _SAVED.format(x="m['X']", y="m['y'].ravel()")),
    (b"\x89HDF", "an HDF5 or MATLAB 7.3 file",
     "f = h5py.File({path!r}); " + _SAVED.format(x="f['images'][:]", y="f['labels'][:]")),
    (b"\x93NUMPY", "a single array", _SAVED.format(x="np.load({path!r})", y="np.load('labels.npy')")),
    (b"\x80", "a pickle, which could run any program when it is opened",
     "x, y = pickle.load(open({path!r}, 'rb')); " + _SAVED.format(x="x", y="y")),
    (b"torch", "a file of PyTorch",
     "x, y = torch.load({path!r}, weights_only=True)[:2]; " + _SAVED.format(x="x.numpy()", y="y.numpy()")),
    (b"PK", "a zip archive", "shutil.unpack_archive({path!r}, 'digits', 'zip')"),
    (b"ustar", "a tar archive", "shutil.unpack_archive({path!r}, 'digits')"),
    (b"ARROW1", "an Arrow file", "datasets.Dataset.from_file({path!r}).to_parquet('digits.parquet')"),
)  # fmt: skip
_OTHER = _SAVED.format(x="images", y="labels") + ", with images of Nx28x28 and N labels,"
_START = 2**14  # Bytes that show what a file is: the first line of 784 columns, the name after which tar says "ustar".


def read_path(path: pathlib.Path) -> Source:
    """Reads the dataset of a file or a folder: `read_path(pathlib.Path("mnist_train.csv"))`.

    With a file that has "train" in its name come those beside it that have "test" or "val" in its place.

    Raises:
      UserError: there is no such file, it is of a kind that is not read, or its reader refuses it.
    """
    try:
        if path.is_dir() and path.suffix != ".npz":
            return _read_folder(path)
        if path.suffix != ".npz" and not path.is_file():
            what = "is neither a file nor a folder" if path.exists() else "there is no such folder or file"
            raise UserError(f"config.data.name is {str(path)!r}, but {what}.")
        kind = "npz" if path.suffix == ".npz" else _kind(path)
        if kind == "idx":
            raise UserError(
                f"{path} is one of the IDX files of a dataset: name the folder that holds them, {path.parent}/."
            )
        if kind not in _READERS:
            raise UserError(_not_read(path, kind))
        together = [path]
        if (part_of(path.stem) == "train" and kind != "npz") or (kind == "npz" and _is_one_array(path)):
            files = [file for file in sorted(path.parent.iterdir()) if _key(file) == _key(path) and file.is_file()]
            together = [file for file in files if _kind(file) == kind]
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte.
        raise UserError(f"{path!s:.200} cannot be read: {reason(error)}.") from error
    return _READERS[kind](together)


def _read_folder(path: pathlib.Path) -> Source:
    """Reads IDX, Parquet, .csv or .npz files of a folder, or, if there are none, its pictures."""
    from digits.data.folders import read_folder  # Pillow takes 0.2 s.

    below = [entry for entry in sorted(path.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    for folder in (path, *(below if len(below) == 1 else ())):  # As MNIST/raw of torchvision, data/ of Hugging Face.
        if any(idx.idx_in(folder, stem) for stem in idx.IDX_FILES) or idx.idx_sets(folder):
            return idx.read_idx(folder)
        groups: dict[tuple, list[pathlib.Path]] = collections.defaultdict(list)
        files = [entry for entry in sorted(folder.iterdir()) if entry.is_file()]
        for file in files[:1000]:
            kind = _kind(file)
            if kind == "idx":  # Of no set that is whole: its reader says what is missing.
                return idx.read_idx(folder)
            if kind in _READERS:
                groups[(kind, *_key(file))].append(file)
        # Kaggle's sample_submission.csv is no training set.
        sets = {key: of for key, of in groups.items() if any(part_of(file.stem) == "train" for file in of)} or groups
        if len(sets) > 1:
            names = ", ".join(of[0].name for of in sets.values())
            raise UserError(f"{folder} has several datasets: name one of the files {names}.")
        for (kind, *_), of in sets.items():
            source = _READERS[kind](of)
            beside = (
                (f"read from {of[0].name}: the folders beside it are left out",) if below and folder == path else ()
            )
            return source._replace(notes=(*beside, *source.notes))
    return read_folder(path)


def _kind(path: pathlib.Path) -> str:
    """What a file is by its content: a key of `_READERS`, "idx", the start of one of `_OTHERS`, or ""."""
    start = idx.first_bytes(path, _START)
    if start[:2] == b"\0\0" and start[2:3] in b"\x08\x09\x0b\x0c\x0d\x0e" and start[3:4] in b"\1\2\3\4":
        return "idx"
    if start[:4] == b"PAR1":
        return "parquet"
    if start[:2] == b"PK":
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except Exception:  # zipfile raises anything on a damaged file.
            return "PK"
        return "npz" if any(name.endswith(".npy") for name in names) else _torch(names)
    if start[257:262] == b"ustar":
        return "ustar"
    if known := [kind.decode("latin-1") for kind, *_ in _OTHERS if start.startswith(kind)]:
        return known[0]
    return "csv" if rows.is_rows(start) else ""


def _torch(names: list[str]) -> str:
    return "torch" if any(name.endswith("data.pkl") for name in names) else "PK"


def _not_read(path: pathlib.Path, kind: str) -> str:
    """The message about a file of another kind, with the line of Python that converts it."""
    for start, name, line in _OTHERS:
        if start.decode("latin-1") == kind:
            return (
                f"{path} is {name}, which is not read: {READ} are. Convert it in Python: {line.format(path=str(path))}."
            )
    return f"{path} is of a kind that is not read: {READ} are. In Python, {_OTHER} writes a file that is read."


def _is_one_array(path: pathlib.Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return len(archive.namelist()) == 1
    except Exception:  # Its reader says what is wrong.
        return False


def _key(path: pathlib.Path) -> tuple[str, ...]:
    """The words that the names of a dataset's files have in common: ("kannada",) of X_kannada_train, y_kannada_test."""
    return tuple(word for word in words(path.stem) if part_of(word) is None and role_of(word) is None)


def _by_part(files: list[pathlib.Path]) -> dict[str, list[pathlib.Path]]:
    """The files by part; a file whose name says none holds training images."""
    parts: dict[str, list[pathlib.Path]] = collections.defaultdict(list)
    for file in files:
        parts[part_of(file.stem) or "train"].append(file)
    return parts


def _read_parquet(files: list[pathlib.Path]) -> Source:
    from digits.data.parquet import read_parquet  # Pillow takes 0.2 s.

    return read_parquet(_by_part(files))


_READERS = {
    "npz": lambda files: npz.read_npz(*files),
    "csv": lambda files: rows.read_rows(_by_part(files)),
    "parquet": _read_parquet,
}
