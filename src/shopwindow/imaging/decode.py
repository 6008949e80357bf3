"""Bytes of an untrusted file -> upright RGB pixels. The only decoder, for training and serving.

All limits live here: the format is told from the content, and the size from the header, before
anything is decoded or allocated. See docs/decisions/images-in.md.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
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
from shopwindow.imaging.colour import scale_in_edges, shrink_to_rgb, to_rgb
from shopwindow.imaging.containers import (
    count_jpeg_scans,
    strip_gif,
    strip_jpeg,
    strip_png,
    strip_tiff,
)
from shopwindow.imaging.exif import is_turned, read_orientation, turn_upright
from shopwindow.imaging.frames import has_more_frames
from shopwindow.imaging.heic import HeicImage
from shopwindow.imaging.heif import Heif, heif_format
from shopwindow.imaging.limits import ImageLimits
from shopwindow.imaging.memory import MAX_DECODE_BYTES, estimate_decode_bytes, room_for
from shopwindow.imaging.pnm import read_header, read_pixels

_USUAL = ImageLimits()
_DCT_SCALES = (1, 2, 4, 8)  # what libjpeg can do without a resize of its own
MAX_JPEG_SCANS = 100  # a progressive file as libjpeg writes it has 10
# Pillow keeps a pointer for each row: an image of 1 x 49,000,000 pixels takes 1.3 GB.
MAX_SIDE_PX = 100_000

_TILE_PIXELS = 4_000_000  # what the tiles of a small photo may have beyond its edges

# TIFF tags
_PHOTOMETRIC, _TILE_WIDTH, _TILE_LENGTH = 262, 322, 323

_OPENERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile | HeicImage]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "HEIC": HeicImage,
}
EMPTY_FILE = "This file is empty. Choose another one, or save it again."

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    *((b"P%d%c" % (kind, space), "PPM") for kind in range(1, 7) for space in b" \t\r\n#"),
)
# What people try most often, to name it in the answer; each mark within the first 16 bytes.
_OTHER_FORMATS = (
    (b"MM\x00+", "BigTIFF in big-endian order"),  # Pillow 12 reads it as if it were no BigTIFF
    (b"ftypcrx", "CR3 (a camera's raw data)"),
    (b"ftypqt", "QuickTime film"),
    (b"ftypmp4", "MP4 film"),
    (b"ftypiso", "MP4 film"),
    (b"ftypM4V", "MP4 film"),
    (b"ftyp3g", "3GP film"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
    (b"PK\x03\x04", "ZIP"),
    (b"PK\x05\x06", "ZIP"),  # of nothing
    (b"<!DOCTYPE", "HTML"),
    (b"<html", "HTML"),
    (b"8BPS", "Photoshop"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"jP  \r\n", "JPEG 2000"),
)


def decode_image(
    data: bytes,
    *,
    limits: ImageLimits = _USUAL,
    least_px: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Decode the first frame of an image file.

    EXIF orientation is applied, transparency is laid over white, deep pixels are scaled to 8 bits.
    Several large images are decoded one after the other, since memory has an end.

    Args:
        data: The content of a file; its name plays no part.
        limits: What is refused unseen.
        least_px: (height, width) that are enough: a larger image may come out smaller than it is,
            shrunk by a whole number, but with no fewer pixels than these on either side. JPEGs are
            then decoded from a part of their frequencies, which takes a fraction of the time.

    Returns:
        (H, W, 3) uint8, RGB, 0 to 255.

    Raises:
        UnsupportedImageError: Empty, or not one of the accepted formats.
        OversizedImageError: More pixels or frames than the limits, or than fit into memory.
        UnreadableImageError: An accepted format, but damaged or truncated.
    """
    format_ = identify(data, limits)
    try:
        if limits.max_frames and has_more_frames(format_, data, limits.max_frames):
            raise OversizedImageError(_too_many_frames(format_, limits.max_frames))
        return _decode(format_, data, limits.max_pixels, least_px)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise OversizedImageError(_oversized(None, limits.max_pixels)) from error
    except Exception as error:  # Pillow raises a dozen unrelated types on damaged files
        raise UnreadableImageError(
            f"This {format_} image is damaged, incomplete or of a rare kind, and could not be "
            "read. Try to open and save it again."
        ) from error


def _decode(
    format_: str, data: bytes, max_pixels: int, least_px: tuple[int, int] | None
) -> NDArray[np.uint8]:
    if format_ == "PPM":
        return _decode_pnm(data, max_pixels, least_px)
    orientation = None
    frame_pixels = 0
    if format_ == "JPEG":
        data, orientation = strip_jpeg(data)
        if (scans := count_jpeg_scans(data)) > MAX_JPEG_SCANS:
            raise UnreadableImageError(
                f"This JPEG image has {scans:,} scans; at most {MAX_JPEG_SCANS} are accepted. "
                "Try to open and save it again."
            )
    elif format_ == "PNG":
        data = strip_png(data)
    elif format_ == "TIFF":
        data, orientation = strip_tiff(data)
    elif format_ == "GIF":
        data, size = strip_gif(data)
        _check_size(size, max_pixels)  # before Pillow looks, and warns by itself
    elif format_ in {"HEIC", "AVIF"}:
        data, frame_pixels = _checked_container(data, max_pixels)
    image = _OPENERS[format_](io.BytesIO(data))
    _check_size(image.size, max_pixels)
    white_is_zero = False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        white_is_zero = tags.get(_PHOTOMETRIC) == 0
        # A tile is decompressed as a whole, however little of it lies in the image.
        _check_size((tags.get(_TILE_WIDTH, 1), tags.get(_TILE_LENGTH, 1)), max_pixels)
    full_size = image.size
    if format_ == "JPEG":
        most = _shrink_factor(full_size, least_px, orientation or 1)
        factor = max(scale for scale in _DCT_SCALES if scale <= most)
        cast(ImageFile.ImageFile, image).draft(
            None, (full_size[0] // factor, full_size[1] // factor)
        )
    with room_for(_checked_bytes(image, full_size, frame_pixels)):
        image.load()
        if orientation is None:  # PNG keeps it in a chunk that may follow the pixels, WebP likewise
            orientation = read_orientation(image.info.get("exif", b""))
        if format_ == "JPEG":
            rgb = scale_in_edges(to_rgb(cast(Image.Image, image)), full_size, factor)
        else:
            factor = _shrink_factor(full_size, least_px, orientation)
            bit_depth = data[24] if format_ == "PNG" else 8
            rgb = shrink_to_rgb(image, factor, bit_depth=bit_depth, white_is_zero=white_is_zero)
        return np.array(turn_upright(rgb, orientation))


def _checked_container(data: bytes, max_pixels: int) -> tuple[bytes, int]:
    """Return a HEIC or AVIF file with nothing but its picture, and the pixels of its largest frame.

    The frames are looked at, since they need not keep to what the container says. A photo's tiles
    go a little over its edges, and there may be a map of its transparency.
    """
    container = Heif(data)
    _check_size(container.size, max_pixels)
    sizes = container.frame_sizes()
    for size in sizes:
        _check_size(size, 2 * max_pixels)
    if sum(width * height for width, height in sizes) > 2 * max_pixels + _TILE_PIXELS:
        raise OversizedImageError(_oversized(None, max_pixels))
    return container.only_the_picture(), max(width * height for width, height in sizes)


def _decode_pnm(
    data: bytes, max_pixels: int, least_px: tuple[int, int] | None
) -> NDArray[np.uint8]:
    header = read_header(data)
    _check_size(header.size, max_pixels)
    width, height = header.size
    with room_for(4 * header.channels * width * height):
        factor = _shrink_factor(header.size, least_px, 1)
        return np.array(shrink_to_rgb(read_pixels(data, header), factor))


def _shrink_factor(
    size: tuple[int, int], least_px: tuple[int, int] | None, orientation: int
) -> int:
    """Return by which whole number an image may be shrunk, at least 1.

    Args:
        size: Width and height of the image as stored.
        least_px: (height, width) that must be left of the upright image.
        orientation: 1 to 8, as EXIF counts.
    """
    if least_px is None:
        return 1
    least_height, least_width = reversed(least_px) if is_turned(orientation) else least_px
    return max(1, min(size[0] // max(1, least_width), size[1] // max(1, least_height)))


def identify(data: bytes, limits: ImageLimits = _USUAL) -> str:
    """Return the format of a file, told from how it begins; this costs nothing.

    Raises:
        UnsupportedImageError: Empty, or not one of the formats of `limits`.
    """
    name = next((format_ for magic, format_ in _MAGIC if data.startswith(magic)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        name = "WEBP"
    name = name or heif_format(data)
    if name in limits.formats:
        return name
    name = name or next((name for mark, name in _OTHER_FORMATS if mark in data[:16]), None)
    if not data:
        raise UnsupportedImageError(EMPTY_FILE)
    if name is not None:
        found = f"This is a file of the format {name}"
    else:
        found = "This file is not an image of a known format"
    raise UnsupportedImageError(f"{found}: expected {', '.join(limits.formats)}.")


def begins_like_image(head: bytes) -> bool:
    """Say whether a file that begins so is probably an image of an accepted format.

    Args:
        head: Its first 64 bytes, or all of it.
    """
    if head.startswith(b"BM") and head[6:10] != bytes(4):  # a text may begin with these letters
        return False
    if head[:1] == b"P" and not re.match(rb"P[1-6]\s+(#[^\n]*\n\s*)?\d", head):
        return False
    try:
        identify(head)
    except UnsupportedImageError:
        return False
    return True


def _check_size(size: tuple[int, int] | None, max_pixels: int) -> None:
    width, height = size or (0, 0)
    if width < 1 or height < 1:
        raise UnreadableImageError(f"This image is {width} x {height} pixels: it shows nothing.")
    if width * height > max_pixels:
        raise OversizedImageError(_oversized(size, max_pixels))
    if max(width, height) > MAX_SIDE_PX:
        raise OversizedImageError(
            f"This image has {width:,} x {height:,} pixels; sides of at most {MAX_SIDE_PX:,} are "
            "accepted. Send a smaller version."
        )


def _checked_bytes(
    image: ImageFile.ImageFile | HeicImage, full_size: tuple[int, int], frame_pixels: int
) -> int:
    """Return how many bytes it takes to load an image, or refuse it."""
    decode_bytes = estimate_decode_bytes(image, full_size, frame_pixels)
    if decode_bytes > MAX_DECODE_BYTES:
        width, height = full_size
        most = width * height * MAX_DECODE_BYTES // decode_bytes
        raise OversizedImageError(
            f"This {image.format} image has {width:,} x {height:,} pixels; of its kind at most "
            f"{most // 10**6} million fit into memory. Send a smaller version."
        )
    return decode_bytes


def _too_many_frames(format_: str, most: int) -> str:
    pieces = "page" if format_ == "TIFF" else "frame"
    if most > 1:
        return f"This {format_} image has more than {most} {pieces}s. Send a shorter one."
    return f"This {format_} image has more than one {pieces}. Send a single picture."


def _oversized(size: tuple[int, int] | None, max_pixels: int) -> str:
    found = "too many pixels" if size is None else f"{size[0]:,} x {size[1]:,} pixels"
    return (
        f"This image has {found}; at most {max_pixels / 1e6:g} million are accepted. "
        "Send a smaller version."
    )
