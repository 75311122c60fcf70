"""Downloads datasets of 28x28 images with TensorFlow Datasets (TFDS).

TFDS's download manager brings MNIST, Fashion-MNIST, KMNIST and EMNIST as IDX files and checks their SHA-256. This
module reads them in the order of the files, without TensorFlow. TFDS itself prepares any other set; that needs
TensorFlow.
"""

import json
import pathlib
import tempfile
import threading
from types import ModuleType
from typing import Any
import urllib.error
import urllib.parse
import urllib.request
import zipfile

import numpy as np

from digits.config.suggestions import nearest, question
from digits.data import emnist
from digits.data.dataset import SIDE
from digits.data.idx import IDX_FILES, read_idx_files
from digits.data.source import Source
from digits.errors import UserError, reason
from digits.runtime import paths
from digits.runtime.tensorflow_extra import import_tensorflow

_IDX_SETS = ("mnist", "fashion_mnist", "kmnist", "emnist")
_KNOWN = (*_IDX_SETS, "optdigits")


def read_tfds(name: str) -> Source:
    """Downloads a dataset, once, and reads it: `read_tfds("kmnist")`, `read_tfds("emnist/letters")`.

    EMNIST's parts are byclass (also "emnist" alone), bymerge, balanced, letters, digits and mnist. Its images come
    upright, unlike TFDS's own, and its classes with their names. All images of the files are read; TFDS itself stops
    after 88,800 + 14,800 letters.

    TFDS keeps its downloads in TFDS_DATA_DIR, by default ~/tensorflow_datasets. It takes files that lie in
    `downloads/manual` there instead of downloading them.

    Raises:
      UserError: TFDS has no such set, or not of 28x28 images; it needs TensorFlow, which is not installed; or it cannot
        be downloaded.
    """
    variable = "or DIGITS_DATA_DIR" if name == "mnist" else f"or in a folder {name} of DIGITS_DATA_DIR"
    ways_out = (
        "Ways out: (1) connect to the internet once, with tensorflow-datasets installed; (2) give the four IDX files "
        f"of {name}, with --data_dir=FOLDER {variable}; (3) train on the embedded dataset, --config=quickstart."
    )
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise UserError(f"{name} is not on this machine and TFDS cannot be imported ({error}). {ways_out}") from error
    root = pathlib.Path(paths.folder_of("TFDS_DATA_DIR") or paths.local("~/tensorflow_datasets", "TFDS_DATA_DIR"))
    try:
        builder = tensorflow_datasets.builder(name, data_dir=root)
        features = builder.info.features
        shape = features["image"].shape if "image" in features else None
        if shape != (SIDE, SIDE, 1) or "label" not in features:
            raise UserError(
                f"config.data.name is {name!r}, a TFDS set of {shape} images, but 28x28x1 with labels is needed."
            )
        read = _read_downloaded if builder.name in _IDX_SETS else _read_prepared
        arrays = read(tensorflow_datasets, builder, root / "downloads")
    except tensorflow_datasets.core.DatasetNotFoundError as error:
        nor = ", nor is there such a path" if "/" in name else ""
        here = [f"./{folder}" for folder in nearest(name, [path.name for path in pathlib.Path().glob("*/")])]
        hint = question([*nearest(name, _KNOWN), *here])
        raise UserError(f"config.data.name is {name!r}, but TFDS knows no such dataset{nor}{hint}") from error
    except _Unreachable as error:
        raise UserError(f"{name} is not on this machine and {error} cannot be reached. {ways_out}") from error
    except UserError:
        raise
    except Exception as error:  # TFDS raises anything from OSError to its own kinds.
        raise UserError(f"TFDS could not provide {name}: {reason(error).rstrip(':')}. {ways_out}") from error
    if builder.name == "emnist":
        return emnist.upright(Source(arrays), f"emnist/{builder.builder_config.name}")
    return Source(arrays, tuple(features["label"].names))


def _read_downloaded(tensorflow_datasets: ModuleType, builder: Any, downloads: pathlib.Path) -> list[np.ndarray]:
    """Downloads the IDX files of one of `_IDX_SETS` and reads them."""
    urls = tensorflow_datasets.builder_cls(builder.name).url_infos  # A builder that found a prepared set may have none.
    _check_reachable(urls, builder.name, downloads)
    manager = tensorflow_datasets.download.DownloadManager(
        download_dir=downloads, manual_dir=downloads / "manual", url_infos=urls, dataset_name=builder.name
    )
    if builder.name != "emnist":
        by_file = {info.filename: url for url, info in urls.items()}
        paths = manager.download([by_file[f"{stem}.gz"] for stem in IDX_FILES])
        return read_idx_files([pathlib.Path(path) for path in paths])
    (url,) = urls
    with zipfile.ZipFile(manager.download(url)) as archive, tempfile.TemporaryDirectory() as folder:
        stems = [stem.replace("t10k", "test") for stem in IDX_FILES]
        members = [f"gzip/emnist-{builder.builder_config.name}-{stem}.gz" for stem in stems]
        return read_idx_files([pathlib.Path(archive.extract(member, folder)) for member in members])


def _read_prepared(tensorflow_datasets: ModuleType, builder: Any, downloads: pathlib.Path) -> list[np.ndarray]:
    """Has TFDS prepare a set, once, and reads it."""
    try:
        import_tensorflow()
    except ImportError as error:
        raise UserError(
            f"{builder.name} is a TFDS set that only TensorFlow can prepare, which cannot be imported ({error}): "
            "pip install tensorflow."
        ) from error
    if not builder.is_prepared():
        _check_reachable(builder.url_infos, builder.name, downloads)
    builder.download_and_prepare(download_config=tensorflow_datasets.download.DownloadConfig(try_download_gcs=False))
    parts = tensorflow_datasets.as_numpy(builder.as_dataset(split=["train", "test"], batch_size=-1))
    arrays = []
    for part in parts:
        arrays += [part["image"].reshape(-1, SIDE, SIDE), part["label"].astype(np.uint8)]
    return arrays


class _Unreachable(Exception):
    """A host does not answer; its address is the message."""


def _check_reachable(urls: dict, name: str, downloads: pathlib.Path) -> None:
    """Raises _Unreachable if a file must be downloaded and its host does not answer: TFDS would try for minutes.

    Args:
      urls: TFDS's UrlInfo by address.
      name: the dataset's.
      downloads: the folder in which TFDS keeps downloaded files.
    """
    for url, info in urls.items():
        if not _is_here(url, info.filename, name, downloads):
            host = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(url))
            if not _reachable(host):
                raise _Unreachable(host)
            return  # One host is enough to ask.


def _is_here(url: str, filename: str, name: str, downloads: pathlib.Path) -> bool:
    """Whether somebody put a file into `manual`, or TFDS downloaded it, which notes its addresses in INFO files."""
    if (downloads / "manual" / filename).exists():
        return True
    notes = [*downloads.glob("*.INFO"), *downloads.glob(f"{name}/*.INFO")]
    return any(url in json.loads(note.read_text()).get("urls", ()) for note in notes)


def _reachable(url: str, seconds: float = 4.0) -> bool:
    """Whether any HTTP answer comes within `seconds`; name resolution alone can block for longer, hence the thread."""
    answered = threading.Event()

    def ask():
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds)
        except urllib.error.HTTPError:
            pass  # The host answered.
        except OSError:
            return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()
