"""What is refused before it is decoded, and the limits behind it.

Sizes and formats are the user's choice (`ImageLimits`). The other limits are about time and memory,
and each is far beyond what cameras and editors write.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import ImageFile, TiffImagePlugin

from shopwindow.errors import OversizedImageError, UnreadableImageError
from shopwindow.imaging.heic_image import HeicImage
from shopwindow.settings import (
    ACCEPTED_FORMATS,
    DEFAULT_MAX_PIXELS,
    HIGHEST_MAX_PIXELS,
    Settings,
)

# Pillow keeps a pointer for each row: an image of 1 x 49,000,000 pixels takes 1.3 GB.
MAX_IMAGE_SIDE_PX = 100_000
MAX_TILE_PADDING_PIXELS = 4_000_000  # what the tiles of a small photo may have beyond its edges

# An image that takes more is refused. Two such limits and a model fit into 600 MB: what counts as
# small may be decoded beside a large one, by as many threads as the caller has.
MAX_DECODE_BYTES = 350_000_000
SMALL_BYTES = 50_000_000

# Reading ten megabytes in Python, piece by piece, can take minutes. A photo's depth map is
# some 200 JPEG segments, an encoder with a small buffer writes some 2,500 PNG chunks, and a strip
# per row makes some 50,000 TIFF values. A progressive JPEG has 10 scans as libjpeg writes it, and a
# HEIC photo of 48 megapixels has some 1,000 parts.
MAX_JPEG_SEGMENTS = 5_000
MAX_JPEG_SCANS = 100
MAX_PNG_CHUNKS = 20_000
MAX_GIF_BLOCKS = 200_000
MAX_TIFF_ENTRIES = 65_535  # of a directory
MAX_TIFF_VALUES = 65_536  # of an entry
MAX_HEIF_PARTS = 20_000  # boxes, and entries of their tables
MAX_HEIF_REFERENCES = 20_000
MAX_FRAME_UNITS = 10_000  # of an HEVC or AV1 frame
MAX_PNM_TEXT_BYTES = 10_000_000  # a Python object for each number

_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL = 258, 277  # TIFF tags

_large_images = threading.Lock()


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an image file must keep to, checked before anything is decoded.

    Attributes:
        max_pixels: Width x height above which an image is refused, 1 to 89 million.
        formats: What is accepted, recognised by the content; some of `ACCEPTED_FORMATS`.
        max_frames: More frames or pages than these are refused; 0 sets no limit. Only the first is
            ever decoded.

    Raises:
        ValueError: A value is out of range.
    """

    max_pixels: int = DEFAULT_MAX_PIXELS
    formats: tuple[str, ...] = ACCEPTED_FORMATS
    max_frames: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= HIGHEST_MAX_PIXELS:
            raise ValueError(
                f"max_pixels: expected 1 to {HIGHEST_MAX_PIXELS:,}, got {self.max_pixels:,}"
            )
        if not self.formats or not set(self.formats) <= set(ACCEPTED_FORMATS):
            raise ValueError(
                f"formats: expected some of {', '.join(ACCEPTED_FORMATS)}, got {self.formats}"
            )
        if self.max_frames < 0:
            raise ValueError(f"max_frames: expected at least 0, got {self.max_frames}")

    @classmethod
    def of(cls, settings: Settings) -> ImageLimits:
        """Return the limits in a server's settings."""
        return cls(settings.max_pixels, settings.accepted_formats, settings.max_frames)


def check_size(size: tuple[int, int] | None, max_pixels: int) -> None:
    """Refuse an image without pixels, or with too many.

    Args:
        size: Width and height in pixels, or None where the file has none.
        max_pixels: See `ImageLimits`.

    Raises:
        UnreadableImageError: It has no pixels.
        OversizedImageError: It has too many, or too long a side.
    """
    width, height = size or (0, 0)
    if width < 1 or height < 1:
        raise UnreadableImageError(f"This image is {width} x {height} pixels: it shows nothing.")
    if width * height > max_pixels:
        raise oversized(f"{width:,} x {height:,} pixels", max_pixels)
    if max(width, height) > MAX_IMAGE_SIDE_PX:
        raise OversizedImageError(
            f"This image has {width:,} x {height:,} pixels; the longest side accepted is "
            f"{MAX_IMAGE_SIDE_PX:,}. Send a smaller version."
        )


def oversized(found: str, max_pixels: int) -> OversizedImageError:
    """Return the error of an image that has `found`, which is more than `max_pixels`."""
    return OversizedImageError(
        f"This image has {found}; at most {max_pixels / 1e6:g} million are accepted. "
        "Send a smaller version."
    )


@contextmanager
def room_for(decode_bytes: int) -> Iterator[None]:
    """Hold memory for one image while it is decoded: large ones wait for one another.

    Memory belongs to the process, and so does this lock.
    """
    if decode_bytes <= SMALL_BYTES:
        yield
        return
    with _large_images:
        yield


def checked_decode_bytes(
    image: ImageFile.ImageFile | HeicImage, full_size: tuple[int, int], frame_pixels: int = 0
) -> int:
    """Return about how many bytes it takes to load an opened image, as measured.

    Args:
        image: Opened and not loaded; a JPEG with its `draft` set.
        full_size: Width and height in pixels as the file has them.
        frame_pixels: Of the largest frame in a HEIC or AVIF file.

    Raises:
        OversizedImageError: More than `MAX_DECODE_BYTES`.
    """
    decode_bytes = _decode_bytes(image, full_size, frame_pixels)
    if decode_bytes > MAX_DECODE_BYTES:
        width, height = full_size
        most = width * height * MAX_DECODE_BYTES // decode_bytes
        raise OversizedImageError(
            f"This {image.format} image has {width:,} x {height:,} pixels; at most "
            f"{most // 10**6} million of its kind fit into memory. Send a smaller version."
        )
    return decode_bytes


def _decode_bytes(
    image: ImageFile.ImageFile | HeicImage, full_size: tuple[int, int], frame_pixels: int
) -> int:
    pixels = max(image.width * image.height, frame_pixels)
    if isinstance(image, HeicImage):
        # The channels, and before them brightness and colour at a fourth or all of the pixels.
        return (len(image.mode) + 3) * pixels
    if image.format == "AVIF":
        return 14 * pixels
    if image.format == "WEBP":
        # libwebp keeps two canvases of 4 bytes per pixel and, for lossless files, the pixels once
        # more; Pillow copies the first canvas, and then into its own image.
        return 16 * pixels
    # Pillow takes 1, 2 or 4 bytes per pixel.
    pixel_bytes = {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if ";16" in image.mode else 4)
    stored_bytes = pixel_bytes * image.width * image.height
    if image.format == "JPEG" and image.info.get("progressive"):
        # All coefficients of the file, 2 bytes each, at its own size and not that of the draft.
        return stored_bytes + 2 * len(image.getbands()) * full_size[0] * full_size[1]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # libtiff hands over whole strips or tiles, and a strip may be all of the image.
        tags = image.tag_v2
        bits = int(max(tags.get(_BITS_PER_SAMPLE, (1,)))) * int(tags.get(_SAMPLES_PER_PIXEL, 1))
        return stored_bytes + pixels * max(1, bits // 8)
    return stored_bytes
