"""The detailed figures that a bundle carries, from the answers of the bundle itself."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shopwindow.evaluation.grades import Grades
from shopwindow.measured import Confusion, LabelFigures, Measured, Reliability

# Narrow where most answers are, and where a visitor would read the difference.
CONFIDENCE_EDGES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
MAX_CONFUSIONS = 40
MIN_CONFUSED = 2  # one image taken for another is chance


def measure(
    grades: Grades, probabilities: NDArray[np.float32], targets: NDArray[np.integer]
) -> Measured:
    """Work out what a bundle says about itself by confidence, by label and by mix-up.

    Args:
        grades: Of the main label column, over the same images.
        probabilities: (N, C) answers of the bundle.
        targets: (N,) true codes; those below 0 have none and are left out.
    """
    known = targets >= 0
    confidences = probabilities[known].max(axis=1)
    right = probabilities[known].argmax(axis=1) == targets[known]
    return Measured(
        reliability=_reliability(confidences, right),
        labels=tuple(
            LabelFigures(
                score.label, score.support, _rounded(score.recall), _rounded(score.precision)
            )
            for score in grades.per_class
        ),
        confusions=tuple(
            Confusion(pair.true, pair.predicted, pair.count, round(pair.share, 4))
            for pair in grades.confused_pairs[:MAX_CONFUSIONS]
            if pair.count >= MIN_CONFUSED
        ),
    )


def _reliability(
    confidences: NDArray[np.floating], right: NDArray[np.bool_]
) -> tuple[Reliability, ...]:
    rows = []
    for low, high in pairwise(CONFIDENCE_EDGES):
        here = (confidences >= low) & ((confidences < high) | (high == CONFIDENCE_EDGES[-1]))
        if here.any():
            rows.append(
                Reliability(low, high, int(here.sum()), round(float(right[here].mean()), 4))
            )
    return tuple(rows)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
