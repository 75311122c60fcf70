"""Finds the ink in a photo, scan or drawing: how much of each pixel is ink, whatever the colours and the light."""

import numpy as np
from PIL import Image
from scipy import ndimage

_LEAST_CONTRAST = 0.06  # Of colours in the unit cube: 9 of 255 levels of grey.
_PHOTOGRAPH = 64  # Pixels: in smaller pictures there are no shadows and no sheets of paper.
_SMALL = 96  # Pixels of the longer side: in such pictures strokes may fill so much that they look like noise.


def find_ink(picture: np.ndarray) -> np.ndarray:
    """Computes how much of each pixel is ink, from 0 to 1, whatever the colours of ink and background.

    Subtracts two backgrounds: a quadratic function of the place, fitted to the picture's border, because light is
    uneven; then areas broader than strokes, such as shadows. Ink differs from the background in one direction of
    colour. In a transparent picture, opaque pixels are ink. If the ink turns out to be a sheet of paper with something
    on it, the sheet becomes the background.

    Args:
      picture: uint8 HxWx3 (RGB) or HxWx4 (RGBA).

    Returns:
      float32 HxW, all 0 if nothing stands out from the noise.
    """
    colours = picture[..., :3].astype(np.float32) / 255
    transparent = picture.shape[-1] == 4 and picture[..., 3].min() < 128
    contrast = picture[..., 3].astype(np.float32) / 255 if transparent else _contrast(colours)
    # An area that reaches to several sides of an opaque picture may be a shadow. Transparency has no shadows.
    if (sheet := _sheet(contrast, most_sides=4 if transparent else 1)) is not None:
        rows, columns, mask = sheet
        inside = colours[rows, columns]
        on_sheet = _standing_out(_contrast(np.where(mask[..., None], inside, np.median(inside[mask], axis=0))))
        if on_sheet.any():
            strength = np.zeros_like(contrast)
            strength[rows, columns] = on_sheet
            return strength
    return _standing_out(contrast)


def _contrast(colours: np.ndarray) -> np.ndarray:
    """How far HxWxC colours, 0 to 1, lie from the background, HxW, along the direction in which most of them lie."""
    colours = colours - _lighting(colours)
    squares = np.einsum("hwc,hwc->hw", colours, colours)
    direction = np.einsum("hw,hwc->c", squares, colours)
    return colours @ (direction / max(float(np.linalg.norm(direction)), 1e-12)).astype(np.float32)


def _standing_out(contrast: np.ndarray) -> np.ndarray:
    """Removes broad areas and noise from the contrast, and scales it so that most of the ink has 1."""
    contrast = contrast - _broad(contrast)
    noise = _noise(contrast)
    clear = contrast[contrast > max(2 * noise, _LEAST_CONTRAST)]
    if not len(clear):
        return np.zeros_like(contrast)
    return np.clip((contrast - noise) / max(np.percentile(clear, 90) - noise, 1e-6), 0, 1).astype(np.float32)


def _noise(contrast: np.ndarray) -> float:
    """Three standard deviations of the noise, by the median difference of pixels so close that light hardly differs."""
    differences = np.abs(contrast[:, 4:] - contrast[:, :-4])
    noise = 3 / (0.6745 * np.sqrt(2)) * float(np.median(differences)) if differences.size else 0.0
    if max(contrast.shape) < _SMALL and min(contrast.shape) >= 5:
        # Second differences of neighbours are small where a stroke goes on, and have six times the noise's variance.
        second = [
            contrast[2:] - 2 * contrast[1:-1] + contrast[:-2],
            contrast.T[2:] - 2 * contrast.T[1:-1] + contrast.T[:-2],
        ]
        median = float(np.median(np.abs(np.concatenate([part.ravel() for part in second]))))
        noise = min(noise, 3 / (0.6745 * np.sqrt(6)) * median)
    return noise


def _sheet(contrast: np.ndarray, most_sides: int) -> tuple[slice, slice, np.ndarray] | None:
    """The box of a large solid area, such as a sheet of paper on a table, and the mask of its inside in the box.

    None if there is no such area, or if it touches more than `most_sides` sides of the picture.
    """
    labels, _ = ndimage.label(contrast > max(0.5 * float(contrast.max()), _LEAST_CONTRAST))
    areas = np.bincount(labels.ravel())[1:]
    if not len(areas) or areas.max() < 0.15 * contrast.size or min(contrast.shape) < _PHOTOGRAPH:
        return None
    mask = labels == areas.argmax() + 1
    if sum(side.any() for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1])) > most_sides:
        return None
    rows, columns = ndimage.find_objects(mask.view(np.int8))[0]
    mask = mask[rows, columns]
    if mask.mean() < 0.75:
        return None
    # Its rim is a mixture of both colours.
    mask = ndimage.binary_erosion(ndimage.binary_fill_holes(mask), iterations=2 + max(mask.shape) // 100)
    return (rows, columns, mask) if mask.any() else None


def _lighting(colours: np.ndarray) -> np.ndarray:
    """The background, HxWxC: a quadratic function of the place, fitted robustly, starting from the border's colour."""
    size = min(len(colours), 64), min(colours.shape[1], 64)
    values = resized(colours, size)
    powers = [np.linspace(-1, 1, n)[:, None] ** [0, 1, 2] for n in size]
    y, x = np.array([(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0)]).T  # The powers of both in each of the six terms.
    terms = powers[0][:, None, y] * powers[1][None, :, x]
    edge = np.ones(size, bool)
    edge[1:-1, 1:-1] = False
    distance = np.linalg.norm(values - np.median(values[edge], axis=0), axis=-1)
    largest = max(float(distance.max()), 1e-6)
    for scale in np.geomspace(0.5, 0.1, 8) * largest:  # Weights of Geman and McClure, narrower every time.
        weighted = terms / (1 + (distance / scale) ** 2)[..., None] ** 2
        normal, right = (np.tensordot(weighted, other, ((0, 1), (0, 1))) for other in (terms, values))
        solution = np.linalg.lstsq(normal, right, rcond=1e-9)[0]
        distance = np.linalg.norm(values - terms @ solution, axis=-1)
    factors = np.zeros((3, 3, colours.shape[-1]))
    factors[y, x] = solution
    rows, columns = (np.linspace(-1, 1, n)[:, None] ** [0, 1, 2] for n in colours.shape[:2])
    across = np.einsum("ijc,wj->iwc", factors, columns).astype(np.float32)
    return np.tensordot(rows.astype(np.float32), across, 1)


def _broad(contrast: np.ndarray) -> np.ndarray:
    """The contrast in areas broader than strokes, HxW, and about 0 elsewhere: an opening by a square window.

    Of three windows, takes the smallest whose opening leaves the edges of strokes intact, which is about a stroke wide.
    Doubles it, because strokes are wider where they meet.
    """
    height, width = contrast.shape
    if max(height, width) < _PHOTOGRAPH:
        return np.zeros_like(contrast)
    scale = max(1, max(height, width) / 96)
    small = np.maximum(resized(contrast, (max(1, round(height / scale)), max(1, round(width / scale)))), 0)
    edges = ndimage.gaussian_gradient_magnitude(small, 0.7)

    def opened(side: float) -> np.ndarray:  # Eroded, then dilated.
        window = max(3, round(side * max(small.shape)))
        eroded = ndimage.minimum_filter(small, window, mode="constant")
        return np.minimum(ndimage.maximum_filter(eroded, window, mode="constant"), small)

    def leaves_edges(side: float) -> bool:
        return np.sum(edges * (small - opened(side))) > 0.98 * np.sum(edges * small)

    broad = opened(2 * next(filter(leaves_edges, (0.05, 0.1)), 0.2))
    return np.asarray(Image.fromarray(broad).resize((width, height), Image.Resampling.BILINEAR))


def resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes HxW or HxWxC values; each new pixel is the mean over the area that it covers."""
    rows, columns = (_coverage(old, new) for old, new in zip(values.shape, size))
    return np.moveaxis(np.tensordot(columns, np.tensordot(rows, values, 1), (1, 1)), 0, 1)


def _coverage(old: int, new: int) -> np.ndarray:
    """The share of each new pixel that each old one covers along one axis, NEWxOLD; rows sum to 1."""
    edges = np.linspace(0, old, new + 1)[:, None]
    covered = np.clip(edges - np.arange(old), 0, 1)
    return (np.diff(covered, axis=0) * (new / old)).astype(np.float32)
