"""Small pictures for pages."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def jpeg_thumbnail(image_hwc: NDArray[np.uint8], side_px: int) -> bytes:
    """Return an image as a JPEG file, made smaller until it fits into a square.

    Args:
        image_hwc: (H, W, 3) uint8, RGB.
        side_px: Side of that square.
    """
    picture = Image.fromarray(image_hwc)
    picture.thumbnail((side_px, side_px))
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()


def jpeg_data_uri(image_hwc: NDArray[np.uint8], side_px: int = 192) -> str:
    """Return an image as a `data:` URI, made smaller until it fits into a square.

    Args:
        image_hwc: (H, W, 3) uint8, RGB.
        side_px: Side of that square.
    """
    jpeg = jpeg_thumbnail(image_hwc, side_px)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
