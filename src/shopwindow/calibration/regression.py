"""Multinomial logistic regression on features, in NumPy: a server installs no SciPy.

scikit-learn and SciPy would make the serving environment half as large again; see
`docs/decisions/linear-probe.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# L-BFGS keeps so many steps (Nocedal 1980), and ends when the loss falls by a smaller fraction.
_MEMORY = 10
_TOLERANCE = 1e-5
_MAX_STEPS = 300


@dataclass(frozen=True)
class LinearHead:
    """Logits = features @ weights + bias.

    Attributes:
        weights: (D, C) float32.
        bias: (C,) float32.
    """

    weights: Floats
    bias: Floats

    def __call__(self, features: Floats) -> Floats:
        """(N, D) features -> (N, C) logits."""
        return features @ self.weights + self.bias


def fit_head(
    features: Floats,
    allowed: NDArray[np.bool_],
    *,
    penalty: float,
    weights: NDArray[np.floating] | None = None,
    start: LinearHead | None = None,
) -> LinearHead:
    """Fit the head of least loss: cross-entropy plus a penalty on the squares of its weights.

    Where an image allows several labels, its loss is the negative logarithm of their summed
    probability (Jin, Ghahramani 2002); where it allows none, the cross-entropy with the even
    distribution (Hendrycks et al. 2019, arXiv:1812.04606).

    Args:
        features: (N, D) float32.
        allowed: (N, C) bool, the labels that are right for each image.
        penalty: Above 0; factor of the squared weights, for features of unit variance on average.
        weights: (N,) how much each image counts, 0 or more; by default all count the same.
        start: Where to begin, such as the head for a larger penalty; it only saves time.

    Returns:
        The head, for features as they are given.
    """
    mean = features.mean(axis=0)
    scale = float(np.sqrt(features.var(axis=0).mean())) or 1.0
    inputs = np.ascontiguousarray((features - mean) / scale, np.float32)
    labels = allowed.shape[1]
    counts = np.ones(len(inputs), np.float32) if weights is None else weights.astype(np.float32)
    counts = counts / max(float(counts.sum()), 1e-12)
    single = allowed.sum(axis=1) == 1
    several = np.flatnonzero(~single)
    none: NDArray[np.bool_] = np.logical_not(allowed.any(axis=1))
    hot = allowed.astype(np.float32)
    hot[none] = 1 / labels

    def loss(flat: Floats) -> tuple[float, Floats]:
        table = flat.reshape(inputs.shape[1] + 1, labels)
        logits = inputs @ table[:-1] + table[-1]
        logits -= logits.max(axis=1, keepdims=True)
        probs = np.exp(logits)
        sums = probs.sum(axis=1, keepdims=True)
        probs /= sums
        logits -= np.log(sums)  # logarithms of the probabilities, from here on
        wanted, lost = hot, -(hot * logits).sum(axis=1)
        if len(several):
            wanted = hot.copy()
            some = several[~none[several]]
            inside = probs[some] * hot[some]
            total = np.maximum(inside.sum(axis=1, keepdims=True), 1e-12)
            wanted[some] = inside / total
            lost[some] = -np.log(total[:, 0])
        slopes = (probs - wanted) * counts[:, None]
        gradient = np.empty_like(table)
        gradient[:-1] = inputs.T @ slopes + penalty * table[:-1]
        gradient[-1] = slopes.sum(axis=0)
        value = float(lost @ counts) + penalty / 2 * float(np.square(table[:-1]).sum())
        return value, gradient.reshape(-1)

    table = np.zeros((inputs.shape[1] + 1, labels), np.float32)
    if start is not None:
        table[:-1] = start.weights * scale
        table[-1] = start.bias + mean @ start.weights
    table = _minimise(loss, table.reshape(-1)).reshape(table.shape)
    slopes = table[:-1] / scale
    return LinearHead(slopes, table[-1] - mean @ slopes)


def _minimise(loss: Callable[[Floats], tuple[float, Floats]], point: Floats) -> Floats:
    """L-BFGS with a backtracking line search (Nocedal, Wright 2006, algorithms 7.4 and 3.1)."""
    value, gradient = loss(point)
    steps: list[tuple[Floats, Floats, float]] = []
    idle = 0
    for _ in range(_MAX_STEPS):
        direction = _direction(gradient, steps)
        slope = float(direction @ gradient)
        if slope >= 0:  # rounding has spoiled the memory
            steps, direction = [], -gradient
            slope = float(direction @ gradient)
        length = 1.0 if steps else min(1.0, 1.0 / max(float(np.abs(gradient).sum()), 1e-12))
        for _ in range(20):
            moved = point + np.float32(length) * direction
            new_value, new_gradient = loss(moved)
            if new_value <= value + 1e-4 * length * slope:
                break
            length /= 2
        else:
            return point
        change, turn = moved - point, new_gradient - gradient
        curvature = float(change @ turn)
        if curvature > 1e-10:
            steps = [*steps[-(_MEMORY - 1) :], (change, turn, 1 / curvature)]
        gained = value - new_value
        point, value, gradient = moved, new_value, new_gradient
        # Twice, since the first steps of a search, which knows no curvature yet, are short.
        idle = idle + 1 if gained <= _TOLERANCE * max(abs(value), 1e-3) else 0
        if idle == 2:
            return point
    return point


def _direction(gradient: Floats, steps: list[tuple[Floats, Floats, float]]) -> Floats:
    """Return minus the inverse Hessian, estimated from the last steps, times the gradient."""
    result = -gradient
    alphas = []
    for change, turn, inverse in reversed(steps):
        alpha = np.float32(inverse * float(change @ result))
        alphas.append(alpha)
        result = result - alpha * turn
    if steps:
        change, turn, inverse = steps[-1]
        result = result * np.float32(1 / (inverse * float(turn @ turn)))
    for (change, turn, inverse), alpha in zip(steps, reversed(alphas), strict=True):
        beta = np.float32(inverse * float(turn @ result))
        result = result + change * (alpha - beta)
    return result
