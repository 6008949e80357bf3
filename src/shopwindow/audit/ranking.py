"""Which labels are probably wrong, by probabilities of a model that has not learned from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# How probable another label must be for the given one to be a suspect.
SUSPECT_ABOVE = 0.8
# A probability of 0 has no logarithm.
_LEAST = 1e-12


@dataclass(frozen=True)
class LabelRanking:
    """N labels by how far the model doubts them.

    Attributes:
        scores: (N,) float64, the lower, the more doubtful; infinite where nothing is to be judged.
        suggested: (N,) int64, the label that the model would give instead, 0 to C - 1.
        suspects: (N,) bool, labels that are probably wrong.
    """

    scores: NDArray[np.float64]
    suggested: NDArray[np.int64]
    suspects: NDArray[np.bool_]

    @property
    def order(self) -> NDArray[np.int64]:
        """Return the indices of the suspects, the most doubtful label first."""
        found = np.flatnonzero(self.suspects)
        return found[np.argsort(self.scores[found], kind="stable")]


def rank_labels(probabilities: NDArray[np.floating], allowed: NDArray[np.bool_]) -> LabelRanking:
    """Rank labels by the margin between the label given and the likeliest other one.

    The score is the logarithm of the ratio of the two probabilities. Confident learning (Northcutt,
    Jiang, Chuang 2021, arXiv:1911.00068) ranks by out-of-fold probabilities too; its thresholds
    for each label play no part here.

    Args:
        probabilities: (N, C) out of fold: of each image, by a model that did not learn from it.
        allowed: (N, C) bool, the labels given to each image, any of which would be right. An
            image with none, or all, of them is not judged.
    """
    probs = np.asarray(probabilities, np.float64)
    judged = allowed.any(axis=1) & ~allowed.all(axis=1)
    given = np.where(allowed, probs, 0.0).sum(axis=1)
    others = np.where(allowed, -1.0, probs)
    suggested = others.argmax(axis=1)
    other = others.max(axis=1)
    margin = np.log(np.maximum(given, _LEAST)) - np.log(np.maximum(other, _LEAST))
    return LabelRanking(
        np.where(judged, margin, np.inf),
        suggested.astype(np.int64),
        judged & (other > SUSPECT_ABOVE),
    )
