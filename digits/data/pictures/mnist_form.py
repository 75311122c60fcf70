"""Brings the ink of one digit into MNIST's form: 20x20 pixels, placed in 28x28 by its centre of mass."""

import numpy as np
from PIL import Image
from scipy import ndimage

from digits.data.dataset import SIDE
from digits.data.pictures import ink

BOX = 20  # Pixels of the longer side of a digit's ink.
# Fractions of the ink's full strength: a piece of ink reaches STRONG somewhere and extends as far as WEAK.
STRONG, WEAK = 0.5, 0.2
# In pixels of 28x28: strokes thinner than _THIN are widened to _THICKENED. By `stroke_width`, MNIST's test images
# have 1.5 (1st percentile), 2.4 (median) and 4.5 (99th percentile).
_THIN, _THICKENED = 1.25, 2.0


def center(strength: np.ndarray) -> np.ndarray:
    """Brings the ink of one digit, cut out along its box, into MNIST's form.

    Args:
      strength: float HxW, from 0 to 1, not all 0.

    Returns:
      uint8 28x28: strokes at least 2 pixels wide or so, at most 20x20, full contrast, the centre of mass in the middle.
    """
    strength = _thickened(strength)
    scale = BOX / max(strength.shape)
    return placed(ink.resized(strength, tuple(max(1, round(n * scale)) for n in strength.shape)))


def placed(small: np.ndarray) -> np.ndarray:
    """Puts a digit of at most 20x20 pixels into uint8 28x28: full contrast, its centre of mass in the middle."""
    small = np.round(small * (255 / small.max())).astype(np.uint8)
    image = np.zeros((SIDE, SIDE), np.uint8)
    mass = small.astype(float)
    place = []
    for axis, size in enumerate(small.shape):
        middle = mass.sum(1 - axis) @ np.arange(size) / mass.sum()
        # MNIST's centres of mass are from 13.5 to below 14.5. A digit that would be cut off there is kept whole.
        shift = int(np.clip(np.ceil((SIDE - 1) / 2 - middle), 0, SIDE - size))
        place.append(slice(shift, shift + size))
    image[tuple(place)] = small
    return image


def stroke_width(strength: np.ndarray) -> float:
    """The width of strokes in pixels: twice the area over the perimeter, the total variation (coarea formula)."""
    padded = np.pad(strength, 1)
    slopes = np.hypot(np.diff(padded, axis=0)[:, :-1], np.diff(padded, axis=1)[:-1])
    return 2 * float(strength.sum() / slopes.sum())


def _thickened(strength: np.ndarray) -> np.ndarray:
    """Widens strokes that would be too thin in 20x20 pixels, by the same amount everywhere; keeps others."""
    side, width = max(strength.shape), stroke_width(strength)
    if width * BOX / side >= _THIN:
        return strength
    zoom = int(np.ceil(100 / side))
    if zoom > 1:  # Otherwise the widened strokes of small pictures would have steps.
        small = Image.fromarray(np.pad(strength, 1).astype(np.float32))
        strength = np.asarray(small.resize((small.width * zoom, small.height * zoom), Image.Resampling.BICUBIC))
        side, width = side * zoom, width * zoom
    # The widening widens the box too: (width + wider) / (side + wider) = thickened / BOX.
    wider = (_THICKENED * side - BOX * width) / (BOX - _THICKENED)
    padded = np.pad(strength, int(wider / 2) + 2)
    distance = ndimage.distance_transform_edt(padded < 0.35)  # Less than half: thin strokes are nowhere full.
    widened = np.clip(wider / 2 + 1 - distance, 0, 1)
    rows, columns = (np.flatnonzero((widened > WEAK).any(axis)) for axis in (1, 0))
    return widened[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
