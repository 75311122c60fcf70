"""Removes the printed lines of ruled and squared paper from a photo, scan or drawing."""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

_SIDE = 800  # Pixels of the longer side of the picture in which lines are looked for.
_LEAST_SIDE = 60  # Pixels of the shorter side: smaller pictures are no photos of paper.
_STRIPS = 96  # Across the picture. In each, a line is a dark spot.
_STEEPEST, _PARALLEL = 0.12, 0.02  # The largest slope of a line, and the largest difference of two lines' slopes.
_WIDEST, _WIDEST_PART = 7, 0.04  # Pixels at _SIDE, and part of a smaller picture's shorter side: a line is narrower.
_FAINTEST = 3  # Of 255 levels of grey, the least contrast of a line.
_LEAST_LINES = 3  # Fewer may be strokes, an underline, a frame.
_COVERED, _COVERED_ALONE = 0.5, 0.85  # The least part of the picture's side that a line covers, and one without others.
_FROM_EDGE_TO_EDGE = 0.9  # The least part that each of two lines covers if there are no others.
_LEAST_INSIDE = 0.03  # The least part of the picture's side that a line passes which leaves it through a corner.
_DARKER = 1.6  # Ink is so many times as dark as a pale line that it crosses.


class _Line(NamedTuple):
    """A line: the part of it that is dark, whether it is at both sides of the picture, its row in every column."""

    covered: float
    ends: bool
    rows: np.ndarray


def without_rules(picture: np.ndarray) -> tuple[np.ndarray, bool]:
    """Replaces long straight lines by the paper beside them; strokes that cross them stay.

    Looks for three lines or more that are dark, or light on dark paper, thin, almost parallel, almost level or upright,
    and cross half the picture; or for two that are level and cross all of it. A picture without such lines is returned
    as it is.

    Args:
      picture: uint8 HxWx3 (RGB) or HxWx4 (RGBA).

    Returns:
      The picture without lines, and whether it had some.
    """
    if min(picture.shape[:2]) < _LEAST_SIDE or (picture.shape[-1] == 4 and picture[..., 3].min() < 128):
        return picture, False
    if np.median(picture[..., :3]) < 128:  # Dark paper has light lines.
        cleaned, had = _without_dark_lines(_negative(picture))
        return (_negative(cleaned), True) if had else (picture, False)
    return _without_dark_lines(picture)


def _negative(picture: np.ndarray) -> np.ndarray:
    return np.concatenate([255 - picture[..., :3], picture[..., 3:]], -1)


def _without_dark_lines(picture: np.ndarray) -> tuple[np.ndarray, bool]:
    level, upright = _find(picture), _find(picture.swapaxes(0, 1))
    # Two from edge to edge are enough if they are level: two digits 1 may be as high as the picture.
    two = len(level) == 2 and all(line.ends and line.covered >= _FROM_EDGE_TO_EDGE for line in level)
    if not two and max(len(level), len(upright)) < _LEAST_LINES:
        return picture, False
    cleaned = picture.copy()
    for lines, view in ((level, cleaned), (upright, cleaned.swapaxes(0, 1))):
        for line in lines:
            if len(lines) >= _LEAST_LINES or line.covered > _COVERED_ALONE:
                _remove(view, line.rows)
    return cleaned, True


def _find(picture: np.ndarray) -> list[_Line]:
    """Finds almost level lines."""
    height, width = picture.shape[:2]
    scale = max(1.0, max(height, width) / _SIDE)
    light = Image.fromarray(np.ascontiguousarray(picture[..., :3])).convert("L").convert("F")
    strips = np.asarray(light.resize((_STRIPS, round(height / scale)), Image.Resampling.BOX))
    widest = int(np.clip(_WIDEST_PART * min(height, width), 3, _WIDEST))
    dark = ndimage.grey_closing(strips, (widest, 1)) - strips
    dark -= np.median(dark)
    is_dark = dark > max(_FAINTEST, 5 * float(np.median(np.abs(dark))))
    near = ndimage.maximum_filter(is_dark, (3, 1))
    across = np.linspace(-0.5, 0.5, _STRIPS) * width / scale  # Columns, from the middle.
    margin = int(_STEEPEST * width / scale / 2) + 1  # A tilted line may have its middle outside the picture.
    slopes = np.arange(-_STEEPEST, _STEEPEST, 4 * scale / width)
    long, part = np.stack([_along(near, slope * across, margin) for slope in slopes], 1)
    if long.max() < _COVERED:
        return []
    parallel = np.abs(slopes - slopes[long.max(1).argmax()]) <= _PARALLEL
    slopes, part = slopes[parallel], part[parallel]
    most, found, last = (part + 0.01 * long[parallel]).max(0) / 1.01, [], -_WIDEST  # Of two, the one that is longer.
    for row in np.flatnonzero((most >= _COVERED) & (most == ndimage.maximum_filter1d(most, _WIDEST))):
        if row - last < _WIDEST:  # The same line, in its next row.
            continue
        last = row
        rows = _traced(dark, is_dark, row - margin + slopes[part[:, row].argmax()] * across)
        columns = np.linspace(-0.5, 0.5, width) * width / scale
        at_ends = np.clip(np.rint(rows[[0, 1, -2, -1]]), 0, len(near) - 1).astype(int)
        ends = bool(near[at_ends, [0, 1, -2, -1]].all())
        found.append(_Line(float(most[row]), ends, np.interp(columns, across, (rows + 0.5) * scale - 0.5)))
    return found


def _along(dark: np.ndarray, shifts: np.ndarray, margin: int) -> np.ndarray:
    """How much is dark of lines with these shifts in the strips HxS, in the middle from row -margin to row H + margin.

    Returns:
      2xROWS: parts of the picture's width, and parts of what the picture has of each line, 0 for next to nothing.
    """
    counts = np.zeros((2, len(dark) + 2 * margin))
    for marks, count in zip((dark, np.ones_like(dark)), counts):
        padded = np.pad(marks.T, ((0, 0), (2 * margin, 2 * margin)))
        for strip, shift in zip(padded, margin + np.rint(shifts).astype(int)):
            count += strip[shift : shift + len(count)]
    marked, inside = counts
    seen = inside > _LEAST_INSIDE * len(shifts)
    return np.stack([marked / len(shifts), np.where(seen, marked, 0) / np.maximum(inside, 1)])


def _traced(dark: np.ndarray, is_dark: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The rows of a line that may bend a little: in every strip the darkest place beside the straight line's."""
    offsets = np.arange(-3, 4)[:, None]
    places = np.rint(rows).astype(int) + offsets
    inside = np.clip(places, 0, len(dark) - 1), np.arange(len(rows))
    weights = np.where(is_dark[inside] & (inside[0] == places), dark[inside], 0) + 1e-6 * (offsets == 0)
    centres = (weights * places).sum(0) / weights.sum(0)
    return rows + ndimage.median_filter(centres - rows, 9, mode="nearest")


def _remove(picture: np.ndarray, rows: np.ndarray) -> None:
    """Replaces the pixels of a line by the colours above and below it, but not those that are darker than the line."""
    columns = np.flatnonzero((rows > -2) & (rows < len(picture) + 1))  # Half of a line may be in the picture.
    reach = max(4, max(picture.shape[:2]) // 150)
    offsets = np.arange(-reach, reach + 1)
    places = np.rint(rows[columns]).astype(int) + offsets[:, None]
    outside = (places < 0) | (places >= len(picture))
    places = np.clip(places, 0, len(picture) - 1)
    colours = picture[places, columns, :3].astype(np.float32)
    light = colours.mean(-1)
    darkness = light.max(0) - light
    profile = np.median(darkness, axis=1)
    line = np.flatnonzero(profile > profile.min() + 0.25 * np.ptp(profile))
    if not len(line):
        return
    first, last = max(line[0] - 1, 1), min(line[-1] + 1, len(offsets) - 2)
    above = colours[np.where(outside[first - 1], last + 1, first - 1), np.arange(len(columns))]
    below = colours[np.where(outside[last + 1], first - 1, last + 1), np.arange(len(columns))]
    if darkness.max() > 2 * profile.max():  # The line is pale; pixels that are no darker are paper.
        filled = np.where((above.mean(-1) > below.mean(-1))[:, None], above, below)
    else:
        part = np.arange(1, last - first + 2)[:, None, None] / (last - first + 2)
        filled = (1 - part) * above + part * below
    ink = darkness[first : last + 1] > _DARKER * profile.max() + 10
    cleaned = np.where(ink[..., None], colours[first : last + 1], filled)
    picture[places[first : last + 1], columns, :3] = cleaned.round()
