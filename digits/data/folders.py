"""Reads a folder of image folders, one a class."""

import pathlib

import numpy as np
from PIL import Image

from digits.data.dataset import SIDE
from digits.data.idx import Source
from digits.data.pictures.opening import open_picture
from digits.errors import UserError, reason


def read_folder(path: pathlib.Path) -> Source:
    """Reads a folder of image folders, one a class, or of train/ and test/ that each have these. Follows links.

    Raises:
      UserError: there is no such folder, `open_picture` cannot open a file of it, or it has too few images.
    """
    try:
        if not path.is_dir():
            raise UserError(f"config.data.name is {str(path)!r}, but there is no such folder.")
        if not ((path / "train").is_dir() and (path / "test").is_dir()):
            return _read_classes(path)
        (train, names), (test, test_names) = _read_classes(path / "train"), _read_classes(path / "test")
    except OSError as error:
        raise UserError(f"{path!s:.200} cannot be read as a folder of images: {reason(error)}.") from error
    if names != test_names:
        raise UserError(f"{path} must have the same classes in train/ and test/, not {names} and {test_names}.")
    return train + test, names


def _read_classes(path: pathlib.Path) -> Source:
    """Reads the images of a folder of folders, one a class: grey, resized to 28x28; classes and files in sorted order.

    Transparent pixels become white, as on a screen.
    """
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    images, labels = [], []
    for label, folder in enumerate(folders):
        if not folder.name.isprintable():  # Nor are names that are not UTF-8, which no report could show.
            raise UserError(f"{path} has a class folder {folder.name!r}, but a class needs a name that can be printed.")
        for file in sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")):
            try:
                image = open_picture(file)
                if image.mode == "RGBA":
                    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
                image = image.convert("L")
            except UserError as error:
                raise UserError(f"{path} cannot be read as an image folder: {error}") from error
            images.append(np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)))
            labels.append(label)
    if not 2 <= len(folders) <= 256 or len(images) < 10:
        raise UserError(
            f"{path} has {len(folders)} class folders with {len(images)} images; it must have 2 to 256 with 10 or more."
        )
    return [np.stack(images), np.array(labels, np.uint8)], tuple(folder.name for folder in folders)
