"""The confidence from which an answer is sure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import Families, Threshold
from shopwindow.calibration.curves import MIN_IMAGES
from shopwindow.inference.predictor import family_probs

SURE_PRECISION = 0.95
FAMILY_PRECISION = 0.98
# Three right answers of three prove nothing; of thirty, one may be wrong at 95 % precision.
MIN_SURE_ANSWERS = 30
NEVER = Threshold(min_confidence=1.0, precision=0.0, coverage=0.0)
_ROUNDING = 1e-9  # of sums of weights: 38 of 40 is 95 %, whatever each of them counts

Judged = tuple[NDArray[np.floating], NDArray[np.bool_]]  # (n,) confidences, (n,) whether right


def choose_threshold(
    confidences: NDArray[np.floating],
    correct: NDArray[np.bool_],
    *,
    precision: float = SURE_PRECISION,
    weights: NDArray[np.floating] | None = None,
) -> Threshold:
    """Return the lowest confidence above which at least `precision` of the answers are right.

    Args:
        confidences: (N,) confidence of each answer, 0 to 1.
        correct: (N,) whether the answer was right.
        precision: The fraction of right answers, 0 to 1, that is asked of the sure ones.
        weights: (N,) what each answer counts, above 0; 1 each where left out.

    Returns:
        The threshold with the precision that it reached, and the fraction of answers above it, both
        as `weights` count. Where even the most confident answers are wrong too often, or fewer than
        `MIN_SURE_ANSWERS` would be sure, nothing is: the threshold is 1.0 with coverage 0 and
        precision 0.

    Raises:
        ValueError: No images, shapes that do not fit, or values out of range.
    """
    confidences = np.asarray(confidences, np.float64)
    correct = np.asarray(correct)
    if confidences.ndim != 1 or confidences.shape != correct.shape or correct.dtype != np.bool_:
        raise ValueError(
            "expected confidences (N,) and correct (N,) bool, got "
            f"{confidences.shape} and {correct.shape} {correct.dtype}"
        )
    if len(confidences) == 0:
        raise ValueError("a threshold needs validation images, got none")
    if not (np.isfinite(confidences) & (confidences >= 0) & (confidences <= 1 + 1e-5)).all():
        raise ValueError("confidences: expected 0 to 1")
    if not 0 <= precision <= 1:
        raise ValueError(f"precision: expected 0 to 1, got {precision}")
    weights = np.ones(len(confidences)) if weights is None else np.asarray(weights, np.float64)
    if weights.shape != confidences.shape or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"weights: expected {len(confidences)} numbers above 0")
    order = np.argsort(-confidences, kind="stable")
    ranked = confidences[order]
    hits, sums = np.cumsum((weights * correct)[order]), np.cumsum(weights[order])
    counts = np.arange(1, len(ranked) + 1)
    # Answers of equal confidence are sure together or not at all: only the last of them counts.
    last_of_equals = np.append(ranked[1:] != ranked[:-1], True)
    good = np.flatnonzero(
        last_of_equals & (hits / sums >= precision - _ROUNDING) & (counts >= MIN_SURE_ANSWERS)
    )
    if len(good) == 0:
        return NEVER
    chosen = good[-1]
    return Threshold(
        min_confidence=min(1.0, float(ranked[chosen])),
        precision=float(hits[chosen] / sums[chosen]),
        coverage=float(sums[chosen] / sums[-1]),
    )


def judged(probs: NDArray[np.floating], allowed: NDArray[np.bool_]) -> Judged:
    """Return confidence and correctness of the images that have a right answer."""
    some = allowed.any(axis=1)
    probs, allowed = probs[some], allowed[some]
    return probs.max(axis=1), allowed[np.arange(len(probs)), probs.argmax(axis=1)]


def by_family(
    kind: str, of: tuple[str, ...], probs: NDArray[np.float32], allowed: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return (n, F) probabilities of families, and which of them are right."""
    families = Families(kind, of, NEVER)
    _, summed = family_probs(families, probs)
    _, counts = family_probs(families, allowed.astype(np.float32))
    return np.minimum(summed, 1), counts > 0


def pooled(
    answers: Sequence[Judged], dataset_weights: Sequence[float], precision: float
) -> Threshold:
    """Return the threshold for all data sets together, each counting by its weight."""
    confidences, right = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    weights = np.concatenate(
        [
            np.full(len(one), weight / max(1, len(one)))
            for (one, _), weight in zip(answers, dataset_weights, strict=True)
        ]
    )
    found = choose_threshold(confidences, right, precision=precision, weights=weights)
    return found if found.coverage == 0 else _worth(found.min_confidence, answers)


def strictest(answers: Sequence[Judged], precision: float) -> Threshold:
    """Return the highest of the thresholds that the data sets ask for.

    It is `NEVER` where one of them has none; such a one counts only if it is the main data set, or
    has `MIN_IMAGES` answers or more.
    """
    each = []
    for number, (confidences, right) in enumerate(answers):
        if not len(confidences):
            continue
        one = choose_threshold(confidences, right, precision=precision)
        if one.coverage > 0:
            each.append(one.min_confidence)
        elif number == 0 or len(confidences) >= MIN_IMAGES:
            return NEVER
    return _worth(max(each), answers) if each else NEVER


def _worth(least: float, answers: Sequence[Judged]) -> Threshold:
    """Return what a threshold is worth on the main data set, which the card is about."""
    confidences, right = answers[0]
    sure = confidences >= least
    return Threshold(least, float(right[sure].mean()) if sure.any() else 0.0, float(sure.mean()))
