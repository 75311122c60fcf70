"""Finds the digits in a picture, left to right, and brings each to MNIST's form."""

from collections.abc import Iterator, Sequence
import dataclasses
import os

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.sparse.csgraph import connected_components

from digits.data.pictures import ink, marks, mnist_form, opening, rules, shadows
from digits.errors import UserError

_WORKING_PIXELS, _WORKING_SIDE = 2_000_000, 5000  # Larger pictures are reduced to no more than these.
_BLACK = 16  # Of 256 levels: a picture without a brighter pixel looks black, and holds numbers of fewer bits.
_MOST_PIECES = 500
_MOST_HOLES = 12  # An 8 has two, and a rough pen leaves a few; squared paper has hundreds.
_MOST_LEAVING = 3  # Strokes of a tightly cut digit that end at one side of the picture.
_LONG, _DENSE = 0.5, 0.35  # Lines reach over so much of the picture's longer side, and fill no more of their box.
_LINES = "holds lines or squares from which no digit can be told: use blank paper."

Box = tuple[int, int, int, int]


class NoDigit(UserError):
    """A picture that can be opened, but holds no digit."""


@dataclasses.dataclass(frozen=True)
class Digit:
    """A digit of a picture.

    Attributes:
      image: 28x28 uint8, white on black, in MNIST's form.
      box: where it is: left, top, right, bottom in pixels of the upright picture, right and bottom exclusive.
    """

    image: np.ndarray
    box: Box


def read(source: str | os.PathLike | bytes) -> list[Digit]:
    """Reads the digits of a picture, line by line from the top, each line from left to right: `read("photo.jpg")`.

    Args:
      source: the path of an image file, or its content: PNG, JPEG, GIF, WebP, BMP or TIFF, of several pages the first.

    Raises:
      NoDigit: it holds no digit.
      UserError: it cannot be read as an image, is too large, or holds too many pieces of ink.
    """
    name = "the picture" if isinstance(source, bytes) else str(source)
    return _read_page(name, opening.open_picture(source))


def read_pages(source: str | os.PathLike | bytes) -> Iterator[list[Digit] | UserError]:
    """Yields the digits of every page of a TIFF, or frame of a GIF, PNG or WebP, or the sentence why it has none.

    Raises:
      UserError: the file cannot be read as an image; later pages may be damaged although the first was not.
    """
    name = "the picture" if isinstance(source, bytes) else str(source)
    for number, picture in enumerate(opening.open_pages(source), 1):
        try:
            yield _read_page(f"{name}, page {number}," if number > 1 else name, picture)
        except UserError as error:
            yield error


def _read_page(name: str, picture: Image.Image) -> list[Digit]:
    pixels, side = picture.width * picture.height, max(picture.size)
    factor = int(np.ceil(max(np.sqrt(pixels / _WORKING_PIXELS), side / _WORKING_SIDE)))
    values = np.asarray(picture.reduce(factor) if factor > 1 else picture)
    if picture.mode == "RGB" and 0 < values.max() < _BLACK:
        # Bytes of 0 and 1, or 10 or 12 bits of which the upper 8 were kept.
        largest = 2 ** int(values.max()).bit_length() - 1
        values = np.round(values * (255 / largest)).astype(np.uint8)
    paper, ruled = rules.without_rules(values)
    strength = ink.find_ink(shadows.without_shadows(paper))
    digits = []
    try:
        for box, mask in find(strength):
            left, top, right, bottom = box
            image = mnist_form.center(np.where(mask, strength[top:bottom, left:right], 0))
            corner = min(right * factor, picture.width), min(bottom * factor, picture.height)
            digits.append(Digit(image, (left * factor, top * factor, *corner)))
    except NoDigit as error:
        raise NoDigit(f"{name} {_LINES if ruled else error}") from error
    except UserError as error:
        raise UserError(f"{name} {error}") from error
    return digits


def find(strength: np.ndarray) -> list[tuple[Box, np.ndarray]]:
    """Finds digits: connected ink, joined where pieces lie over each other or a small one is close to a large one.

        boxes = [box for box, ink in find(strength)]

    Leaves out specks, flat lines, and pieces much smaller than the tallest digit.

    Args:
      strength: float HxW, from `ink.find_ink`.

    Returns:
      The box of every digit and the mask of its pixels in the box, in reading order.

    Raises:
      NoDigit: there is no digit. The sentence lacks its subject, the picture.
      UserError: there are far too many pieces of ink; the sentence likewise.
    """
    labels, count = ndimage.label(strength > mnist_form.WEAK, np.ones((3, 3)))
    areas = np.bincount(labels.ravel())
    reaches = np.zeros(count + 1, bool)
    reaches[labels[strength > mnist_form.STRONG]] = True
    areas[~reaches] = 0
    pieces = np.flatnonzero(areas >= max(4, 0.002 * areas.max()))
    if len(pieces) > _MOST_PIECES:
        raise UserError(f"holds {len(pieces):,} separate marks, but digits are told from at most {_MOST_PIECES}.")
    numbers = np.zeros(count + 1, np.int32)
    numbers[pieces] = np.arange(1, len(pieces) + 1)
    labels = numbers[labels]
    boxes = np.array([(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(labels)]).reshape(-1, 4)
    groups = _joined(boxes, _surroundings(labels, boxes))
    boxes = np.array([_around(boxes[group]) for group in groups]).reshape(-1, 4)
    digits = _digits_among(boxes, max(strength.shape))
    if not len(digits):
        if np.any(boxes[:, 2] - boxes[:, 0] > 0.6 * strength.shape[1]):
            raise NoDigit(_LINES)
        raise NoDigit("holds no digit: nothing in it that stands out from its background has the size of one.")
    found = []
    for index in digits[sum(lines(boxes[digits]), [])]:
        left, top, right, bottom = box = tuple(map(int, boxes[index]))
        mask = np.isin(labels[top:bottom, left:right], groups[index] + 1)
        if _are_lines(mask, box, strength.shape):
            raise NoDigit(_LINES)
        for part in marks.parts(mask, strength[top:bottom, left:right]):
            rows, columns = ndimage.find_objects(part.view(np.int8))[0]
            inner = left + columns.start, top + rows.start, left + columns.stop, top + rows.stop
            found.append((inner, part[rows, columns]))
    for (left, top, right, bottom), mask in found:
        if fault := marks.fault(mask):
            raise NoDigit(f"holds no digit that can be told: a mark of {right - left}x{bottom - top} pixels {fault}.")
    if len(found) == 1 and _crosses(found[0][0], strength.shape):
        raise NoDigit(
            "holds no digit that can be told: its only mark runs from edge to edge; leave paper around digits."
        )
    if marks.are_bars([mask for _, mask in found], np.array([box for box, _ in found])):
        raise NoDigit(f"holds no digit that can be told: {len(found)} bars side by side look like a barcode.")
    return [(box, ndimage.binary_dilation(mask, np.ones((3, 3)))) for box, mask in found]


def _crosses(box: Box, shape: tuple[int, int]) -> bool:
    """Whether a mark, such as a shadow, runs from side to side of a picture that is much wider, or higher, than it."""
    left, top, right, bottom = box
    height, width = shape
    if min(shape) < 64:
        return False
    upright = top == 0 and bottom == height and width > 2.5 * (right - left)
    return upright or (left == 0 and right == width and height > 2.5 * (bottom - top))


def _are_lines(mask: np.ndarray, box: Box, shape: tuple[int, int]) -> bool:
    """Whether ink in a large box is squared paper, full of holes, or ruled, leaving the picture again and again."""
    if max(mask.shape) < _LONG * max(shape) or mask.mean() > _DENSE:
        return False
    background, _ = ndimage.label(~np.pad(mask, 1))
    areas = np.bincount(background.ravel())[1:]
    holes = np.count_nonzero(areas > 1e-4 * mask.size) - 1  # Without the paper around the ink.
    sides = (mask[:, 0], mask[0], mask[:, -1], mask[-1])
    touching = [side for side, at, edge in zip(sides, box, (0, 0, *shape[::-1])) if at == edge]
    leaving = max((np.count_nonzero(np.diff(side.astype(int), prepend=0) > 0) for side in touching), default=0)
    return bool(holes > _MOST_HOLES or leaving > _MOST_LEAVING)


def _around(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])


def _surroundings(labels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """A mask of pieces that are no ink: frames around others, and things along the picture's edge, such as a table.

    Masks pieces along the edge only if another piece keeps off it, because a tightly cut digit lies along it too.
    """
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    across, down, _ = _overlaps(boxes)
    inside = (across == width) & (down == height) & (height < height[:, None])  # [i, j]: j in i.
    frame = (inside & (height > 0.45 * height[:, None])).any(1)
    edge = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    touching = np.bincount(edge, minlength=len(boxes) + 1)[1:]
    off = (touching == 0) & (height > 0.05 * max(labels.shape)) & ~frame
    return frame | (touching > 0.15 * 2 * (width + height)) & off.any()


def _joined(boxes: np.ndarray, without: np.ndarray) -> list[np.ndarray]:
    """Groups of indices of boxes that belong to one digit; those in the mask `without` are in none."""
    groups = [np.array([i]) for i in np.flatnonzero(~without)]
    while True:
        across, down, sizes = _overlaps(np.array([_around(boxes[group]) for group in groups]).reshape(-1, 4))
        width, height = sizes.T
        narrower = np.minimum(width, width[:, None])
        lower, taller = np.minimum(height, height[:, None]), np.maximum(height, height[:, None])
        longer = sizes.max(1)
        speck = np.minimum(longer, longer[:, None]) < 0.15 * taller
        stacked = (across >= 0.6 * narrower) & (down > -0.2 * taller)
        beside = (down > 0) & (across > -0.08 * taller) & (lower < 0.35 * taller)
        within = (across == narrower) & (down == lower)
        count, label = connected_components(within | ~speck & (stacked | beside), directed=False)
        if count == len(groups):
            return groups
        groups = [np.concatenate([groups[i] for i in np.flatnonzero(label == k)]) for k in range(count)]


def _overlaps(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far N boxes overlap across and down, NxN each, negative where they lie apart; and their sizes, Nx2."""
    low, high = boxes[:, :2], boxes[:, 2:]
    overlap = np.minimum(high, high[:, None]) - np.maximum(low, low[:, None])
    return overlap[..., 0], overlap[..., 1], high - low


def _digits_among(boxes: np.ndarray, side: int) -> np.ndarray:
    """The indices of boxes with the size of a digit in a picture with that longer side."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    able = (width <= 3 * height) & (height >= max(5, 0.01 * side))
    return np.flatnonzero(able & (height >= 0.35 * height[able].max(initial=0)))


def lines(boxes: Sequence[Box] | np.ndarray) -> list[list[int]]:
    """The indices of boxes line by line from the top, each line from left to right.

    Boxes that overlap by half their height, directly or over others, share a line.
    """
    boxes = np.array(boxes).reshape(-1, 4)
    _, down, sizes = _overlaps(boxes)
    count, line = connected_components(down >= 0.5 * np.minimum(sizes[:, 1], sizes[:, 1][:, None]), directed=False)
    from_top = sorted(range(count), key=lambda k: boxes[line == k, 1].mean())
    return [sorted(np.flatnonzero(line == k).tolist(), key=lambda i: boxes[i, 0]) for k in from_top]
