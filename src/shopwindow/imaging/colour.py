"""From any of Pillow's pixel modes to RGB: alpha over white, deep pixels scaled, never clipped."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shopwindow.imaging.heic_image import HeicImage

_ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})  # small a: premultiplied


_Levels = tuple[float, float]

# Large enough that the overhead of a strip does not count, small enough not to count itself.
_STRIP_PIXELS = 1_000_000


def shrink_to_rgb(
    image: Image.Image | HeicImage, factor: int, *, bit_depth: int = 8, white_is_zero: bool = False
) -> Image.Image:
    """Return a decoded image as mode `RGB`, with `factor` x `factor` pixels averaged to one.

    Strip by strip, so that no second image of the full size is ever in memory. The pixels that are
    left over at the right and lower edge are scaled in, so that all of the image is seen.

    Args:
        image: In any mode that Pillow gives for the accepted formats.
        factor: At least 1; no more than either side of the image in pixels.
        bit_depth: See `to_rgb`.
        white_is_zero: See `to_rgb`.
    """
    convert = partial(
        to_rgb, bit_depth=bit_depth, white_is_zero=white_is_zero, levels=_deep_levels(image)
    )
    if factor == 1 and isinstance(image, Image.Image):
        return convert(image)
    width, height = image.size
    page = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    strip_height = factor * max(1, _STRIP_PIXELS // (width * factor))
    for top in range(0, height, strip_height):
        strip = convert(image.crop((0, top, width, min(top + strip_height, height))))
        page.paste(strip if factor == 1 else strip.reduce(factor), (0, top // factor))
    return scale_in_edges(page, image.size, factor)


def scale_in_edges(image: Image.Image, full_size: tuple[int, int], factor: int) -> Image.Image:
    """Undo that a shrunk image ends with pixels that are not whole.

    17 pixels shrunk by 8 make 3, but the third stands for one pixel only. Left alone it would count
    as much as the others, and what is seen would move: by less than a pixel of what the model is
    shown, and still enough to change one of 40 answers that are close calls.

    Args:
        image: The shrunk image, (width / factor, height / factor) in pixels, rounded up.
        full_size: Width and height in pixels before it was shrunk.
        factor: How many pixels became one, per side.

    Returns:
        (width / factor, height / factor) in pixels, rounded to the nearest.
    """
    width, height = (side / factor for side in full_size)
    if (width, height) == image.size:
        return image
    size = max(1, round(width)), max(1, round(height))
    return image.resize(size, Image.Resampling.BICUBIC, box=(0, 0, width, height))


def to_rgb(
    image: Image.Image,
    *,
    bit_depth: int = 8,
    white_is_zero: bool = False,
    levels: _Levels | None = None,
) -> Image.Image:
    """Return a decoded image as mode `RGB`.

    Args:
        image: In any mode that Pillow gives for the accepted formats.
        bit_depth: Bits per channel in the file, which are the unit of its transparent colour.
        white_is_zero: Whether deep grey values count from white, as some TIFF files do. Pillow sees
            to it for up to 8 bits only.
        levels: Black and white of deep grey values, where `image` is only part of a whole.
    """
    transparency = image.info.get("transparency")
    if image.mode.startswith(("I", "F")):
        grey = _deep_to_grey(np.asarray(image), levels or _deep_levels(image))
        if white_is_zero:
            grey = 255 - grey
        if isinstance(transparency, int):
            grey[np.asarray(image) == transparency] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.mode in _ALPHA_MODES or transparency is not None:
        return _over_white(_with_alpha(image, transparency, bit_depth))
    return image if image.mode == "RGB" else image.convert("RGB")


def _with_alpha(image: Image.Image, transparency: Any, bit_depth: int) -> Image.Image:
    if image.mode == "La":  # the only mode whose way to RGBA Pillow does not know
        image = image.convert("LA")
    if image.mode == "RGB" and bit_depth == 16 and isinstance(transparency, tuple):
        # Pillow keeps the upper byte of each channel, but the transparent colour at 16 bits.
        image.info["transparency"] = tuple(value >> 8 for value in transparency)
    return image.convert("RGBA")


def _over_white(rgba: Image.Image) -> Image.Image:
    page = Image.new("RGB", rgba.size, "white")
    page.paste(rgba, mask=rgba.getchannel("A"))
    return page


def _deep_levels(image: Image.Image | HeicImage) -> _Levels | None:
    """Return which values are black and white in an image of 32-bit integers or floats, else None.

    Such files seldom say so. We take the smallest usual range that holds the values: 0-1 (floats),
    0-255, 0-65535, or else from the smallest to the largest value.
    """
    if not image.mode.startswith(("I", "F")) or ";16" in image.mode:
        return None
    lows, highs = [], []
    step = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, step):
        box = (0, top, image.width, min(top + step, image.height))
        values = _finite(np.asarray(image.crop(box)))
        lows.append(float(values.min()))
        highs.append(float(values.max()))
    low, high = min(lows), max(highs)
    ceilings = (1.0, 255.0, 65535.0) if image.mode.startswith("F") else (255.0, 65535.0)
    white = next((ceiling for ceiling in ceilings if high <= ceiling), None)
    return (0.0, white) if low >= 0 and white is not None else (low, high)


def _deep_to_grey(deep: NDArray[Any], levels: _Levels | None) -> NDArray[np.uint8]:
    """Scale grey values of 16 or 32 bits or floats, (H, W), to (H, W) uint8.

    16-bit integers span 0 to 65535; the wider types have `levels`.
    """
    if levels is None:
        wide = deep.astype(np.uint32)  # in place from here: an image may have 50 million values
        wide += 128
        wide //= 257
        return wide.astype(np.uint8)
    low, high = levels
    values = _finite(deep)
    values -= low
    values *= 255.0 / max(high - low, 1e-30)
    return np.rint(values, out=values).astype(np.uint8)


def _finite(deep: NDArray[Any]) -> NDArray[np.float32]:
    return np.nan_to_num(deep.astype(np.float32), copy=False, posinf=0.0, neginf=0.0)
