"""Nearest neighbours in the features of a data set, exactly, in blocks that fit into memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1024


def directions(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N, D) float32 features less their mean, each row divided by its length."""
    centred = features - features.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    result: NDArray[np.float32] = centred / np.maximum(lengths, np.float32(1e-12))
    return result


def nearest(
    points: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the most similar other images of each.

    Args:
        points: (N, D) float32, of unit length.
        count: How many, from 1 to N - 1.

    Returns:
        (N, count) int64 indices, the most similar first, and (N, count) float32 their cosines.
    """
    total = len(points)
    indices = np.empty((total, count), np.int64)
    cosines = np.empty((total, count), np.float32)
    for start in range(0, total, _BLOCK):
        rows = slice(start, min(start + _BLOCK, total))
        alike = points[rows] @ points.T
        alike[np.arange(len(alike)), np.arange(start, rows.stop)] = -2  # none is its own neighbour
        some = np.argpartition(-alike, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(alike, some, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        indices[rows] = np.take_along_axis(some, order, axis=1)
        cosines[rows] = np.take_along_axis(values, order, axis=1)
    return indices, cosines
