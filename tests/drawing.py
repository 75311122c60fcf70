"""Digits as a person might draw, print or photograph them, to be read by a network that was trained on others.

`forty` is a fixed set of them. They are made once, not fitted to what some network reads.
"""

import io
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# The course of the pen, x to the right and y down in the unit square: smooth through the points of a stroke.
STROKES = {
    0: [[(0.55, 0.03), (0.25, 0.15), (0.12, 0.5), (0.25, 0.88), (0.52, 0.97), (0.8, 0.83), (0.88, 0.48), (0.75, 0.13),
         (0.52, 0.03)]],
    1: [[(0.34, 0.24), (0.45, 0.16), (0.56, 0.03)], [(0.56, 0.03), (0.53, 0.5), (0.5, 0.97)]],
    2: [[(0.15, 0.24), (0.3, 0.06), (0.6, 0.05), (0.77, 0.25), (0.65, 0.5), (0.36, 0.76), (0.12, 0.95)],
        [(0.12, 0.95), (0.5, 0.93), (0.88, 0.95)]],
    3: [[(0.18, 0.12), (0.45, 0.03), (0.74, 0.15), (0.68, 0.37), (0.4, 0.47)],
        [(0.4, 0.47), (0.73, 0.54), (0.82, 0.76), (0.56, 0.96), (0.15, 0.88)]],
    4: [[(0.24, 0.05), (0.19, 0.3), (0.14, 0.58)], [(0.14, 0.58), (0.5, 0.55), (0.88, 0.54)],
        [(0.68, 0.08), (0.66, 0.5), (0.62, 0.97)]],
    5: [[(0.26, 0.05), (0.23, 0.25), (0.2, 0.45)],
        [(0.2, 0.45), (0.5, 0.37), (0.79, 0.55), (0.77, 0.82), (0.5, 0.97), (0.12, 0.88)], [(0.26, 0.05), (0.8, 0.04)]],
    6: [[(0.68, 0.03), (0.36, 0.25), (0.16, 0.63), (0.33, 0.94), (0.66, 0.9), (0.75, 0.68), (0.52, 0.54), (0.2, 0.7)]],
    7: [[(0.12, 0.08), (0.5, 0.08), (0.85, 0.05)], [(0.85, 0.05), (0.58, 0.5), (0.42, 0.97)]],
    8: [[(0.73, 0.16), (0.5, 0.03), (0.27, 0.2), (0.5, 0.45), (0.76, 0.73), (0.5, 0.97), (0.22, 0.75), (0.48, 0.47),
         (0.74, 0.22), (0.73, 0.14)]],
    9: [[(0.76, 0.2), (0.5, 0.04), (0.22, 0.24), (0.4, 0.48), (0.7, 0.36), (0.77, 0.14)],
        [(0.77, 0.14), (0.75, 0.5), (0.66, 0.97)]],
}  # fmt: skip
FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral", "DejaVuSans-Bold")


def written(digit: int, side: int, pen: float, seed: int) -> np.ndarray:
    """Coverage of ink, 0 to 1, side x side: a digit by hand that is `side` - 2 pens high or wide.

    Args:
      digit: 0 to 9.
      side: pixels.
      pen: the width of its round tip, as a fraction of the side.
      seed: of what differs from hand to hand: slant, turn, proportions, and where exactly the strokes go.
    """
    rng = np.random.default_rng(seed)
    slant, turn = rng.normal(0.08, 0.08), rng.normal(0, 0.06)
    narrow = rng.uniform(0.6, 0.85)
    matrix = np.array([[narrow, -slant], [0, 1]]) @ np.array(
        [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    )
    moved = {}  # Strokes that meet still do.
    strokes = []
    for points in STROKES[digit]:
        points = [moved.setdefault(p, np.array(p) + rng.normal(0, 0.012, 2)) for p in points]
        strokes.append(_smooth(np.array(points)) @ matrix.T)
    everything = np.concatenate(strokes)
    low, extent = everything.min(0), np.ptp(everything, axis=0)
    big = max(side, 400)
    scale = big * (1 - 2 * pen) / extent.max()
    offset = (big - extent * scale) / 2
    image = Image.new("L", (big, big))
    draw, radius = ImageDraw.Draw(image), max(0.5, big * pen / 2)
    for stroke in strokes:
        for x, y in (stroke - low) * scale + offset:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX), np.float32) / 255


def _smooth(points: np.ndarray) -> np.ndarray:
    """A Catmull-Rom spline through the points, as a dense line."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, 200)[:, None]
    parts = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:]):
        parts.append(b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))
    return np.concatenate(parts)


def printed(digit: int, side: int, font: str) -> np.ndarray:
    """Coverage of ink, 0 to 1, side x side: a digit of a font that matplotlib carries, 0.8 of the side high."""
    import matplotlib

    path = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    image = Image.new("L", (side, side))
    type_ = ImageFont.truetype(str(path), max(1, round(1.1 * side)))
    ImageDraw.Draw(image).text((side / 2, side / 2), str(digit), fill=255, font=type_, anchor="mm")
    return np.asarray(image, np.float32) / 255


def placed(coverage: np.ndarray, width: int, height: int, x: float, y: float) -> np.ndarray:
    """The coverage within a larger picture; x and y from 0 (left, top) to 1 (right, bottom)."""
    page = np.zeros((height, width), np.float32)
    left, top = round((width - coverage.shape[1]) * x), round((height - coverage.shape[0]) * y)
    page[top : top + coverage.shape[0], left : left + coverage.shape[1]] = coverage
    return page


def coloured(coverage: np.ndarray, ink, paper) -> np.ndarray:
    """uint8 HxWx3 of an ink on a paper, both RGB, or HxWx4 on none: `paper` is None for a transparent picture."""
    amount = coverage[..., None]
    if paper is None:
        rgb = np.broadcast_to(np.float32(ink), (*coverage.shape, 3))
        return np.concatenate([rgb, 255 * amount], -1).round().astype(np.uint8)
    return (np.float32(ink) * amount + np.float32(paper) * (1 - amount)).round().astype(np.uint8)


def photographed(picture: np.ndarray, seed: int) -> np.ndarray:
    """uint8 HxWx3: the picture under light from one side, a soft shadow across a corner, and with noise."""
    rng = np.random.default_rng(seed)
    height, width = picture.shape[:2]
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    light = 0.95 - 0.35 * (x * rng.uniform(0.3, 1) + y * rng.uniform(0.3, 1)) / 2
    light *= 1 - 0.25 / (1 + np.exp(-(x + y - 1.5) * 40))
    blurred = picture * light[..., None] + rng.normal(0, 4, picture.shape)
    return np.clip(blurred, 0, 255).astype(np.uint8)


def lined(coverage, line=(170, 195, 230), spacing=48, thick=2, squares=False, tilt=0.0, margin=False) -> np.ndarray:
    """uint8 HxWx3: ink on ruled paper, or squared, whose lines are tilted by some degrees; a margin is a red line."""
    height, width = coverage.shape
    y, x = np.mgrid[:height, :width].astype(float)
    slope = np.tan(np.radians(tilt))
    down, across = y - slope * x, x + slope * y

    def stripes(place):
        distance = (place - 20) % spacing
        return np.clip(thick / 2 + 0.5 - np.minimum(distance, spacing - distance), 0, 1)

    rules = np.maximum(stripes(down), stripes(across)) if squares else stripes(down)
    paper = np.float32(line) * rules[..., None] + np.float32((240, 238, 230)) * (1 - rules[..., None])
    if margin:
        red = np.clip(thick / 2 + 0.5 - np.abs(across - 120), 0, 1)[..., None]
        paper = np.float32((220, 90, 90)) * red + paper * (1 - red)
    amount = coverage[..., None]
    return (np.float32((35, 40, 90)) * amount + paper * (1 - amount)).round().astype(np.uint8)


def encoded(picture: np.ndarray, kind: str = "PNG", **options) -> bytes:
    """An image file with the picture, uint8 HxW, HxWx3 or HxWx4."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


BLACK, WHITE = (0, 0, 0), (255, 255, 255)
SCREENS = ((WHITE, BLACK), ((255, 220, 90), (40, 60, 140)), ((200, 30, 30), (190, 225, 190)), ((230,) * 3, (70,) * 3))
PENS = (((20, 40, 140), WHITE), (BLACK, None), ((250, 250, 250), None), ((150, 40, 30), (245, 225, 150)))
CORNERS = ((0, 0), (1, 0), (0.5, 0.5), (0, 1), (1, 1))


def forty() -> list[tuple[int, bytes, str]]:
    """(label, PNG file, description) of each digit printed, on a screen, photographed, and with a fine pen."""
    drawings = []
    for digit in range(10):
        font = FONTS[digit % 5]
        page = placed(printed(digit, 160, font), 200, 240, 0.5, 0.5)
        drawings.append((digit, coloured(page, (30, 30, 30), WHITE), f"printed in {font}"))

        side, (ink, paper), (x, y) = (20, 32, 48, 90, 150)[(digit + 2) % 5], SCREENS[digit % 4], CORNERS[digit % 5]
        page = placed(written(digit, max(16, side // 2), 0.11, seed=digit), side, side, x, y)
        drawings.append((digit, coloured(page, ink, paper), f"drawn on a screen of {side} pixels, {ink} on {paper}"))

        page = placed(written(digit, 420, 0.06 + 0.006 * digit, seed=20 + digit), 800, 600, 0.3 + 0.04 * digit, 0.6)
        photo = photographed(coloured(page, (50, 50, 60), (235, 230, 220)), seed=digit)
        drawings.append((digit, photo, "photographed, with a felt pen, in uneven light"))

        (ink, paper), (x, y) = PENS[digit % 4], CORNERS[(digit + 3) % 5]
        side, part = (2000, 1200, 700)[digit % 3], (0.9, 0.45, 0.7)[digit % 3]
        page = placed(written(digit, round(part * side), 0.006, seed=40 + digit), side, side, x, y)
        drawings.append((digit, coloured(page, ink, paper), f"with a fine pen on {side} pixels, {ink} on {paper}"))
    return [(digit, encoded(picture, compress_level=1), description) for digit, picture, description in drawings]


def page(digit=5, side=120, pen=0.09, width=200, height=160, x=0.5, y=0.5, seed=7):
    """A page with one digit, HxW: how much of each pixel is ink."""
    return placed(written(digit, side, pen, seed), width, height, x, y)
