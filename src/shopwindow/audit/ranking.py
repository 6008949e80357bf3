"""Which labels are probably wrong, by what has not learned from them: a probe and neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Chosen by benchmarks/audit.py, with other draws than those of its table: 20 to 160 neighbours and
# powers of 0 to 20 differ by up to 0.02.
VOTERS = 80
_SHARPNESS = 20.0
# Of a label that no neighbour has: one doubtful photo among strangers would decide alone.
_LEAST_VOTE = 1e-3
# A probability of 0 has no logarithm.
_LEAST = 1e-12


@dataclass(frozen=True)
class LabelRanking:
    """N labels by how far they are doubted.

    Attributes:
        scores: (N,) float64, the lower, the more doubtful; below 0 where another label is likelier;
            infinite where nothing is to be judged.
        suggested: (N,) int64, the likeliest other label, 0 to C - 1.
    """

    scores: NDArray[np.float64]
    suggested: NDArray[np.int64]

    @property
    def suspects(self) -> NDArray[np.int64]:
        """Indices of the images for which another label is likelier, the most doubtful first."""
        found = np.flatnonzero(self.scores < 0)
        return found[np.argsort(self.scores[found], kind="stable")]


def rank_labels(probabilities: NDArray[np.floating], allowed: NDArray[np.bool_]) -> LabelRanking:
    """Rank labels by the ratio of two probabilities: the given label's, the likeliest other one's.

    Confident learning (Northcutt, Jiang, Chuang 2021, arXiv:1911.00068) ranks by out-of-fold
    probabilities too. Its thresholds for each label made the ranking worse here.

    Args:
        probabilities: (N, C) of each image, by what has not learned from its label. A constant
            factor for each image plays no part.
        allowed: (N, C) bool, the labels given to each image, any of which would be right. An
            image with none, or all, of them is not judged.
    """
    probs = np.asarray(probabilities, np.float64)
    judged = allowed.any(axis=1) & ~allowed.all(axis=1)
    given = np.where(allowed, probs, 0.0).sum(axis=1)
    others = np.where(allowed, -1.0, probs)
    margin = np.log(np.maximum(given, _LEAST)) - np.log(np.maximum(others.max(axis=1), _LEAST))
    return LabelRanking(np.where(judged, margin, np.inf), others.argmax(axis=1).astype(np.int64))


def votes_of_neighbours(
    neighbours: NDArray[np.int64],
    cosines: NDArray[np.float32],
    allowed: NDArray[np.bool_],
    groups: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Return what the labels of its neighbours say about each image.

    A neighbour weighs exp(20 cosine). A copy of an image does not vote: it has the same wrong
    label.

    Args:
        neighbours: (N, k) int64, as from `nearest`.
        cosines: (N, k) float32.
        allowed: (N, C) bool; a neighbour's vote is divided among its labels.
        groups: (N,) images of one group are copies of each other.

    Returns:
        (N, C) float64, above 0; each row adds up to 1.
    """
    counts = np.maximum(allowed.sum(axis=1, keepdims=True), 1)
    shares = allowed / counts
    weights = np.exp(_SHARPNESS * (cosines.astype(np.float64) - 1))
    weights[groups[neighbours] == groups[:, None]] = 0
    votes = np.zeros(allowed.shape)
    for place in range(neighbours.shape[1]):
        votes += weights[:, place, None] * shares[neighbours[:, place]]
    votes += np.maximum(_LEAST_VOTE * votes.sum(axis=1, keepdims=True), _LEAST)
    result: NDArray[np.float64] = votes / votes.sum(axis=1, keepdims=True)
    return result
