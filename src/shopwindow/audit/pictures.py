"""Pictures that are dark, blurred, tiny or of an odd shape."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shopwindow.data.dataset import Dataset
from shopwindow.errors import ImageError
from shopwindow.imaging.decode import decode_image

# The mean of a dark picture, of 255; half of what a photo in a dim room has.
DARK = 30.0
# A picture whose neighbouring pixels differ less, as a root mean square of the Laplacian, of 255.
BLURRED = 3.0
# Pixels of the shorter side.
TINY_PX = 32
# Of the longer side to the shorter one.
ODD_RATIO = 3.0


def poor_pictures(dataset: Dataset) -> dict[int, str]:
    """Return the pictures that are hard to learn from: index -> what is wrong, in words."""
    found: dict[int, str] = {}
    start = 0
    for block in dataset.image_blocks(np.arange(len(dataset)), 256):
        brightness, detail = brightness_and_detail(block)
        for offset in range(len(block)):
            index = start + offset
            faults = []
            if brightness[offset] < DARK:
                faults.append("dark")
            elif detail[offset] < BLURRED:
                faults.append("blurred or blank")
            faults += _faults_of_size(_size_px(dataset, index))
            if faults:
                found[index] = ", ".join(faults)
        start += len(block)
    return found


def brightness_and_detail(
    images_nhwc: NDArray[np.uint8],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean brightness and the root mean square of the Laplacian of (N, H, W, 3) images.

    Both are (N,) float32, of 255.
    """
    grey = images_nhwc.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    inner = grey[:, 1:-1, 1:-1]
    laplacian = (
        grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * inner
    )
    return grey.mean(axis=(1, 2)), np.sqrt(np.square(laplacian).mean(axis=(1, 2)))


def _faults_of_size(size: tuple[int, int] | None) -> list[str]:
    if size is None:
        return []
    short, long = sorted(size)
    faults = [f"tiny ({size[0]} x {size[1]} px)"] if short < TINY_PX else []
    if long > ODD_RATIO * short:
        faults.append(f"odd shape ({size[0]} x {size[1]} px)")
    return faults


def _size_px(dataset: Dataset, index: int) -> tuple[int, int] | None:
    """Return (width, height) of the file; None where it has gone since it was decoded."""
    try:
        data = dataset.read_bytes(index)
        try:
            with Image.open(io.BytesIO(data)) as image:  # reads the header only
                return image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            decoded = decode_image(data)  # a format that Pillow does not know, such as HEIC
            return decoded.shape[1], decoded.shape[0]
    except ImageError:
        return None
