"""How much memory decoding may take, of one image and of all that are decoded at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageFile, TiffImagePlugin

from shopwindow.imaging.heic import HeicImage

# An image that takes more is refused. Two such limits and a model fit into 600 MB: what counts as
# small may be decoded beside a large one, by as many threads as the caller has.
MAX_DECODE_BYTES = 350_000_000
SMALL_BYTES = 50_000_000

_large_images = threading.Lock()

# TIFF tags
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL = 258, 277


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


def estimate_decode_bytes(
    image: ImageFile.ImageFile | HeicImage, full_size: tuple[int, int], frame_pixels: int = 0
) -> int:
    """Return about how many bytes it takes to load an opened image, as measured.

    Args:
        image: Opened and not loaded; a JPEG with its `draft` set.
        full_size: Width and height in pixels as the file has them.
        frame_pixels: Of the largest frame in a HEIC or AVIF file.
    """
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
    if image.format == "JPEG" and image.info.get("progressive"):
        # All coefficients of the file, 2 bytes each, at its own size and not that of the draft.
        return _stored_bytes(image) + 2 * len(image.getbands()) * full_size[0] * full_size[1]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # libtiff hands over whole strips or tiles, and one may be all of the image.
        tags = image.tag_v2
        bits = int(max(tags.get(_BITS_PER_SAMPLE, (1,)))) * int(tags.get(_SAMPLES_PER_PIXEL, 1))
        return _stored_bytes(image) + pixels * max(1, bits // 8)
    return _stored_bytes(image)


def _stored_bytes(image: Image.Image) -> int:
    """Return the size of a loaded image in memory: Pillow takes 1, 2 or 4 bytes per pixel."""
    bytes_per_pixel = {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if ";16" in image.mode else 4)
    return bytes_per_pixel * image.width * image.height
