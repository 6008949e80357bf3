"""Make confidences mean what they say, and find where "sure" begins.

Both are fitted on validation images: never on those that the network was trained on, where it is
nearly always right and nearly always certain.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import Threshold

# Networks trained as usual need 1 to 3; beyond these bounds something else is wrong.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
# Three right answers of three promise nothing; of thirty, one may be wrong at 95 % precision.
MIN_SURE_ANSWERS = 30
_ROUNDING = 1e-9  # what sums of weights may lose: 38 of 40 is 95 % whatever each of them counts


def fit_temperature(
    logits: NDArray[np.floating],
    targets: NDArray[np.integer],
    weights: NDArray[np.floating] | None = None,
) -> float:
    """Return the temperature that makes `softmax(logits / temperature)` most honest.

    Temperature scaling (Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks,
    ICML 2017): the one number that minimises the negative log-likelihood; it changes no answer.
    To it a weak prior for 1 is added, that counts about 1: where all of a few images are right, the
    likelihood alone would call every answer certain. A golden-section search over the
    log-temperature finds the minimum.

    Args:
        logits: (N, C) scores before the softmax.
        targets: (N,) index of the right class, 0 to C - 1.
        weights: (N,) what each image counts, 0 or more; None for 1 each.

    Returns:
        0.05 to 20: above 1 where the network is too certain, below 1 where it is too modest.

    Raises:
        ValueError: No images, shapes that do not fit, targets out of range, scores that are not
            finite, or weights that are not or below 0.
    """
    wide = np.asarray(logits, np.float64)
    _check_rows(wide, targets)
    counts = np.ones(len(wide)) if weights is None else np.asarray(weights, np.float64)
    if counts.shape != (len(wide),) or not (np.isfinite(counts) & (counts >= 0)).all():
        raise ValueError(f"weights: expected {len(wide)} numbers of 0 or more, got {weights}")
    scores = wide - wide.max(1, keepdims=True)
    right = scores[np.arange(len(scores)), targets]

    def loss(log_temperature: float) -> float:
        factor = math.exp(-log_temperature)
        misfits = np.log(np.exp(scores * factor).sum(1)) - right * factor
        return float(misfits @ counts) + log_temperature**2

    low, high = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    ratio = (math.sqrt(5) - 1) / 2
    left, right_end = high - ratio * (high - low), low + ratio * (high - low)
    loss_left, loss_right = loss(left), loss(right_end)
    while high - low > 1e-5:
        if loss_left < loss_right:
            high, right_end, loss_right = right_end, left, loss_left
            left = high - ratio * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right_end, loss_right
            right_end = low + ratio * (high - low)
            loss_right = loss(right_end)
    return math.exp((low + high) / 2)


def choose_threshold(
    confidences: NDArray[np.floating],
    correct: NDArray[np.bool_],
    *,
    precision: float = 0.95,
    weights: NDArray[np.floating] | None = None,
) -> Threshold:
    """Return the lowest confidence above which at least `precision` of the answers are right.

    Args:
        confidences: (N,) confidence of each answer, 0 to 1.
        correct: (N,) whether the answer was right.
        precision: The share of right answers, 0 to 1, that is asked of the sure ones.
        weights: (N,) what each answer counts, above 0; 1 each where left out.

    Returns:
        The threshold with the precision that it reached, and the share of answers above it, both
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
        return Threshold(min_confidence=1.0, precision=0.0, coverage=0.0)
    chosen = good[-1]
    return Threshold(
        min_confidence=min(1.0, float(ranked[chosen])),
        precision=float(hits[chosen] / sums[chosen]),
        coverage=float(sums[chosen] / sums[-1]),
    )


def _check_rows(logits: NDArray[np.float64], targets: NDArray[np.integer]) -> None:
    if logits.ndim != 2 or targets.shape != logits.shape[:1]:
        raise ValueError(
            f"expected logits (N, C) and targets (N,), got {logits.shape} and {targets.shape}"
        )
    if logits.size == 0:
        raise ValueError("a temperature needs validation images, got none")
    if not np.isfinite(logits).all():
        raise ValueError("logits: expected finite numbers")
    if targets.min() < 0 or targets.max() >= logits.shape[1]:
        raise ValueError(
            f"targets: expected 0 to {logits.shape[1] - 1}, got {targets.min()} to {targets.max()}"
        )
