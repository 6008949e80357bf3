"""Curves from confidence to how often answers are right, one for each kind of photo.

A temperature makes all answers more certain, or all less. Networks that learned from smoothed
labels need both at once: their most certain answers are right more often than they say, the others
less often. And what holds for catalogue photos does not hold for photos taken with a phone. So
after the temperature, the confidence of an answer goes through a curve of three numbers ("beta
calibration": Kull, Silva Filho, Flach, AISTATS 2017). There is one curve for each validation set,
and a classifier on the network's own answers, in all label columns, says which set a photo is like.

The answer stays the same, and the other labels share the rest in their old proportions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.calibration.regression import fit_head
from shopwindow.evaluation.asking import Probs

# Three numbers fitted to fewer answers would follow chance.
MIN_IMAGES = 200
# A curve is a straight line below this quantile of the answers that it was fitted to.
_LOWEST_QUANTILE = 0.01
# Logarithms are taken of confidences from here to 1 minus this.
FLOOR = 1e-6
# Added to every other label, so that they can share a rest even where all of them are at 0.
TINY = 1e-9
# The best label stays ahead of the second by this factor.
LEAD = 1.02
# Where the best two labels are nearer than this, the confidence changes less, and not at all in a
# tie: whichever of them rounding puts first, their confidences are nearly the same.
NEAR_TIE = 0.05
# Of the regression that tells kinds of photos apart: scikit-learn's C, on standardised inputs.
_REGULARISATION_C = 0.1
# Newton's method ends where a step would lower the loss, which is some hundreds, by less than this.
_LEAST_GAIN = 1e-9
_MAX_STEPS = 100


@dataclass(frozen=True)
class BetaCalibration:
    """How often answers are right: logit g(c) = rise ln c - fall ln(1 - c) + shift.

    c is a confidence; the numbers are the paper's a, b and c. With rise and fall of 0 or more the
    curve never falls; (1, 1, 0) leaves a confidence as it is.

    Attributes:
        rise: 0 or more.
        fall: 0 or more.
        shift: Any number.
        lowest: Below it, the curve is a straight line to 0: a hopeless answer stays one, even where
            the curve was fitted to better ones only.
    """

    rise: float
    fall: float
    shift: float
    lowest: float = 0.0

    def __call__(self, confidences: NDArray[np.floating]) -> NDArray[np.float64]:
        """(...) confidences, 0 to 1 -> the same shape, 0 to 1."""
        given, lowest = np.asarray(confidences, np.float64), max(self.lowest, FLOOR)
        values = _sigmoid(_inputs(np.maximum(given, lowest)) @ [self.rise, self.fall, self.shift])
        return np.asarray(values * np.minimum(given / lowest, 1), np.float64)


def _inputs(confidences: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(confidences, FLOOR, 1 - FLOOR)
    return np.stack([np.log(inside), -np.log(1 - inside), np.ones_like(inside)], -1)


def fit_beta_calibration(
    confidences: NDArray[np.floating], right: NDArray[np.bool_]
) -> BetaCalibration:
    """Return the most likely curve.

    A weak prior for the curve that changes nothing is added to the likelihood, as for temperatures:
    where all answers are right, the likelihood alone has no maximum.

    Args:
        confidences: (N,) of answers, 0 to 1; at least one.
        right: (N,) whether they were right.
    """
    inputs = _inputs(np.asarray(confidences, np.float64))
    signs = np.where(right, 1.0, -1.0)
    unchanged = np.array([1.0, 1.0, 0.0])

    def loss(numbers: NDArray[np.float64]) -> float:
        misfits = np.logaddexp(0, -signs * (inputs @ numbers))
        return float(misfits.sum() + ((numbers - unchanged) ** 2).sum())

    numbers = unchanged
    for _ in range(_MAX_STEPS):
        wrong = _sigmoid(-signs * (inputs @ numbers))
        slopes = -(signs * wrong) @ inputs + 2 * (numbers - unchanged)
        curvature = (inputs.T * (wrong * (1 - wrong))) @ inputs + 2 * np.eye(3)
        step = _least_quadratic(curvature, curvature @ numbers - slopes) - numbers
        fall_of_loss = -float(slopes @ step)
        if fall_of_loss < _LEAST_GAIN:
            break
        # Far from the optimum a whole step may overshoot (Nocedal, Wright 2006, algorithm 3.1).
        before, length = loss(numbers), 1.0
        while loss(numbers + length * step) > before - 1e-4 * length * fall_of_loss:
            length /= 2
        numbers = numbers + length * step
    rise, fall, shift = (float(number) for number in numbers)
    return BetaCalibration(rise, fall, shift, float(np.quantile(confidences, _LOWEST_QUANTILE)))


def _least_quadratic(
    curvature: NDArray[np.float64], towards: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the x of least x @ curvature @ x / 2 - towards @ x, its first two numbers 0 or more.

    Args:
        curvature: (3, 3), positive definite.
        towards: (3,).
    """
    found = []
    # Each of the two numbers is either at its bound or free; where it is free, its slope is 0.
    for free in ([0, 1, 2], [0, 2], [1, 2], [2]):
        one = np.zeros(3)
        one[free] = np.linalg.solve(curvature[np.ix_(free, free)], towards[free])
        if (one[:2] >= 0).all():
            found.append(one)
    return max(found, key=lambda one: float(towards @ one))


def _sigmoid(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0, -numbers)), np.float64)


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """(N, C) logits -> (N, C) probabilities of the same dtype, each row of sum 1."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class DomainClassifier:
    """Says which data set a photo is like, from the network's answers.

    Attributes:
        weights: (D, K) float32, for the logarithms of the probabilities of all D labels.
        bias: (K,) float32.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, answers: Probs) -> NDArray[np.float64]:
        """Per label column (n, C) probabilities -> (n, K) how likely it is each of the domains."""
        return softmax(_logarithms(answers) @ self.weights + self.bias)


def _logarithms(answers: Probs) -> NDArray[np.float64]:
    together = np.concatenate(list(answers.values()), axis=1).astype(np.float64)
    return np.asarray(np.log(np.maximum(together, FLOOR)), np.float64)


def fit_domain_classifier(answers: Sequence[Probs], weights: Sequence[float]) -> DomainClassifier:
    """Learn to tell data sets apart.

    Args:
        answers: What the network says about images of each; two data sets or more.
        weights: What the images of each count together, above 0.
    """
    rows = [_logarithms(one) for one in answers]
    together = np.concatenate(rows)
    mean, spread = together.mean(axis=0), together.std(axis=0)
    spread[spread < FLOOR] = 1  # what never changes says nothing
    inputs = ((together - mean) / spread).astype(np.float32)
    each = [np.full(len(r), w / len(r)) for r, w in zip(rows, weights, strict=True)]
    kind = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    # What scikit-learn's C means there. It tells two kinds apart by one number in place of two that
    # differ by as much, of which the squares are half as great; and `fit_head` brings the inputs to
    # a mean variance of 1, which those that never change lower.
    penalty = (2 if len(rows) == 2 else 1) / (_REGULARISATION_C * len(together))
    penalty /= float(inputs.var(axis=0).mean()) or 1.0
    head = fit_head(
        inputs,
        kind[:, None] == np.arange(len(rows)),
        penalty=penalty,
        weights=np.concatenate(each),
    )
    slopes = head.weights / spread[:, None]
    return DomainClassifier(
        slopes.astype(np.float32), (head.bias - mean @ slopes).astype(np.float32)
    )


@dataclass(frozen=True)
class Confidence:
    """Calibrates the confidence of the main label column.

    Attributes:
        curves: One for each kind of photo, at least one.
        domains: Which kind a photo is of; None where there is only one.
        fitted_to: By the position of each data set that has a curve, the number of images that the
            curve was fitted to.
    """

    curves: tuple[BetaCalibration, ...]
    domains: DomainClassifier | None
    fitted_to: dict[int, int]

    def __call__(self, answers: Probs) -> NDArray[np.float32]:
        """Return calibrated probabilities of the main label column, which comes first.

        Args:
            answers: Per label column (n, C) probabilities.

        Returns:
            (n, C), each row of sum 1; the first label stays the first.
        """
        rows = next(iter(answers.values())).astype(np.float64)
        numbers = np.arange(len(rows))
        best = rows.argmax(axis=1)
        highest = rows[numbers, best]
        by_domain = np.stack([curve(highest) for curve in self.curves], axis=1)
        if self.domains is not None:
            by_domain = by_domain * self.domains(answers)
        others = rows + TINY
        others[numbers, best] = 0
        rest, second = others.sum(axis=1), others.max(axis=1)
        # The second label gets second / rest of what is left, and is not to come before the first.
        curved = np.maximum(by_domain.sum(axis=1), LEAD * second / (rest + second))
        apart = np.clip((highest - second) / NEAR_TIE, 0, 1)
        confidences = highest + apart * (curved - highest)
        others *= ((1 - confidences) / rest)[:, None]
        others[numbers, best] = confidences
        return others.astype(np.float32)


def fit_confidence(
    answers: Sequence[Probs],
    scored: Sequence[tuple[NDArray[np.floating], NDArray[np.bool_]]],
    weights: Sequence[float],
) -> Confidence | None:
    """Fit a curve for each data set of which enough images have a right answer.

    Args:
        answers: What the network says about held-out images of each, with honest temperatures: per
            label column (n, C) probabilities, the main one first.
        scored: Of each, (m,) confidences of the answers in the main column to images that have a
            right one, and (m,) whether they were right.
        weights: What the images of each count together, above 0.

    Returns:
        None where all are too small, or the main column has one label only: then confidences stay
        as they are.
    """
    if next(iter(answers[0].values())).shape[1] < 2:
        return None
    enough = [number for number, (sure, _) in enumerate(scored) if len(sure) >= MIN_IMAGES]
    if not enough:
        return None
    domains = None
    if len(enough) > 1:
        domains = fit_domain_classifier([answers[n] for n in enough], [weights[n] for n in enough])
    return Confidence(
        tuple(fit_beta_calibration(*scored[n]) for n in enough),
        domains,
        {n: len(scored[n][0]) for n in enough},
    )
