"""Fit on validation images what makes a confidence honest: temperatures, curves and thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import Families, Threshold
from shopwindow.calibration.confidence import (
    MIN_IMAGES,
    Confidence,
    Probs,
    fit_confidence,
    softmax,
)
from shopwindow.calibration.temperature import choose_threshold, fit_temperature
from shopwindow.data.dataset import Dataset
from shopwindow.data.label_sets import allowed_labels, likeliest_allowed
from shopwindow.inference.predictor import family_probs

# Softmax of the logarithm of a probability is that probability, so a bundle's answers do as logits.
# The least normal float32 stands for 0, which has no logarithm.
LEAST = float(np.finfo(np.float32).tiny)
SURE_PRECISION = 0.95
FAMILY_PRECISION = 0.98
_Answers = tuple[NDArray[np.floating], NDArray[np.bool_]]  # (n,) confidences, (n,) whether right


@dataclass(frozen=True)
class ValidationSet:
    """Validation images of one data set, and what the network says about them.

    Attributes:
        name: Of the data set.
        dataset: Where they come from; its main column has the labels of the network's.
        indices: (n,) which images.
        logits: By label column of the network, (n, C) float32.
        weight: What its images count together, above 0 to 1; see `batch_fractions`.
    """

    name: str
    dataset: Dataset
    indices: NDArray[np.int64]
    logits: Probs
    weight: float

    def has(self, column: str) -> bool:
        """Say whether these images are labelled in a column of the network."""
        return column == self._main or column in self.dataset.label_columns[1:]

    def targets(self, column: str, probs: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the (n,) codes to judge (n, C) probabilities by; -1 where there is none."""
        own = self._own(column)
        return likeliest_allowed(probs, self.dataset.codes[own][self.indices], self._sets(own))

    def allowed(self, column: str) -> NDArray[np.bool_]:
        """Return (n, C) bool: the labels that are right."""
        own = self._own(column)
        return allowed_labels(self.dataset.codes[own][self.indices], self._sets(own))

    @property
    def _main(self) -> str:
        return next(iter(self.logits))

    def _own(self, column: str) -> str:
        # The main columns belong together whatever they are called.
        return self.dataset.label_columns[0] if column == self._main else column

    def _sets(self, own: str) -> NDArray[np.bool_]:
        return self.dataset.sets[own]


@dataclass(frozen=True)
class Calibration:
    """What export puts on top of a network.

    Attributes:
        temperatures: One per label column, by which logits are divided.
        confidence: What then makes the main column honest, for each kind of photo; None where too
            few images were judged.
        curves: `source` and `images` for each data set that has a curve: to how many it was fitted.
        threshold: Where an answer of the main column is sure.
        families: Coarser answers, each with a threshold of its own.
    """

    temperatures: dict[str, float]
    confidence: Confidence | None
    curves: tuple[dict[str, Any], ...]
    threshold: Threshold
    families: tuple[Families, ...]

    def probs(self, logits: Probs) -> Probs:
        """Return calibrated probabilities, (n, C) per label column."""
        cooled = _cooled(logits, self.temperatures)
        if self.confidence is not None:
            cooled[next(iter(cooled))] = self.confidence(cooled)
        return cooled


def _cooled(logits: Probs, temperatures: dict[str, float]) -> Probs:
    """Return the probabilities at these temperatures, (n, C) per label column."""
    return {name: softmax(part / temperatures[name]) for name, part in logits.items()}


def calibrate(
    validation_sets: Sequence[ValidationSet],
    families: dict[str, tuple[str, ...]],
    *,
    precision: float,
) -> Calibration:
    """Fit a temperature per label column, and curves and thresholds for the main one.

    Temperatures and thresholds are for all judged images together, curves for each data set (see
    `confidence`). Together, each data set counts by its weight, and not by how many of its images
    happen to be held out: a few hundred phone photos beside ten times as many of a catalogue would
    hardly be heard.

    A label is sure where `precision` holds for all images together, so counted. A family is told
    where the label is in doubt, so it has to be nearly certain, and for each kind of photo by
    itself: the highest of the thresholds that the data sets ask for; never, where one of them is
    not nearly certain anywhere. Such a one is only heard with `MIN_IMAGES` judged images or more.

    Args:
        validation_sets: The main data set first; no image of them was trained on.
        families: By kind of family, the family of each label of the main column.
        precision: The share of right labels, 0 to 1, among those that are sure.
    """
    columns = list(validation_sets[0].logits)
    temperatures = {}
    for name in columns:
        temperatures[name] = 1.0
        if known := [one for one in validation_sets if one.has(name)]:
            logits = np.concatenate([one.logits[name] for one in known])
            targets = [one.targets(name, one.logits[name]) for one in known]
            weights = _image_weights([one.weight for one in known], targets)
            if (some := weights > 0).any():
                temperatures[name] = fit_temperature(
                    logits[some], np.concatenate(targets)[some], weights[some]
                )
    allowed = [one.allowed(columns[0]) for one in validation_sets]
    cooled = [_cooled(one.logits, temperatures) for one in validation_sets]
    confidence = fit_confidence(
        cooled,
        [_answers(rows[columns[0]], right) for rows, right in zip(cooled, allowed, strict=True)],
        [one.weight for one in validation_sets],
    )
    fitted_to = {} if confidence is None else confidence.fitted_to
    curves = tuple(
        {"source": validation_sets[number].name, "images": images}
        for number, images in fitted_to.items()
    )
    fitted = Calibration(temperatures, confidence, curves, Threshold(1.0, 0.0, 0.0), ())
    probs = [fitted.probs(one.logits)[columns[0]] for one in validation_sets]

    return Calibration(
        temperatures,
        confidence,
        curves,
        _pooled(
            [_answers(rows, right) for rows, right in zip(probs, allowed, strict=True)],
            [one.weight for one in validation_sets],
            precision,
        ),
        tuple(
            Families(
                kind,
                of,
                _strictest(
                    [
                        _answers(*_by_family(kind, of, rows, right))
                        for rows, right in zip(probs, allowed, strict=True)
                    ],
                    FAMILY_PRECISION,
                ),
            )
            for kind, of in families.items()
        ),
    )


def _image_weights(
    dataset_weights: Sequence[float], targets: Sequence[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Return what each image counts: 0 without a label, else 1 in the mean.

    Args:
        dataset_weights: Of each data set; those without any label leave theirs to the others.
        targets: Of each data set, (n,) codes, -1 where there is no label.
    """
    rows = [
        np.where(codes >= 0, weight / max(1, int((codes >= 0).sum())), 0.0)
        for weight, codes in zip(dataset_weights, targets, strict=True)
    ]
    weights: NDArray[np.float64] = np.concatenate(rows)
    some = weights > 0
    return weights / float(weights[some].mean()) if some.any() else weights


def _answers(probs: NDArray[np.floating], allowed: NDArray[np.bool_]) -> _Answers:
    """Return confidence and correctness of the images that have a right answer."""
    some = allowed.any(axis=1)
    probs, allowed = probs[some], allowed[some]
    return probs.max(axis=1), allowed[np.arange(len(probs)), probs.argmax(axis=1)]


def _by_family(
    kind: str, of: tuple[str, ...], probs: NDArray[np.float32], allowed: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    families = Families(kind, of, Threshold(1.0, 0.0, 0.0))
    _, summed = family_probs(families, probs)
    _, counts = family_probs(families, allowed.astype(np.float32))
    return np.minimum(summed, 1), counts > 0


def _pooled(
    answers: Sequence[_Answers], dataset_weights: Sequence[float], precision: float
) -> Threshold:
    confidences, right = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    weights = np.concatenate(
        [
            np.full(len(one), weight / max(1, len(one)))
            for (one, _), weight in zip(answers, dataset_weights, strict=True)
        ]
    )
    found = choose_threshold(confidences, right, precision=precision, weights=weights)
    return found if found.coverage == 0 else _worth(found.min_confidence, answers)


def _strictest(answers: Sequence[_Answers], precision: float) -> Threshold:
    each = []
    for number, (confidences, right) in enumerate(answers):
        if not len(confidences):
            continue
        one = choose_threshold(confidences, right, precision=precision)
        if one.coverage > 0:
            each.append(one.min_confidence)
        elif number == 0 or len(confidences) >= MIN_IMAGES:
            return Threshold(1.0, 0.0, 0.0)
    return _worth(max(each), answers) if each else Threshold(1.0, 0.0, 0.0)


def _worth(least: float, answers: Sequence[_Answers]) -> Threshold:
    """Return what a threshold is worth on the main data set, which the card is about."""
    confidences, right = answers[0]
    sure = confidences >= least
    return Threshold(least, float(right[sure].mean()) if sure.any() else 0.0, float(sure.mean()))


def families_of(dataset: Dataset, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the family of each main label: the one that most of its images have.

    Args:
        dataset: The main data set.
        columns: Label columns that name the main label more coarsely.

    Returns:
        By column, one family per main label; a label without any is a family of its own.
    """
    main = dataset.label_columns[0]
    labels, codes = dataset.vocabularies[main], dataset.codes[main]
    result = {}
    for column in columns:
        names = dataset.vocabularies[column]
        counts = np.zeros((len(labels), len(names)), np.int64)
        both = (codes >= 0) & (codes < len(labels))
        both &= (dataset.codes[column] >= 0) & (dataset.codes[column] < len(names))
        np.add.at(counts, (codes[both], dataset.codes[column][both]), 1)
        result[column] = tuple(
            names[row.argmax()] if row.any() else label
            for label, row in zip(labels, counts, strict=True)
        )
    return result


def as_logits(probs: Probs) -> Probs:
    """Return finite numbers (n, C) whose softmax is these probabilities, per label column."""
    return {name: np.log(np.maximum(rows, np.float32(LEAST))) for name, rows in probs.items()}
