"""Draws digits in a grid with a caption below each, within milliseconds."""

from collections.abc import Sequence
import io
import math
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from digits.errors import UserError

_GAP, _LINE = 8, 15  # Pixels between cells, and of a caption's line.


def sheet(
    images: np.ndarray,
    captions: Sequence[Any] = (),
    columns: int | None = None,
    scale: int = 3,
    colormap: str | None = None,
) -> np.ndarray:
    """Draws digits dark on white, as on paper, row by row.

    Image.fromarray(sheet(images[:9], labels[:9], columns=3))

    Args:
      images: NxHxW, white on black like MNIST: whole numbers from 0 to 255, or floats from 0 to 1.
      captions: one for each image, such as its label, of one or several lines; none by default.
      columns: images a row; by default about as many as rows, and at most 10.
      scale: the side in pixels of the square that shows a pixel.
      colormap: the name of a colour map of matplotlib's, instead of dark on white.

    Returns:
      HxWx3, uint8.

    Raises:
      UserError: there are no images, not as many captions, or no such colour map.
    """
    images, captions = np.asarray(images), [str(caption) for caption in captions]
    if not len(images):
        raise UserError("a sheet of images needs at least one image, but there is none.")
    if captions and len(captions) != len(images):
        raise UserError(
            f"a sheet of {len(images)} images has {len(captions)} captions, but it must have as many, or none."
        )
    whole = np.issubdtype(images.dtype, np.integer)
    ink = np.round(np.clip(images, 0, 255) if whole else np.clip(images, 0, 1) * 255).astype(np.uint8)
    drawn, font = _with_font(captions)
    captions = drawn or [caption.encode("ascii", "backslashreplace").decode() for caption in captions]
    columns = min(columns or min(10, math.ceil(math.sqrt(len(ink)))), len(ink))
    height, width = (side * scale for side in ink.shape[1:3])
    lines = max((caption.count("\n") + 1 for caption in captions), default=0)
    texts = [line for caption in captions for line in caption.split("\n")]
    across = max([width, *(math.ceil(font.getlength(text)) for text in texts)]) + _GAP
    down = height + lines * _LINE + _GAP
    paper = Image.new("RGB", (columns * across + _GAP, -(-len(ink) // columns) * down + _GAP), "white")
    draw = ImageDraw.Draw(paper)
    if colormap:
        import matplotlib

        if colormap not in matplotlib.colormaps:
            raise UserError(f"colormap is {colormap!r}, but it must be one of matplotlib's, such as viridis.")
        colours = matplotlib.colormaps[colormap](ink, bytes=True)[..., :3]
    else:
        colours = 255 - ink
    for i, colour in enumerate(colours):
        left, top = _GAP + i % columns * across, _GAP + i // columns * down
        digit = Image.fromarray(colour).resize((width, height), Image.Resampling.NEAREST)
        middle = left + (across - _GAP - width) // 2
        paper.paste(digit, (middle, top))
        draw.rectangle((middle - 1, top - 1, middle + width, top + height), outline="#CCCCCC")
        if captions:
            draw.multiline_text((left, top + height + 1), captions[i], "#222222", font, spacing=2)
    return np.asarray(paper)


def examples(entries: Sequence[dict[str, Any]], images: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """Draws the "mistakes" or "doubtful" of `classification.measure`; `images`, NxHxW, are those that were measured."""
    class_names = _labels(class_names)
    captions = [
        f"image {entry['index']}\ntrue {class_names[entry['label']]}\npredicted {class_names[entry['prediction']]}\n"
        f"p = {entry['probability']:.4f}"
        for entry in entries
    ]
    return sheet(images[[entry["index"] for entry in entries]], captions, columns=8)


def _labels(class_names: Sequence[str]) -> list[str]:
    """The class names, or their numbers if no font has them all."""
    return _with_font(class_names)[0] or [str(number) for number in range(len(class_names))]


def _with_font(texts: Sequence[str]) -> tuple[list[str] | None, Any]:
    """The texts and a font of 12 pixels that draws them; None and another font if no font has all of their letters."""
    if all(text.isascii() for text in texts):
        return list(texts), ImageFont.load_default(12)
    from digits.analysis.figures import lettering  # Imports matplotlib, which takes half a second.

    texts = [lettering.without_selectors(text) for text in texts]
    path = lettering.font_file("".join(texts))
    return (texts, ImageFont.truetype(path, 12)) if path else (None, ImageFont.load_default(12))


def png(picture: np.ndarray) -> bytes:
    """Saves a picture, HxWx3 or HxW uint8, as a PNG file; returns its bytes."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG", optimize=True)
    return file.getvalue()
