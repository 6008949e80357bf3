"""The order of the review queue: what the model doubts first, and never ten photos alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def greedy_order(doubts: Floats, embeddings: Floats, labelled: Floats, count: int) -> list[int]:
    """Return which photos to label first, each chosen after those before it.

    The next is the one with the largest product of doubt and distance to the nearest photo that is
    labelled or chosen already: the greedy choice of k-centres (Sener, Savarese 2018,
    arXiv:1708.00489), weighted by doubt, so that the photos are both uncertain and unlike each
    other, as in BADGE (Ash et al. 2020, arXiv:1906.03671), which needs gradients instead.

    Args:
        doubts: (N,) from 0 to 1.
        embeddings: (N, D) of unit length; a row of zeros where a photo has none. Such a photo
            counts as far away as the others are on average.
        labelled: (M, D) of unit length, those of photos that are labelled.
        count: How many to choose; more than N means all.

    Returns:
        Indices, best first; of equals the first comes first.
    """
    known = np.abs(embeddings).max(axis=1, initial=0) > 0
    nearest = np.full(len(doubts), 2.0, np.float32)  # the diameter of the sphere
    if len(labelled):
        nearest = _distances(embeddings @ labelled.T).min(axis=1)
    left = np.ones(len(doubts), np.bool_)
    order: list[int] = []
    for _ in range(min(count, len(doubts))):
        among = left & known
        distances = np.where(known, nearest, nearest[among].mean() if among.any() else 1.0)
        best = int(np.where(left, doubts * distances, -1.0).argmax())
        order.append(best)
        left[best] = False
        if known[best]:
            nearest = np.minimum(nearest, _distances(embeddings @ embeddings[best]))
    return order


def _distances(cosines: Floats) -> NDArray[np.float32]:
    """Return the Euclidean distances, 0 to 2, of vectors of unit length."""
    return np.sqrt(np.maximum(2 - 2 * cosines, 0)).astype(np.float32)
