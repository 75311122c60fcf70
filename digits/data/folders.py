"""Reads a folder of image folders, one a class."""

import collections
import pathlib
from typing import NamedTuple

import numpy as np

from digits.data.framing import framed
from digits.data.pictures.opening import open_picture
from digits.data.source import Source, joined, part_of, words
from digits.errors import UserError, reason

# A file with such an ending is meant to be a picture. Any other file counts if it is one.
_ENDINGS = (
    ".png", ".jpg", ".jpeg", ".jpe", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif",
    ".jp2", ".jxl", ".svg", ".pgm", ".ppm", ".pbm", ".ico", ".tga", ".psd",
)  # fmt: skip
_BESIDE_A_PART = {"set", "data", "images", "imgs", "image"}  # As in train_set.
_HIDDEN, _EMPTY = "hidden files and folders", "empty folders"
_NO_PICTURE, _NO_CLASS = "files that are no pictures", "pictures in no class folder"

LeftOut = collections.Counter[str]


class _Picture(NamedTuple):
    """A picture in 28x28 pixels; `white` is that of `open_picture`, if the picture has more than 8 bits."""

    file: pathlib.Path
    class_name: str
    pixels: np.ndarray
    white: float | None
    square: bool


def read_folder(path: pathlib.Path) -> Source:
    """Reads a folder of image folders, one a class, or of train/ and test/ that each have these. Follows links.

        read_folder(pathlib.Path("my_digits")).class_names == ("0", "1", "2")

    train/ and test/ may be called training/ and testing/, in any case, and there may be a val/. All of this may lie in
    a single folder within `path`. Classes and files come in sorted order. What is no class and no picture is left out
    and counted in a note.

    Raises:
      UserError: there is no such folder, pictures cannot be read, or the folder has too few.
    """
    try:
        if not path.is_dir():
            raise UserError(f"config.data.name is {str(path)!r}, but there is no such folder.")
        return _read(path)
    except OSError as error:
        raise UserError(f"{path!s:.200} cannot be read as a folder of images: {reason(error)}.") from error


def _read(path: pathlib.Path) -> Source:
    left_out: LeftOut = collections.Counter()
    folders, damaged, pictures = _parts(path, left_out), {}, {}
    for part, folder in folders.items():
        pictures[part] = _pictures(folder, left_out, damaged)
    if damaged:
        raise UserError(_damaged(path, damaged))
    names = {part: sorted({picture.class_name for picture in of}) for part, of in pictures.items()}
    for part in names:
        if missing := set(names[part]) - set(names["train"]):
            raise UserError(
                f"{path} must have the same classes in {folders['train'].name}/ and {folders[part].name}/, not "
                f"{tuple(names['train'])} and {tuple(names[part])}: the network cannot learn {', '.join(missing)}."
            )
    classes = names["train"]
    if not 2 <= len(classes) <= 256 or len(pictures["train"]) < 10:
        empty = f", {left_out[_EMPTY]} of them empty," if left_out[_EMPTY] else ""
        loose = f", and {left_out[_NO_CLASS]} pictures in no class folder" if left_out[_NO_CLASS] else ""
        raise UserError(
            f"{folders['train']} has {len(classes) + left_out[_EMPTY]} class folders{empty} with "
            f"{len(pictures['train'])} images{loose}; it must have 2 to 256 with 10 or more."
        )
    notes = []
    if left_out := +left_out:
        notes.append("left out: " + ", ".join(f"{what} ({count:,})" for what, count in sorted(left_out.items())))
    if white := max((picture.white or 0 for of in pictures.values() for picture in of), default=0):
        notes.append(f"white is {white:,.0f} in the pictures of more than 8 bits: brought to 0 to 255")
    if narrow := sum(not picture.square for of in pictures.values() for picture in of):
        notes.append(f"{narrow:,} pictures are not square: padded with their background")
    arrays = {part: _arrays(of, classes, white) for part, of in pictures.items() if of}
    return joined(arrays, path, tuple(classes), tuple(notes))


def _visible(path: pathlib.Path, left_out: LeftOut) -> list[pathlib.Path]:
    """The entries of a folder in sorted order, without those that systems and archivers add."""
    entries = sorted(path.iterdir())
    visible = [entry for entry in entries if not entry.name.startswith((".", "@")) and entry.name != "__MACOSX"]
    left_out[_HIDDEN] += len(entries) - len(visible)
    return visible


def _parts(path: pathlib.Path, left_out: LeftOut) -> dict[str, pathlib.Path]:
    """The folders of class folders by part; "train" alone if there are no parts. Goes into a folder that holds all."""
    while True:
        folders = [entry for entry in _visible(path, collections.Counter()) if entry.is_dir()]
        parts = {part_of(folder.name): folder for folder in folders if _is_part(folder.name)}
        if "train" in parts and len(parts) > 1:
            for folder in set(folders) - {*parts.values()}:
                left_out[f"the folder {folder.name}"] += 1
            return {part: _parts(folder, left_out)["train"] for part, folder in parts.items()}
        full = [folder for folder in folders if any(folder.iterdir())]
        if len(full) != 1 or not any(entry.is_dir() for entry in _visible(full[0], collections.Counter())):
            return {"train": path}
        (path,) = full


def _is_part(name: str) -> bool:
    """Whether a folder's name means a part and nothing else: "Training", "test_set", but not "test tubes"."""
    rest = set(words(name)) - _BESIDE_A_PART
    return len(rest) == 1 and part_of(name) is not None


def _pictures(path: pathlib.Path, left_out: LeftOut, damaged: dict[pathlib.Path, str]) -> list[_Picture]:
    """Reads the pictures of a folder of class folders. Those that cannot be read go into `damaged`, with the reason."""
    pictures = []
    for folder in _visible(path, left_out):
        if not folder.is_dir():
            left_out[_NO_CLASS if folder.suffix.lower() in _ENDINGS else _NO_PICTURE] += 1
            continue
        if not folder.name.isprintable():  # Nor are names that are not UTF-8, which no report could show.
            raise UserError(f"{path} has a class folder {folder.name!r}, but a class needs a name that can be printed.")
        before = len(pictures) + len(damaged)
        for file in _visible(folder, left_out):
            if not file.is_file():
                left_out["folders within class folders"] += 1
                continue
            try:
                pictures.append(_picture(file, folder.name))
            except UserError as error:
                if file.suffix.lower() in _ENDINGS:
                    damaged[file] = str(error)
                else:
                    left_out[_NO_PICTURE] += 1
        if len(pictures) + len(damaged) == before:
            left_out[_EMPTY] += 1
    return pictures


def _picture(file: pathlib.Path, class_name: str, white: float | None = None) -> _Picture:
    picture = open_picture(file, white)
    return _Picture(file, class_name, framed(picture), picture.info.get("white"), picture.width == picture.height)


def _arrays(pictures: list[_Picture], classes: list[str], white: float) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of a part. Pictures of more than 8 bits are read again if others have a brighter white."""
    again = [
        _picture(picture.file, picture.class_name, white) if picture.white and picture.white != white else picture
        for picture in pictures
    ]
    places = {name: label for label, name in enumerate(classes)}
    labels = [places[picture.class_name] for picture in pictures]
    return np.stack([picture.pixels for picture in again]), np.array(labels, np.uint8)


def _damaged(path: pathlib.Path, damaged: dict[pathlib.Path, str]) -> str:
    """The message about pictures that cannot be read: the first ten of them, and how many there are."""
    if len(damaged) == 1:
        return f"{path} cannot be read as an image folder: {next(iter(damaged.values()))}"
    files = [str(file.relative_to(path)) for file in list(damaged)[:10]]
    more = f" and {len(damaged) - 10:,} more" if len(damaged) > 10 else ""
    first = next(iter(damaged.values())).rstrip(".")
    return (
        f"{path} cannot be read as an image folder: {len(damaged):,} pictures are damaged, {', '.join(files)}{more}, "
        f"the first because {first}: mend or delete them."
    )
