"""Bytes of an untrusted file -> upright RGB pixels. The only decoder, for training and serving.

All limits live here: the format is told from the content, and the size from the header, before
anything is decoded or allocated. See docs/decisions/0005-decode.md.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from shopwindow.errors import (
    ImageError,
    OversizedImageError,
    UnreadableImageError,
    UnsupportedImageError,
)
from shopwindow.imaging.colour import to_rgb
from shopwindow.imaging.exif import read_orientation, turn_upright

ACCEPTED_FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

DEFAULT_MAX_PIXELS = 50_000_000

_OPENERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}
_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)


def decode_image(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode the first frame of an image file.

    EXIF orientation is applied, transparency is laid over white, deep pixels are scaled to 8 bits.

    Args:
        data: The content of a file, in one of `ACCEPTED_FORMATS`; its name plays no part.
        max_pixels: Width x height above which the image is refused unseen.

    Returns:
        (H, W, 3) uint8, RGB, 0 to 255.

    Raises:
        UnsupportedImageError: Empty, or not one of the accepted formats.
        OversizedImageError: More than `max_pixels`.
        UnreadableImageError: An accepted format, but damaged or truncated.
    """
    format_ = _identify(data)
    try:
        image = _OPENERS[format_](io.BytesIO(data))
        _check_size(image.size, max_pixels)
        image.load()
        orientation = 1 if format_ == "TIFF" else read_orientation(image.info.get("exif", b""))
        bit_depth = data[24] if format_ == "PNG" else 8
        return np.array(turn_upright(to_rgb(image, bit_depth=bit_depth), orientation))
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise OversizedImageError(_oversized(None, max_pixels)) from error
    except Exception as error:  # Pillow raises a dozen unrelated types on damaged files
        raise UnreadableImageError(
            f"This {format_} image is damaged or incomplete and could not be read; "
            "try to open and save it again."
        ) from error


def _identify(data: bytes) -> str:
    for magic, format_ in _MAGIC:
        if data.startswith(magic):
            return format_
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    found = "is empty" if not data else "is not an image in a format that is accepted here"
    raise UnsupportedImageError(f"This file {found}: expected {', '.join(ACCEPTED_FORMATS)}.")


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise UnreadableImageError(f"This image is {width} x {height} pixels: it shows nothing.")
    if width * height > max_pixels:
        raise OversizedImageError(_oversized(size, max_pixels))


def _oversized(size: tuple[int, int] | None, max_pixels: int) -> str:
    found = "too many pixels" if size is None else f"{size[0]:,} x {size[1]:,} pixels"
    return (
        f"This image has {found}; at most {max_pixels / 1e6:g} million are accepted. "
        "Send a smaller version."
    )
