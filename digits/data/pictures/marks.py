"""Judges marks of ink: tells those that are no digit, such as frames and solid areas, and parts digits that touch."""

import numpy as np
from scipy import ndimage

from digits.data.pictures import mnist_form

# Of 3,000 of MNIST's test images, blown up, at most: thickness 0.49, length 3.6, holes 4, ratio of width to height 1.8.
_THICKEST = 0.65  # Of a mark's longer side: the diameter of the largest circle in its ink.
_LONGEST = 4.5  # Times a mark's longer side: the length of its strokes.
_MOST_HOLES, _LEAST_HOLE = 5, 0.002  # The least area of a hole is of the mark's box.
_WIDEST = 2.2  # Times its height.
_ZEROS_WIDTHS = 0.35, 0.75  # Times the height: a frame of these proportions may be a zero.
_MOST_BARS = 5  # Alike, side by side: more are a barcode.
# The least ratio of width to height of digits that touch halfway up, and of others: an open 0 or 4 looks like those.
_TOUCHING, _TOUCHING_AT_END, _TWO_WIDE = 1.15, 1.3, 1.5
_AT_END = 0.33  # Of the height: nearer to the top or bottom is at an end.
_SEAM, _SEAM_OF_WIDE = 1.5, 4.5  # Strokes that touch are cut over so many times their width at most.
_TALL = 0.85  # The least height of each part, of the whole.
_NARROW = 0.12  # The least ratio of width to height of each part.


def fault(mask: np.ndarray) -> str:
    """Says why a mark is no digit, "is a solid area", from the mask of its ink in its box; "" if it may be one."""
    height, width = mask.shape
    side = max(mask.shape)
    padded = np.pad(mask, 1)
    if 2 * ndimage.distance_transform_edt(padded).max() > _THICKEST * side and min(mask.shape) > _THICKEST * side:
        return "is a solid area"
    background, _ = ndimage.label(~padded)
    holes = np.count_nonzero(np.bincount(background.ravel())[1:] > max(3, _LEAST_HOLE * mask.size)) - 1
    length = mask.sum() / mnist_form.stroke_width(mask.astype(np.float32)) / side
    if holes > _MOST_HOLES or length > _LONGEST:
        return "looks like a grid or a pattern"
    if _is_frame(mask):
        return "is a frame"
    if width > _WIDEST * height:
        return f"is {width / height:.1f} times as wide as it is high: it may be several digits that touch; leave gaps"
    return ""


def _is_frame(mask: np.ndarray) -> bool:
    """Whether ink runs along all four sides of the mark's box and into its corners."""
    height, width = mask.shape
    if _ZEROS_WIDTHS[0] * height < width < _ZEROS_WIDTHS[1] * height or width < _ZEROS_WIDTHS[0] * height:
        return False
    depth = max(1, round(0.06 * min(mask.shape)))
    turned = [np.rot90(mask, k) for k in range(4)]
    return all(one[:depth].any(0).mean() > 0.97 and one[:depth, :depth].any() for one in turned)


def are_bars(masks: list[np.ndarray], boxes: np.ndarray) -> bool:
    """Whether most marks are upright bars between the same two heights, as in a barcode."""
    bars = np.array([mask.mean() > 0.9 and mask.shape[1] < 0.4 * mask.shape[0] for mask in masks], bool)
    if np.count_nonzero(bars) <= max(_MOST_BARS, 0.7 * len(masks)):
        return False
    ends = boxes[bars][:, [1, 3]]
    return bool((np.ptp(ends, axis=0) < 0.03 * np.ptp(ends)).all())


def parts(mask: np.ndarray, strength: np.ndarray) -> list[np.ndarray]:
    """Parts digits that touch: masks like the given one, from left to right, or only it if it may be one digit.

    first, second = parts(mask, strength)

    Cuts where the least ink is cut from top to bottom. Keeps the cut if it severs hardly more than one stroke, and
    leaves on both sides a mark that is almost as high as the whole, and if the whole does not look like an open 0 or 4.

    Args:
      mask, strength: HxW, the ink of a mark in its box.
    """
    height, width = mask.shape
    if width < _TOUCHING * height or height < 8:
        return [mask]
    ink = np.where(mask, strength, 0)
    seam = _seam(ink)
    cut = ink[np.arange(height), seam]
    at = np.flatnonzero(cut > 0).mean() / height if cut.any() else 0.5
    at_end = min(at, 1 - at) < _AT_END
    if at_end and width < _TOUCHING_AT_END * height:
        return [mask]
    strokes = np.count_nonzero(np.diff((cut > 0).astype(int), prepend=0) > 0)
    stroke = mnist_form.stroke_width(ink)
    wide = width >= _TWO_WIDE * height
    if strokes > 1 or cut.sum() > (_SEAM_OF_WIDE if wide else _SEAM) * stroke:
        return [mask]
    if _encloses(mask, seam, stroke) or (at_end and not wide and _is_bay(mask, seam)):
        return [mask]
    left = mask & (np.arange(width) < seam[:, None])
    found = [_largest(left), _largest(mask & ~left)]
    for part in found:
        rows, columns = (np.flatnonzero(part.any(axis)) for axis in (1, 0))
        tall, wide = (np.ptp(places) + 1 if len(places) else 0 for places in (rows, columns))
        if tall < _TALL * height or wide < _NARROW * tall:
            return [mask]
    return [part for half in found for part in _parts_within(half, ink)]


def _parts_within(mask: np.ndarray, ink: np.ndarray) -> list[np.ndarray]:
    """The parts of a mark that fills no more than a part of its array."""
    box = ndimage.find_objects(mask.view(np.int8))[0]
    whole = []
    for part in parts(mask[box], ink[box]):
        whole.append(np.zeros_like(mask))
        whole[-1][box] = part
    return whole


def _encloses(mask: np.ndarray, seam: np.ndarray, reach: float) -> bool:
    """Whether ink that is widened by some pixels encloses paper on both sides of a seam: an open 0 does."""
    margin = int(reach) + 2
    paper = ndimage.distance_transform_edt(~np.pad(mask, margin)) > reach
    labels, _ = ndimage.label(paper)
    labels = np.where(labels == labels[0, 0], 0, labels)[margin:-margin, margin:-margin]
    right = np.arange(mask.shape[1]) >= seam[:, None]
    return bool(np.intersect1d(labels[right], labels[~right]).any())


def _is_bay(mask: np.ndarray, seam: np.ndarray) -> bool:
    """Whether ink lies on both sides of most of a seam and closer than half the mark's height: in a U it does."""
    height = len(mask)
    reach = height / 4
    padded = np.pad(mask, int(reach) + 2)
    closed = ndimage.distance_transform_edt(ndimage.distance_transform_edt(~padded) <= reach) > reach
    inner = closed[int(reach) + 2 : -int(reach) - 2, int(reach) + 2 : -int(reach) - 2]
    return bool(inner[np.arange(height), seam].mean() > 0.5)


def _seam(ink: np.ndarray) -> np.ndarray:
    """The path from top to bottom that cuts the least ink, through no loop: its column in every row."""
    height, width = ink.shape
    loops = ndimage.binary_fill_holes(ink > 0) & (ink == 0)
    cost = np.where(loops, float(height), ink + 1e-4)  # Straight through paper.
    cost[:, : width // 6] = cost[:, width - width // 6 :] = np.inf
    total, came = cost[0], np.zeros((height, width), np.int8)
    for row in range(1, height):
        beside = np.stack([np.r_[np.inf, total[:-1]] + 1e-4, total, np.r_[total[1:], np.inf] + 1e-4])
        came[row] = beside.argmin(0)
        total = beside.min(0) + cost[row]
    seam = np.empty(height, int)
    seam[-1] = total.argmin()
    for row in range(height - 1, 0, -1):
        seam[row - 1] = seam[row] + came[row, seam[row]] - 1
    return seam


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    areas = np.bincount(labels.ravel())
    return mask & (labels == areas[1:].argmax() + 1) if len(areas) > 1 else mask
