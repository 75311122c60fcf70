"""Brings one picture of any size and colour to 28x28 grey pixels, as it is: black stays black."""

import numpy as np
from PIL import Image

from digits.data.dataset import SIDE


def framed(picture: Image.Image) -> np.ndarray:
    """Makes a picture grey and resizes it to uint8 28x28: `framed(open_picture("a.png"))`.

    A picture that is not square is padded with its background, the median of its outermost pixels, so that it keeps its
    proportions. Transparent pixels become white, or black if the opaque ones are light, so that these can be seen.
    """
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, _ground(picture)), picture)
    grey = picture.convert("L")
    longer = max(grey.size)
    width, height = (max(1, round(SIDE * length / longer)) for length in grey.size)
    small = grey.resize((width, height), Image.Resampling.BICUBIC)
    if (width, height) == (SIDE, SIDE):
        return np.asarray(small)
    pixels = np.asarray(grey)
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    square = Image.new("L", (SIDE, SIDE), int(np.median(edges)))
    square.paste(small, ((SIDE - width) // 2, (SIDE - height) // 2))
    return np.asarray(square)


def _ground(picture: Image.Image) -> str:
    """The colour, "white" or "black", on which the opaque pixels of a transparent picture can be seen."""
    opaque = np.asarray(picture.getchannel("A")) > 127
    light = opaque.any() and not opaque.all() and np.asarray(picture.convert("L"))[opaque].mean() > 127
    return "black" if light else "white"
