"""The pictures that are darkest, most blurred, smallest and longest.

These are rankings without a limit: what is too dark depends on what the pictures show.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shopwindow.data.dataset import Dataset
from shopwindow.errors import ImageError
from shopwindow.imaging.decode import decode_image

_BLOCK = 256


def rank_pictures(dataset: Dataset, count: int) -> dict[str, list[int]]:
    """Return the most extreme images of each kind, by what they are.

    Args:
        dataset: Brightness and detail are measured at its size, the other two on the files.
        count: How many of each kind; files that are gone are in neither of the last two.
    """
    total = len(dataset)
    measured = [
        brightness_and_detail(block) for block in dataset.image_blocks(np.arange(total), _BLOCK)
    ]
    brightness, detail = map(np.concatenate, zip(*measured, strict=True))
    sizes = np.array([size_px(dataset, index) for index in range(total)], np.float64)
    known = np.flatnonzero(sizes[:, 0] > 0)
    long, short = sizes[known].max(axis=1), sizes[known].min(axis=1)
    return {
        "darkest": _first(brightness, count),
        "least detailed": _first(detail, count),
        "smallest": known[_first(short, count)].tolist(),
        "longest or widest": known[_first(-long / np.maximum(short, 1), count)].tolist(),
    }


def brightness_and_detail(
    images_nhwc: NDArray[np.uint8],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean brightness and the root mean square of the Laplacian of (N, H, W, 3) images.

    Both are (N,) float32, of 255. A blurred or blank picture has little of the second (Pech-Pacheco
    et al. 2000, "Diatom autofocusing in brightfield microscopy").
    """
    grey = images_nhwc.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    inner = grey[:, 1:-1, 1:-1]
    laplacian = (
        grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * inner
    )
    return grey.mean(axis=(1, 2)), np.sqrt(np.square(laplacian).mean(axis=(1, 2)))


def size_px(dataset: Dataset, index: int) -> tuple[int, int]:
    """Return (width, height) of the file; (0, 0) where it has gone since it was decoded."""
    try:
        data = dataset.read_bytes(index)
        try:
            with Image.open(io.BytesIO(data)) as image:  # reads the header only
                return image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            decoded = decode_image(data)  # a format that Pillow does not know, such as HEIC
            return decoded.shape[1], decoded.shape[0]
    except ImageError:
        return 0, 0


def _first(values: NDArray[np.floating], count: int) -> list[int]:
    """Return the places of the least values; none that half of all have, as where all are alike."""
    order = np.argsort(values, kind="stable")[:count]
    first: list[int] = order[values[order] < np.median(values)].tolist() if len(order) else []
    return first
