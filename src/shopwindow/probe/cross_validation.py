"""Choose the penalty of a head by its answers to images that it has not learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shopwindow.calibration.regression import Floats, LinearHead, fit_head
from shopwindow.calibration.temperature import fit_temperature

# From strong to weak, so that each head begins where the one before ended.
PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4)
# The search ends after so many penalties in a row that are worse than the best one.
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
    """Fit heads on all folds but one in turn, for smaller and smaller penalties.

    The best penalty is the one of least loss after temperature scaling: a strong penalty makes
    answers too modest, and a temperature corrects that.

    Args:
        features: (N, D) float32.
        allowed: (N, C) bool, see `fit_head`.
        folds: (N,) the fold of each image; images in fold -1 are always learned from.
        weights: (N,) how much each image counts; by default all count the same.
        judged: The folds that judge, by default all. One of five is enough for thousands of images.
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
            if not learned.any():  # nothing to learn from: all answers stay equal
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
        loss = _loss_at_best_temperature(logits[asked], allowed[asked])
        if loss < least:
            least, worse, best = loss, 0, OutOfFold(penalty, logits)
        else:
            worse += 1
            if worse >= _PATIENCE:
                break
    if best is None:  # every loss was infinite, which no finite features give
        raise ValueError("features: expected finite numbers")
    return best


def assign_folds(
    codes: NDArray[np.integer], groups: NDArray[np.integer], folds: int, *, seed: int
) -> NDArray[np.int64]:
    """Spread images over folds, each label as evenly as its groups allow.

    Args:
        codes: (N,) the label of each image, 0 or more.
        groups: (N,) images with the same number stay in one fold.
        folds: How many folds, 2 or more.
        seed: Of the order in which images are placed.

    Returns:
        (N,) int64, from 0 to folds - 1.
    """
    members: dict[int, list[int]] = {}
    for index in np.random.default_rng(seed).permutation(len(codes)).tolist():
        members.setdefault(int(groups[index]), []).append(index)
    counts = np.zeros((folds, int(codes.max()) + 1), np.int64)  # images by fold and label
    result = np.zeros(len(codes), np.int64)
    # Large groups first, while every fold has room.
    for group in sorted(members.values(), key=len, reverse=True):
        labels = codes[group]
        # The fold with the fewest images of these labels; of equals, the smallest.
        fold = min(range(folds), key=lambda n: (counts[n, labels].sum(), counts[n].sum()))
        result[group] = fold
        np.add.at(counts[fold], labels, 1)
    return result


def _loss_at_best_temperature(logits: Floats, allowed: NDArray[np.bool_]) -> float:
    """Mean negative log-likelihood at the best temperature."""
    inside = np.where(allowed, logits, -np.inf)
    temperature = fit_temperature(logits, inside.argmax(axis=1))
    wide = logits.astype(np.float64) / temperature
    wide -= wide.max(axis=1, keepdims=True)
    probs = np.exp(wide)
    right = (probs * allowed).sum(axis=1) / probs.sum(axis=1)
    return float(-np.log(np.maximum(right, 1e-12)).mean())
