"""Nearest neighbours in the features of a data set, exactly, in blocks that fit into memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1024


def unit_length(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N, D) float32 features, each row divided by its length."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    result: NDArray[np.float32] = features / np.maximum(lengths, np.float32(1e-12))
    return result


def nearest(
    points: NDArray[np.float32], count: int, groups: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the most similar images of other groups.

    Args:
        points: (N, D) float32, of unit length.
        count: How many, 1 or more; fewer where there are not so many images.
        groups: (N,) images of one group are no neighbours of each other.

    Returns:
        (N, count) int64 indices, the most similar first, and (N, count) float32 their cosines, -1
        to 1; -2 where there is no further image of another group.
    """
    total = len(points)
    count = min(count, total)
    indices = np.empty((total, count), np.int64)
    cosines = np.empty((total, count), np.float32)
    for start in range(0, total, _BLOCK):
        rows = slice(start, min(start + _BLOCK, total))
        alike = points[rows] @ points.T
        alike[groups[rows, None] == groups[None, :]] = -2
        some = np.argpartition(-alike, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(alike, some, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        indices[rows] = np.take_along_axis(some, order, axis=1)
        cosines[rows] = np.take_along_axis(values, order, axis=1)
    return indices, cosines
