"""EMNIST's images, upright, and the names of its classes. Its files hold them transposed, with numbers for labels."""

import re
import string

import numpy as np

from digits.data.source import Source

_CASED = string.digits + string.ascii_uppercase
_NAMES = {
    "byclass": dict(enumerate(_CASED + string.ascii_lowercase)),
    "bymerge": dict(enumerate(_CASED + "abdefghnqrt")),  # The other small letters look like their capitals.
    "balanced": dict(enumerate(_CASED + "abdefghnqrt")),
    "letters": dict(enumerate(string.ascii_uppercase, start=1)),  # Capitals and small letters alike.
    "digits": dict(enumerate(string.digits)),
    "mnist": dict(enumerate(string.digits)),
}


def set_in(text: str) -> str | None:
    """The set of EMNIST that the start of a file's name tells: "emnist/letters" of "emnist-letters-train.csv"."""
    found = re.match(r"emnist[-_ ](" + "|".join(_NAMES) + r")\b", text.lower().replace("_", "-"))
    return f"emnist/{found[1]}" if found else None


def upright(source: Source, name: str) -> Source:
    """Transposes the images of one of EMNIST's sets and names its classes.

        upright(Source(arrays), "emnist/letters").class_names[1] == "A"

    Args:
      source: as its files have it.
      name: "emnist/letters", for example; "emnist" alone is its set byclass.
    """
    arrays = list(source.arrays)
    arrays[::2] = [np.ascontiguousarray(images.swapaxes(1, 2)) for images in arrays[::2]]
    names = _NAMES.get(name.partition("/")[2] or "byclass")
    note = "EMNIST's images, transposed in its files, are turned upright"
    return source._replace(arrays=arrays, class_names=names, notes=(*source.notes, note))
