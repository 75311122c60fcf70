"""Opens pictures of any kind as RGB or RGBA, with suspicion: sizes are checked before memory is taken."""

from collections.abc import Iterator
import io
import itertools
import os
import pathlib
import re
import warnings

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from digits.data import pixels
from digits.errors import UserError, reason

MOST_PIXELS = 64_000_000  # That is 256 MB when decoded; phones take 8192 x 6144.
# Decoding takes memory and time for every row, also for rows of one pixel. A scan of as many pixels that is twenty
# times as long as it is wide has 36,000.
MOST_SIDE = 40_000
_LARGEST_TILE = 2**22  # Pixels of a TIFF's tile, which is decoded whole, however small the image is.
# Pillow's decoders of photographs and drawings. Of its others, some start programs and many are hardly ever tested.
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
# JPEGs have up to a dozen scans. A hundred bytes can ask for one more over the whole picture, which takes 50 ms.
_MOST_SCANS = 64
MOST_PAGES = 20  # Pages of a TIFF, frames of a GIF, PNG or WebP.
_PAGED = ("TIFF", "GIF", "PNG", "WEBP")  # A phone's JPEG may hold a second picture too: a preview or the depth.
# TIFF's tags. In the kind of page, bit 0 marks a smaller copy of another page, bit 2 a mask.
_KIND_OF_PAGE, _BITS, _TILE_WIDTH, _TILE_HEIGHT = 254, 258, 322, 323
_STRIP = 1_000_000  # Pixels of more than 8 bits that are converted at once.
_JPEG_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")


def open_picture(source: str | os.PathLike | bytes, white: float | None = None) -> Image.Image:
    """Opens the first page of an image file, as `open_pages` does: `open_picture("photo.jpg")`."""
    return next(open_pages(source, white))


def open_pages(source: str | os.PathLike | bytes, white: float | None = None) -> Iterator[Image.Image]:
    """Opens an image file, page by page: `for page in open_pages("scans.tiff")`.

    Args:
      source: the path of the file, or its content.
      white: the value of white in a picture of more than 8 bits; by default the largest number of as many bits as the
        picture's largest value has: 1023 for a picture of 10 bits.

    Yields:
      Images in the mode RGB or RGBA, turned upright by their EXIF data: the pages of a TIFF without the smaller copies
      of others, the frames of a GIF, PNG or WebP, or the one image of another file. The `info` of one of more than 8
      bits has its `white`.

    Raises:
      UserError: it is no image, declares too many pixels in all or on a side, or has more than MOST_PAGES pages. Sizes
        are checked before anything is decoded.
    """
    if isinstance(source, bytes):
        name, file, size = "the picture", io.BytesIO(source), len(source)
    else:
        name, file, size = str(source), pathlib.Path(source), _file_size(pathlib.Path(source))
    if size == 0:
        raise UserError(f"{name} is empty: it has no bytes.")
    try:
        with warnings.catch_warnings():  # Pillow warns of oddities in a file, and of a limit that is not ours.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_FORMATS) as image:
                if image.format in ("JPEG", "MPO"):
                    _check_scans(name, source if isinstance(source, bytes) else pathlib.Path(source).read_bytes())
                for number in _page_numbers(name, image):
                    image.seek(number)
                    _check_size(name, image)
                    image.load()
                    if getattr(image, "is_animated", False):  # The next page is decoded into the same object.
                        yield _in_colours(ImageOps.exif_transpose(image), white)
                    else:  # A copy could take 256 MB.
                        ImageOps.exif_transpose(image, in_place=True)
                        yield _in_colours(image, white)
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} has too many pixels: it may have {MOST_PIXELS:,} in all.") from error
    except UnidentifiedImageError as error:
        raise UserError(
            f"{name} is no image that can be read: it must be PNG, JPEG, GIF, BMP, WebP or TIFF."
        ) from error
    except UserError:
        raise
    except Exception as error:  # Decoders raise anything, SyntaxError among others, on a damaged file.
        raise UserError(f"{name} cannot be read as an image: {reason(error)}.") from error


def _file_size(path: pathlib.Path) -> int:
    """The size of a file in bytes; UserError if there is no such file, or it cannot be read."""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder, but it must be an image file: name those in it, as {path}/*.png.")
        if not path.is_file():  # Reading a pipe or a device could take for ever.
            raise UserError(f"{path} is {'no regular file' if path.exists() else 'not there'}: name an image file.")
        return path.stat().st_size
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte.
        raise UserError(f"{path!s:.200} cannot be read: {reason(error)}.") from error


def declared_pixels(content: bytes) -> int:
    """The number of pixels that an image file declares for its first page; 0 if it is no image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                return image.width * image.height
    except Exception:  # As in `open_pages`, which tells the reason.
        return 0


def _check_size(name: str, image: Image.Image) -> None:
    """Raises UserError for an image whose declared size would take too much memory or time."""
    size, subject, most = f"{image.width:,} x {image.height:,}", "it", MOST_PIXELS
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    bits = sum(tags.get(_BITS, ())) or 32  # Older versions of Pillow open PNGs of 16 bits as of 32.
    # Decoders hold these in memory two to four times.
    heavy = {
        "a WebP": image.format == "WEBP",
        "a progressive JPEG": image.format == "JPEG" and "progressive" in image.info,
        "one in CMYK": image.mode == "CMYK",
        f"one of {bits} bits a pixel": bits > 48 or image.mode in ("I", "F"),
    }
    if any(heavy.values()):
        subject, most = next(kind for kind in heavy if heavy[kind]), MOST_PIXELS // 2
    if image.width * image.height > most:
        raise UserError(f"{name} has {size} pixels, but {subject} may have {most:,} in all.")
    if max(image.size) > MOST_SIDE:
        raise UserError(f"{name} has {size} pixels, but it may have {MOST_SIDE:,} on a side.")
    width, height = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_HEIGHT, 0)
    if width * height > max(_LARGEST_TILE, image.width * image.height):
        raise UserError(f"{name} is a TIFF with tiles of {width:,} x {height:,} pixels, but has only {size} pixels.")


def _check_scans(name: str, jpeg: bytes) -> None:
    """Raises UserError for a JPEG of too many scans. Scans of thumbnails, inside or behind the image, do not count."""
    place, scans = 2, 0
    while (marker := _JPEG_MARKER.search(jpeg, place)) and marker[0] != b"\xff\xd9":  # The image's end.
        scans += marker[0] == b"\xff\xda"
        # A segment starts with its length. A scan's data follow its segment; the next search passes over them, because
        # they contain no marker.
        place = marker.end() + int.from_bytes(jpeg[marker.end() : marker.end() + 2])
    if scans > _MOST_SCANS:
        raise UserError(f"{name} is a JPEG of {scans:,} scans, but it may have {_MOST_SCANS}.")


def _page_numbers(name: str, image: Image.Image) -> Iterator[int]:
    """The numbers of an image's pages, from 0: one where another page would be no picture of its own."""
    found = 0
    for number in itertools.count():
        try:
            image.seek(number)
        except EOFError:
            break
        if isinstance(image, TiffImagePlugin.TiffImageFile) and number and image.tag_v2.get(_KIND_OF_PAGE, 0) & 5:
            continue
        if found == MOST_PAGES:
            raise UserError(
                f"{name} has more than {MOST_PAGES} pages or frames: save those to be read as files of their own."
            )
        found += 1
        yield number
        if image.format not in _PAGED or not getattr(image, "is_animated", False):
            break


def _in_colours(image: Image.Image, white: float | None) -> Image.Image:
    """Converts an image of any mode to RGB, or to RGBA if it may have transparent pixels."""
    info = {}
    if image.mode.startswith(("I", "F")):  # 16 or 32 bit, or floats: Pillow would clip them to 8 bit.
        width, height, rows = *image.size, max(1, _STRIP // image.width)
        strips = (image.crop((0, top, width, min(top + rows, height))) for top in range(0, height, rows))
        values = [np.nan_to_num(np.asarray(strip, np.float32), posinf=0, neginf=0) for strip in strips]
        low, high = min(float(strip.min()) for strip in values), max(float(strip.max()) for strip in values)
        try:
            found = pixels.scale(*values) if image.mode == "F" else pixels.whole_scale(int(high))
        except ValueError:  # Nothing tells what the values are: the picture's own range.
            found = pixels.Scale(low, max(high, low + 1))
        if image.mode != "F":
            info["white"] = found.white
            found = pixels.Scale(found.black, white or found.white)
        image = Image.fromarray(np.concatenate([found.bytes_of(strip) for strip in values]))
        del values
    transparent = image.mode.endswith(("A", "a")) or "transparency" in image.info
    mode = "RGBA" if transparent else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    image.info.update(info)
    return image
