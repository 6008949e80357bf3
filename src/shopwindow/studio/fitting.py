"""The linear probe of a project: fitted again after each change, measured beside that.

A new head begins where the last one ended, with the penalty that the last search chose, so it is
there within a fraction of a second. What it is worth is measured by cross-validation, in the folds
and by the penalties that `shopwindow train` would take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import Threshold
from shopwindow.calibration.curves import softmax
from shopwindow.calibration.regression import LinearHead, fit_head
from shopwindow.calibration.temperature import fit_temperature
from shopwindow.calibration.thresholds import NEVER, SURE_PRECISION, choose_threshold
from shopwindow.evaluation.grades import Grades
from shopwindow.evaluation.metrics import grade
from shopwindow.probe.cross_validation import PENALTIES, assign_folds, cross_validate
from shopwindow.probe.heads import FOLDS

# Until the first search: what the search most often chose on photos of clothes and of shapes.
USUAL_PENALTY = 0.1
SEED = 42  # of the folds, as in a training
MIN_PHOTOS = 2  # of a label, as in a training


@dataclass(frozen=True)
class Examples:
    """What is learned from.

    Attributes:
        names: Of the n photos.
        features: (n, D) float32.
        labels: The C labels, sorted.
        codes: (n,) int64, the label of each photo.
        groups: (n,) int64; photos with the same number are never on both sides of a fold.
    """

    names: tuple[str, ...]
    features: NDArray[np.float32]
    labels: tuple[str, ...]
    codes: NDArray[np.int64]
    groups: NDArray[np.int64]

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """(n, C) bool: the label of each photo."""
        return np.eye(len(self.labels), dtype=np.bool_)[self.codes]


@dataclass(frozen=True)
class Measured:
    """What heads say about photos that they have not learned from.

    Attributes:
        examples: The photos.
        probs: (n, C) float32 probabilities, calibrated.
        temperature: By which logits were divided.
        threshold: Where an answer is sure.
        penalty: Of the heads.
    """

    examples: Examples
    probs: NDArray[np.float32]
    temperature: float
    threshold: Threshold
    penalty: float

    @cached_property
    def grades(self) -> Grades:
        """All figures of these answers."""
        return grade(self.probs, self.examples.codes, self.examples.labels)


@dataclass(frozen=True)
class Fitted:
    """A head, and how its answers are calibrated.

    Attributes:
        labels: The C labels.
        head: From features to C logits.
        penalty: That it was fitted with.
        temperature: By which logits are divided.
        threshold: Where an answer is sure.
        photos: How many it has learned from.
    """

    labels: tuple[str, ...]
    head: LinearHead
    penalty: float
    temperature: float = 1.0
    threshold: Threshold = NEVER
    photos: int = 0

    def probs(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D) features -> (N, C) calibrated probabilities."""
        probs: NDArray[np.float32] = softmax(self.head(features) / self.temperature)
        return probs.astype(np.float32)

    def calibrated_as(self, measured: Measured) -> Fitted:
        """Return the same head with the calibration that was measured."""
        return replace(self, temperature=measured.temperature, threshold=measured.threshold)


def fit(examples: Examples, penalty: float, before: Fitted | None) -> Fitted:
    """Fit a head to all photos, starting from the one before."""
    start = None if before is None else _start(before, examples.labels)
    head = fit_head(examples.features, examples.allowed, penalty=penalty, start=start)
    fitted = Fitted(examples.labels, head, penalty, photos=len(examples.names))
    if before is None:
        return fitted
    return replace(fitted, temperature=before.temperature, threshold=before.threshold)


def measure(
    examples: Examples,
    penalties: Sequence[float] = PENALTIES,
    step: Callable[[], None] = lambda: None,
) -> Measured | None:
    """Cross-validate; None where all photos belong to one group.

    Args:
        examples: What is learned from.
        penalties: One, or those to choose from.
        step: Called after each head; what it raises ends the work.
    """
    folds = assign_folds(examples.codes, examples.groups, FOLDS, seed=SEED)
    if len(np.unique(folds)) < 2:
        return None
    found = cross_validate(
        examples.features, examples.allowed, folds, penalties=penalties, step=step
    )
    temperature = fit_temperature(found.logits, examples.codes)
    probs = softmax(found.logits / temperature).astype(np.float32)
    threshold = choose_threshold(
        probs.max(axis=1), probs.argmax(axis=1) == examples.codes, precision=SURE_PRECISION
    )
    return Measured(examples, probs, temperature, threshold, found.penalty)


def _start(before: Fitted, labels: tuple[str, ...]) -> LinearHead:
    """Return the weights of the labels that are still there, and zeros for new ones."""
    weights = np.zeros((len(before.head.weights), len(labels)), np.float32)
    bias = np.full(len(labels), before.head.bias.min(initial=0.0), np.float32)
    known = {label: number for number, label in enumerate(before.labels)}
    for number, label in enumerate(labels):
        if label in known:
            weights[:, number] = before.head.weights[:, known[label]]
            bias[number] = before.head.bias[known[label]]
    return LinearHead(weights, bias)
