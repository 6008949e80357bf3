"""From any of Pillow's pixel modes to RGB: alpha over white, deep pixels scaled, never clipped."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})  # small a: premultiplied


def to_rgb(image: Image.Image, *, bit_depth: int = 8, white_is_zero: bool = False) -> Image.Image:
    """Return a decoded image as mode `RGB`.

    Args:
        image: In any mode that Pillow gives for the accepted formats.
        bit_depth: Bits per channel in the file, which are the unit of its transparent colour.
        white_is_zero: Whether deep grey values count from white, as some TIFF files do. Pillow sees
            to it for up to 8 bits only.
    """
    transparency = image.info.get("transparency")
    if image.mode.startswith(("I", "F")):
        grey = _deep_to_grey(np.asarray(image))
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


def _deep_to_grey(deep: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale grey values of 16 or 32 bits or floats, (H, W), to (H, W) uint8.

    Such files seldom say which value is white. 16-bit integers span 0 to 65535; for the wider types
    we take the smallest usual range that holds the values: 0-1 (floats), 0-255, 0-65535, or else
    from the smallest to the largest value.
    """
    if deep.dtype.kind == "u" and deep.dtype.itemsize == 2:
        wide = deep.astype(np.uint32)  # in place from here: an image may have 50 million values
        wide += 128
        wide //= 257
        return wide.astype(np.uint8)
    values = np.nan_to_num(deep.astype(np.float32), copy=False, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    ceilings = (1.0, 255.0, 65535.0) if deep.dtype.kind == "f" else (255.0, 65535.0)
    white = next((ceiling for ceiling in ceilings if high <= ceiling), None)
    if low >= 0 and white is not None:
        low, high = 0.0, white
    values -= low
    values *= 255.0 / max(high - low, 1e-30)
    return np.rint(values, out=values).astype(np.uint8)
