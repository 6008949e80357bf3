"""Prediction sets: so many labels that the right one is among them in 95 of 100 cases.

Split conformal prediction (Vovk, Gammerman, Shafer 2005; Angelopoulos, Bates 2021,
arXiv:2107.07511) with the least ambiguous sets (Sadinle, Lei, Wasserman 2019, arXiv:1609.00451):
the best label, and all others whose probability reaches a bound. Whatever the network is worth, and
whatever the images are, the set of a further image of the same source then holds the right label
with the promised probability. docs/evaluation.md has the comparison with APS and RAPS.

There is one bound for each kind of photo, and within it one for predictions that are sure and one
for all others (Mondrian conformal prediction: what decides is known without the label). One for
both would be held by the sure ones, and people look at the sets of the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle.prediction_sets import PredictionSets, SetRule, SetsOfKind

LEVEL = 0.95
_HALVINGS = 10  # of the images, by which the rules are measured
_ROUNDING = 1e-9  # 0.95 * 20 is 19, not a little more


@dataclass(frozen=True)
class HeldOutAnswers:
    """Calibrated answers to n held-out images of one kind, each with a right label.

    Attributes:
        source: What to call the kind.
        probs: (n, C) of the main label column.
        allowed: (n, C) the labels that are right.
        sure: (n,) whether the answer is sure.
        groups: (n,) images with the same number belong together.
    """

    source: str
    probs: NDArray[np.floating]
    allowed: NDArray[np.bool_]
    sure: NDArray[np.bool_]
    groups: NDArray[np.integer]


def fit_prediction_sets(
    kinds: Sequence[HeldOutAnswers], *, level: float = LEVEL
) -> PredictionSets | None:
    """Return the rules for each kind of photo; None where there is a guarantee for none.

    Args:
        kinds: Those that the graph tells apart, in its order.
        level: The promised fraction of sets that hold the right label, between 0 and 1.
    """
    fitted = tuple(
        SetsOfKind(one.source, _fit_rule(one, one.sure, level), _fit_rule(one, ~one.sure, level))
        for one in kinds
    )
    some = any(kind.sure or kind.not_sure for kind in fitted)
    return PredictionSets(level, fitted) if some else None


def least_probability(scores: NDArray[np.floating], *, level: float = LEVEL) -> float | None:
    """Return the highest bound that enough scores reach: ceil((n + 1) level) of them.

    Args:
        scores: (n,) the bound at which the right label is just in the set, 0 to 1.
        level: The promised fraction of sets that hold the right label, between 0 and 1.

    Returns:
        0 to 1; None where there are too few scores for any guarantee, fewer than 19 at 95 %.
    """
    rank = math.ceil((len(scores) + 1) * level - _ROUNDING)
    if rank > len(scores):
        return None
    return float(np.sort(scores)[len(scores) - rank])


def right_scores(probs: NDArray[np.floating], allowed: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Return (n,) the probability of the likeliest right label; 1 where that is the best one."""
    scores = np.where(allowed, probs, 0).max(axis=1)
    best = allowed[np.arange(len(probs)), probs.argmax(axis=1)]
    return np.where(best, 1, scores)


def _fit_rule(one: HeldOutAnswers, chosen: NDArray[np.bool_], level: float) -> SetRule | None:
    """Return the rule for some of the images; None where it would promise nothing."""
    probs = one.probs[chosen]
    scores = right_scores(probs, one.allowed[chosen])
    least = least_probability(scores, level=level)
    if least is None:
        return None
    if (probs >= least).all(axis=1).mean() > 0.5:  # it would name all labels there are
        return None
    held, mean_size = _measured(probs, scores, one.groups[chosen], level)
    return SetRule(least, len(scores), held, mean_size)


def _measured(
    probs: NDArray[np.floating],
    scores: NDArray[np.floating],
    groups: NDArray[np.integer],
    level: float,
) -> tuple[float | None, float | None]:
    """Return how many sets hold the right label, and their mean size, by rules of other images.

    The images are halved, and each half is judged by the rule of the other; the mean of several
    halvings changes less with chance. Images that belong together stay in one half.
    """
    random, distinct = np.random.default_rng(0), np.unique(groups)
    held, sizes = [], []
    for _ in range(_HALVINGS):
        first = np.isin(groups, random.permutation(distinct)[: len(distinct) // 2])
        for judged in (first, ~first):
            least = least_probability(scores[~judged], level=level)
            if least is None or not judged.any():
                return None, None
            held.append(scores[judged] >= least)
            sizes.append(np.maximum(1, (probs[judged] >= least).sum(axis=1)))
    return float(np.concatenate(held).mean()), float(np.concatenate(sizes).mean())
