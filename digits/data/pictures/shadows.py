"""Removes hard shadows from photos of paper: brings the paper under them to the light of the rest."""

import numpy as np
from scipy import ndimage

from digits.data.pictures import ink

_SIDE = 128  # Pixels of the longer side of the picture in which shadows are looked for.
_LEAST_SIDE = 64  # Pixels of the shorter side: smaller pictures are no photos of paper.
_BROADEST = (
    0.18  # Of the longer side: strokes are narrower. Shadow and lit paper each have a clear square of this side.
)
_SHARP = 1.15  # The least ratio of the light on both sides of a hard edge. Uneven light falls off slowly.
_DIMMER = 1.1  # The least ratio of the light on lit paper to the light at a pixel that is brightened.
_BLUR = 1.2  # Pixels, the standard deviation.
_DARKEST = 0.25  # The least light in a shadow; darker pixels are ink or a table.
_TINT = 1.4  # The largest ratio between the light's loss in two of the three colours; a table has a colour of its own.


def without_shadows(picture: np.ndarray) -> np.ndarray:
    """Brightens areas in hard shadow to the brightness of the lit paper; strokes stay, in shadow, light and between.

    even = without_shadows(np.asarray(open_picture("photo.jpg")))

    A picture without a hard shadow, and one of light ink on dark paper, is returned as it is.

    Args:
      picture: uint8 HxWx3 (RGB) or HxWx4 (RGBA).
    """
    height, width = picture.shape[:2]
    if min(height, width) < _LEAST_SIDE or (picture.shape[-1] == 4 and picture[..., 3].min() < 128):
        return picture
    colours = picture[..., :3].astype(np.float32) + 1
    scale = max(1.0, max(height, width) / _SIDE)
    small = ink.resized(colours, (round(height / scale), round(width / scale)))
    window = (max(3, round(_BROADEST * max(small.shape))),) * 2 + (1,)
    closed = ndimage.grey_closing(small, window, mode="nearest")  # Without strokes.
    if not _has_hard_shadow(small, closed, window):
        return picture
    # Strokes are dark too, but lie apart from the shadow, or are darker than it: only the shadow is filled from within.
    light = _filled(closed, small)
    light = ndimage.minimum_filter(light, (3, 3, 1))  # A pixel at the edge is a mixture of both sides.
    rows, columns = (np.arange(n) * m // n for n, m in zip((height, width), light.shape))
    smooth = ndimage.gaussian_filter(colours, (_BLUR, _BLUR, 0))  # Noise would be brightened too.
    light = light[rows[:, None], columns]
    shaded = (_paper(closed) > _DIMMER * light).any(-1, keepdims=True)
    light = np.maximum(light, smooth)  # Between shadow and light, too.
    lit = picture.copy()
    lit[..., :3] = np.where(shaded, _paper(closed) * smooth / light, colours).round() - 1
    return lit


def _paper(closed: np.ndarray) -> np.ndarray:
    """The colour of lit paper."""
    return np.percentile(closed, 90, axis=(0, 1))


def _has_hard_shadow(small: np.ndarray, closed: np.ndarray, window: tuple[int, ...]) -> bool:
    """Whether broad areas of two brightnesses meet in an edge, and the darker one is paper in less light."""
    opened = ndimage.grey_opening(small, window, mode="nearest")
    dark, paper = closed.min((0, 1)), _paper(closed)
    loss = dark / paper
    if (
        opened.mean(-1).max() < 0.9 * paper.mean()
        or not _DARKEST < loss.mean() < 1 / _SHARP
        or loss.max() > _TINT * loss.min()
    ):
        return False
    grey = closed.mean(-1)
    # Where the closing fills a bold stroke only in part, the ink is darker than what it is filled with.
    shaded = grey < paper.mean() / _SHARP
    if not np.mean(small.mean(-1)[shaded] > 0.9 * grey[shaded]) > 0.6:
        return False
    return bool((ndimage.maximum_filter(grey, 3) > _SHARP * ndimage.minimum_filter(grey, 3)).any())


def _filled(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Lowers HxWxC values `above` from their low areas as far as `below` lets them: reconstruction by erosion."""
    while True:
        lower = np.maximum(ndimage.minimum_filter(above, (3, 3, 1)), below)
        if np.array_equal(lower, above):
            return above
        above = lower
