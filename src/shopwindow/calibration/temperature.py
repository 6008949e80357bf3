"""Temperature scaling: one number that calibrates softmax.

It is fitted on validation images: never on those that the network was trained on, where it is
nearly always right and nearly always certain.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shopwindow.evaluation.asking import Probs

# Networks trained as usual need 1 to 3; beyond these bounds something else is wrong.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
# The least normal float32 stands for a probability of 0, which has no logarithm.
LEAST = float(np.finfo(np.float32).tiny)


def fit_temperature(
    logits: NDArray[np.floating],
    targets: NDArray[np.integer],
    weights: NDArray[np.floating] | None = None,
) -> float:
    """Return the temperature at which `softmax(logits / temperature)` is best calibrated.

    Temperature scaling (Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks,
    ICML 2017): the one number that minimises the negative log-likelihood; it changes no answer.
    A weak prior for 1 is added, which counts about as much as one image: where all of a few images
    are right, the likelihood alone would call every answer certain. A golden-section search over
    the log-temperature finds the minimum.

    Args:
        logits: (N, C) scores before the softmax.
        targets: (N,) index of the right class, 0 to C - 1.
        weights: (N,) what each image counts, 0 or more; None for 1 each.

    Returns:
        0.05 to 20: above 1 for a network that is too certain, below 1 for one that is too cautious.

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


def as_logits(probs: Probs) -> Probs:
    """Return finite numbers (n, C) whose softmax is these probabilities, per label column.

    The softmax of the logarithm of a probability is that probability, so that the answers of a
    bundle, whose logits nobody knows, can be calibrated too.
    """
    return {name: np.log(np.maximum(rows, np.float32(LEAST))) for name, rows in probs.items()}


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
