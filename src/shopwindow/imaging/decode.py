"""Bytes of an untrusted file -> upright RGB pixels. The only decoder, for training and serving.

The format is recognised by the content, and the size is read from the header, before anything is
decoded or allocated. See docs/decisions/images-in.md.
"""

from __future__ import annotations

import io
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

from shopwindow.errors import ImageError, OversizedImageError, UnreadableImageError
from shopwindow.imaging.colour import scale_in_edges, shrink_to_rgb, to_rgb
from shopwindow.imaging.containers import (
    count_gif_frames,
    count_jpeg_scans,
    count_png_frames,
    count_webp_frames,
    strip_gif,
    strip_jpeg,
    strip_png,
)
from shopwindow.imaging.formats import identify
from shopwindow.imaging.heic_image import HeicImage
from shopwindow.imaging.heif_container import HeifContainer
from shopwindow.imaging.limits import (
    MAX_JPEG_SCANS,
    MAX_TILE_PADDING_PIXELS,
    ImageLimits,
    check_size,
    checked_decode_bytes,
    oversized,
    room_for,
)
from shopwindow.imaging.pnm import read_header, read_pixels
from shopwindow.imaging.tiff import count_pages, read_orientation, strip_tiff

_USUAL = ImageLimits()
_DCT_SCALES = (1, 2, 4, 8)  # what libjpeg can do without a resize of its own
_PHOTOMETRIC, _ORIENTATION, _TILE_WIDTH, _TILE_LENGTH = 262, 274, 322, 323  # TIFF tags

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
# What undoes each orientation (EXIF 2.32, table "Orientation"); 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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
            raise _too_many_frames(format_, limits.max_frames)
        return _decode(format_, data, limits.max_pixels, least_px)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise oversized("too many pixels", limits.max_pixels) from error
    except Exception as error:  # Pillow raises a dozen unrelated types on damaged files
        raise UnreadableImageError(
            f"This {format_} image is damaged, incomplete or of a rare kind, and could not be "
            "read. Try to open and save it again."
        ) from error


def upright_pixels(
    image: Image.Image, *, least_px: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Return the pixels of an image that Pillow has opened, as `decode_image` does of a file.

    Args:
        image: Of any mode; it is turned as its EXIF orientation says.
        least_px: See `decode_image`.

    Returns:
        (H, W, 3) uint8, RGB, 0 to 255.

    Raises:
        UnreadableImageError: It was opened but cannot be decoded.
    """
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
        rgb = shrink_to_rgb(image, _shrink_factor(image.size, least_px, orientation))
    except Exception as error:  # as in `decode_image`: Pillow decodes when it is asked for pixels
        raise UnreadableImageError(f"This Pillow image cannot be decoded: {error}") from error
    return np.array(rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb)


def _decode(
    format_: str, data: bytes, max_pixels: int, least_px: tuple[int, int] | None
) -> NDArray[np.uint8]:
    if format_ == "PPM":
        return _decode_pnm(data, max_pixels, least_px)
    data, orientation, frame_pixels = _only_the_picture(format_, data, max_pixels)
    image = _OPENERS[format_](io.BytesIO(data))
    check_size(image.size, max_pixels)
    white_is_zero = False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        white_is_zero = tags.get(_PHOTOMETRIC) == 0
        # A tile is decompressed as a whole, however little of it lies in the image.
        check_size((tags.get(_TILE_WIDTH, 1), tags.get(_TILE_LENGTH, 1)), max_pixels)
    full_size = image.size
    if format_ == "JPEG":
        most = _shrink_factor(full_size, least_px, orientation or 1)
        factor = max(scale for scale in _DCT_SCALES if scale <= most)
        cast(ImageFile.ImageFile, image).draft(
            None, (full_size[0] // factor, full_size[1] // factor)
        )
    with room_for(checked_decode_bytes(image, full_size, frame_pixels)):
        image.load()
        if orientation is None:  # PNG keeps it in a chunk that may follow the pixels, WebP likewise
            orientation = read_orientation(image.info.get("exif", b""))
        if format_ == "JPEG":
            rgb = scale_in_edges(to_rgb(cast(Image.Image, image)), full_size, factor)
        else:
            factor = _shrink_factor(full_size, least_px, orientation)
            bit_depth = data[24] if format_ == "PNG" else 8
            rgb = shrink_to_rgb(image, factor, bit_depth=bit_depth, white_is_zero=white_is_zero)
        if orientation in _UPRIGHT:
            rgb = rgb.transpose(_UPRIGHT[orientation])
        return np.array(rgb)


def _only_the_picture(format_: str, data: bytes, max_pixels: int) -> tuple[bytes, int | None, int]:
    """Return a file without what its picture does not need.

    Returns:
        The file; its orientation, or None where Pillow finds it; and the pixels of its largest
        frame where a container may say less (HEIC, AVIF), else 0.
    """
    if format_ == "JPEG":
        data, orientation = strip_jpeg(data)
        if (scans := count_jpeg_scans(data)) > MAX_JPEG_SCANS:
            raise UnreadableImageError(
                f"This JPEG image has {scans:,} scans; at most {MAX_JPEG_SCANS} are accepted. "
                "Try to open and save it again."
            )
        return data, orientation, 0
    if format_ == "PNG":
        return strip_png(data), None, 0
    if format_ == "TIFF":
        return *strip_tiff(data), 0
    if format_ == "GIF":
        data, size = strip_gif(data)
        check_size(size, max_pixels)  # before Pillow looks, and warns by itself
    elif format_ in {"HEIC", "AVIF"}:
        return _checked_container(data, max_pixels)
    return data, None, 0


def _checked_container(data: bytes, max_pixels: int) -> tuple[bytes, None, int]:
    """See `_only_the_picture`.

    The frames are measured too, since they need not have the size that the container says. The
    tiles of a photo go a little over its edges, and there may be a map of its transparency.
    """
    container = HeifContainer(data)
    check_size(container.size, max_pixels)
    sizes = container.frame_sizes()
    for size in sizes:
        check_size(size, 2 * max_pixels)
    if sum(width * height for width, height in sizes) > 2 * max_pixels + MAX_TILE_PADDING_PIXELS:
        raise oversized("too many pixels", max_pixels)
    return container.only_the_picture(), None, max(width * height for width, height in sizes)


def _decode_pnm(
    data: bytes, max_pixels: int, least_px: tuple[int, int] | None
) -> NDArray[np.uint8]:
    header = read_header(data)
    check_size(header.size, max_pixels)
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
    least_height, least_width = reversed(least_px) if orientation >= 5 else least_px
    return max(1, min(size[0] // max(1, least_width), size[1] // max(1, least_height)))


def has_more_frames(format_: str, data: bytes, most: int) -> bool:
    """Say whether a file has more than `most` frames, pages or pictures, without decoding any.

    The pictures that phones append to a JPEG (a map of depth, say) are no frames. What looks wrong
    ends the count: whether the file can be read, the decoder says.

    Args:
        format_: One of `ACCEPTED_FORMATS`.
        data: The whole file.
        most: At least 1.

    Raises:
        TooManyPartsError: More pieces than are read.
        BrokenHeifError: A HEIC or AVIF file that is cut off or makes no sense.
    """
    if format_ == "GIF":
        return count_gif_frames(data, most) > most
    if format_ == "PNG":
        return count_png_frames(data) > most
    if format_ == "WEBP":
        return count_webp_frames(data, most) > most
    if format_ == "TIFF":
        return count_pages(data, most) > most
    return format_ in {"HEIC", "AVIF"} and HeifContainer(data).frames > most


def _too_many_frames(format_: str, most: int) -> OversizedImageError:
    pieces = "page" if format_ == "TIFF" else "frame"
    if most > 1:
        return OversizedImageError(
            f"This {format_} image has more than {most} {pieces}s. Send a shorter one."
        )
    return OversizedImageError(
        f"This {format_} image has more than one {pieces}. Send a single picture."
    )
