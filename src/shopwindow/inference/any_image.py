"""What a Python program has for an image: a path, the content of a file, or pixels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

AnyImage = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]


def is_one_image(images: object) -> bool:
    """Say whether this is an image rather than several of them.

    An array is one image if it has fewer than four dimensions.
    """
    if isinstance(images, np.ndarray):
        return images.ndim < 4
    return isinstance(images, str | os.PathLike | bytes | Image.Image)


def as_file_or_picture(image: AnyImage) -> bytes | Image.Image:
    """Return the content of an image file, or an image that Pillow has opened.

    Args:
        image: The path of a file; its content; a Pillow image of any mode; or (H, W, 3) or (H, W)
            uint8, RGB or grey.

    Raises:
        OSError: The file does not exist or cannot be read.
        ValueError: An array of another shape or dtype.
        TypeError: Something else.
    """
    if isinstance(image, bytes | Image.Image):
        return image
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    if not isinstance(image, np.ndarray):
        kind = type(image)
        raise TypeError(
            "image: expected a path, bytes, a Pillow image or an array, "
            f"found {kind.__module__}.{kind.__qualname__}"
        )
    if image.dtype != np.uint8 or not image.size or image.shape[2:] not in ((), (3,)):
        raise ValueError(
            "image: expected an array (height, width, 3) or (height, width) of uint8, RGB or grey, "
            f"found {image.shape} of {image.dtype}"
        )
    return Image.fromarray(image)
