"""Choose the penalty of a head by answers to images that it has not learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shopwindow.calibration.temperature import fit_temperature
from shopwindow.regression import Floats, LinearHead, fit_head

# From strong to weak, so that each head begins where the one before ended.
PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4)
# So many penalties in a row that are worse than the best one end the search.
_PATIENCE = 2


@dataclass(frozen=True)
class OutOfFold:
    """What cross-validation found.

    Attributes:
        penalty: The one of `PENALTIES` that gave the likeliest answers.
        logits: (N, C) float32: of each image, by the head that has not learned from it.
    """

    penalty: float
    logits: Floats


def cross_validate(
    features: Floats,
    allowed: NDArray[np.bool_],
    folds: NDArray[np.integer],
    *,
    weights: NDArray[np.floating] | None = None,
    judged: NDArray[np.integer] | None = None,
    penalties: Sequence[float] = PENALTIES,
    step: Callable[[], None] = lambda: None,
) -> OutOfFold:
    """Fit heads on all folds but one in turn, for ever smaller penalties, and keep the best.

    The best is that whose answers are likeliest once a temperature has made them honest: a strong
    penalty makes answers modest, which is no fault.

    Args:
        features: (N, D) float32.
        allowed: (N, C) bool, see `fit_head`.
        folds: (N,) which fold each image belongs to; an image in fold -1 is learned from always.
        weights: (N,) what each image counts in learning; all alike where left out.
        judged: The folds that are judged; all where left out. One of five is enough where there
            are thousands of images.
        penalties: Which to try, from strong to weak.
        step: Called after each head.
    """
    turns = np.unique(folds[folds >= 0]) if judged is None else np.asarray(judged)
    asked = np.isin(folds, turns) & allowed.any(axis=1)
    heads: dict[int, LinearHead | None] = dict.fromkeys(turns.tolist())
    best: OutOfFold | None = None
    least, worse = np.inf, 0
    for penalty in penalties:
        logits = np.zeros(allowed.shape, np.float32)
        for fold in heads:
            learned = folds != fold
            if not learned.any():  # then nothing is known, and all answers are alike
                step()
                continue
            head = fit_head(
                features[learned],
                allowed[learned],
                penalty=penalty,
                weights=None if weights is None else weights[learned],
                start=heads[fold],
            )
            heads[fold] = head
            logits[folds == fold] = head(features[folds == fold])
            step()
        loss = _honest_loss(logits[asked], allowed[asked])
        if loss < least:
            least, worse, best = loss, 0, OutOfFold(penalty, logits)
        else:
            worse += 1
            if worse >= _PATIENCE:
                break
    if best is None:  # every loss was infinite, which no finite features give
        raise ValueError("features: expected finite numbers")
    return best


def _honest_loss(logits: Floats, allowed: NDArray[np.bool_]) -> float:
    """Mean negative log-likelihood at the best temperature."""
    inside = np.where(allowed, logits, -np.inf)
    temperature = fit_temperature(logits, inside.argmax(axis=1))
    wide = logits.astype(np.float64) / temperature
    wide -= wide.max(axis=1, keepdims=True)
    shares = np.exp(wide)
    right = (shares * allowed).sum(axis=1) / shares.sum(axis=1)
    return float(-np.log(np.maximum(right, 1e-12)).mean())
