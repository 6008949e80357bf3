"""The figures of one label column, each calculated from its counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle.quality import Confusion, LabelQuality, ReliabilityBin, rows_as_json

# By the key in a report's JSON, the attribute.
_LABEL_KEYS = {
    "label": "label",
    "support": "images",
    "precision": "precision",
    "recall": "recall",
    "f1": "f1",
}
_BIN_KEYS = {key: key for key in ("low", "high", "images", "accuracy", "confidence")}
_PAIR_KEYS = {"true": "label", "predicted": "taken_for", "count": "images", "share": "share"}


@dataclass(frozen=True, eq=False)
class Grades:
    """All figures of one label column. `metrics.grade` makes them.

    Attributes:
        labels: The column's C labels, in the order of the model's output.
        missing: Images left out because they have no label in this column.
        confusion: int64 (C, C) counts: row = true label, column = predicted label.
        top3_accuracy: Fraction of images whose label is among the three most probable, 0 to 1.
        top5_accuracy: Fraction of images whose label is among the five most probable, 0 to 1.
        log_loss: Mean of -ln(probability of the true label), in nats.
        reliability: The bins behind `ece`, from low to high confidence.
    """

    labels: tuple[str, ...]
    missing: int
    confusion: NDArray[np.int64]
    top3_accuracy: float
    top5_accuracy: float
    log_loss: float
    reliability: tuple[ReliabilityBin, ...]

    def __post_init__(self) -> None:
        if self.confusion.shape != (len(self.labels), len(self.labels)):
            raise ValueError(
                f"confusion: expected {len(self.labels)} rows and columns, "
                f"got shape {self.confusion.shape}"
            )
        if self.images < 1 or self.missing < 0:
            raise ValueError(f"expected at least one image, got {self.images}, {self.missing}")
        if (binned := sum(one.images for one in self.reliability)) != self.images:
            raise ValueError(f"reliability: expected {self.images} images in all, got {binned}")
        if not self.accuracy <= self.top3_accuracy <= self.top5_accuracy <= 1:
            raise ValueError(
                "accuracy, top-3 and top-5: expected rising fractions, got "
                f"{self.accuracy}, {self.top3_accuracy}, {self.top5_accuracy}"
            )
        if not 0 <= self.log_loss < np.inf:
            raise ValueError(f"log_loss: expected 0 or more, got {self.log_loss}")

    @cached_property
    def images(self) -> int:
        """Images graded."""
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        """Images whose most probable label is right."""
        return int(self.confusion.trace())

    @property
    def accuracy(self) -> float:
        """Fraction of images whose most probable label is right, 0 to 1."""
        return self.correct / self.images

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The 95 % interval of `accuracy` for this many images, 0 to 1 each."""
        return wilson_interval(self.correct, self.images)

    @cached_property
    def per_class(self) -> tuple[LabelQuality, ...]:
        """A score for each label, in the order of `labels`."""
        support, predicted = self.confusion.sum(axis=1).tolist(), self.confusion.sum(axis=0)
        return tuple(
            LabelQuality(
                label,
                images,
                recall=correct / images if images else None,
                precision=correct / given if given else None,
            )
            for label, images, given, correct in zip(
                self.labels, support, predicted.tolist(), self._correct_by_label, strict=True
            )
        )

    @property
    def _correct_by_label(self) -> list[int]:
        found: list[int] = self.confusion.diagonal().tolist()
        return found

    @property
    def occurring(self) -> int:
        """How many labels occur among the targets: those that `macro_f1` is the mean of."""
        return sum(score.images > 0 for score in self.per_class)

    @property
    def macro_f1(self) -> float:
        """Unweighted mean F1 (0 to 1) of the labels that occur among the targets.

        A label that no image has says nothing about the model, and is left out even where it was
        predicted: those wrong answers already lower the recall of the labels they took images from.
        """
        return float(np.mean([score.f1 for score in self.per_class if score.images]))

    @property
    def ece(self) -> float:
        """Expected calibration error, 0 to 1."""
        return expected_calibration_error(self.reliability)

    @cached_property
    def confusions(self) -> tuple[Confusion, ...]:
        """Every pair of labels that was confused at least once, most frequent first.

        Pairs of the same count are sorted by their fraction of the true label, then by the labels'
        order.
        """
        support = self.confusion.sum(axis=1)
        pairs = [
            Confusion(
                self.labels[true],
                self.labels[given],
                int(self.confusion[true, given]),
                float(self.confusion[true, given] / support[true]),
            )
            for true, given in zip(*np.nonzero(self.confusion), strict=True)
            if true != given
        ]
        return tuple(sorted(pairs, key=lambda pair: (-pair.images, -pair.share)))

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON-ready data.

        The confusion matrix is not repeated: its diagonal is `correct` of `per_class`, and every
        other count above 0 is in `confused_pairs`.
        """
        predicted = self.confusion.sum(axis=0).tolist()
        return {
            "images": self.images,
            "missing": self.missing,
            "labels": len(self.labels),
            "labels_occurring": self.occurring,
            "accuracy": _rounded(self.accuracy),
            "accuracy_interval_95": [_rounded(edge) for edge in self.accuracy_interval],
            "top3_accuracy": _rounded(self.top3_accuracy),
            "top5_accuracy": _rounded(self.top5_accuracy),
            "macro_f1": _rounded(self.macro_f1),
            "ece": _rounded(self.ece),
            "log_loss": _rounded(self.log_loss),
            "per_class": [
                {**row, "predicted": given, "correct": correct}
                for row, given, correct in zip(
                    rows_as_json(self.per_class, _LABEL_KEYS, digits=6),
                    predicted,
                    self._correct_by_label,
                    strict=True,
                )
            ],
            "reliability": rows_as_json(self.reliability, _BIN_KEYS, digits=6),
            "confused_pairs": rows_as_json(self.confusions, _PAIR_KEYS, digits=6),
        }


@dataclass(frozen=True, slots=True)
class SureAnswers:
    """What the threshold does: how many answers are marked sure, and how often those are right.

    Attributes:
        min_confidence: An answer of at least this confidence is sure, 0 to 1; None where no answer
            of the model is.
        images: All answers.
        correct: Those of them that are right.
        sure: Those marked sure.
        sure_correct: Those marked sure and right.
    """

    min_confidence: float | None
    images: int
    correct: int
    sure: int
    sure_correct: int

    def __post_init__(self) -> None:
        if self.min_confidence is None and self.sure:
            raise ValueError(f"expected no sure answers without a min_confidence, got {self}")
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence: expected 0 to 1, got {self.min_confidence}")
        unsure, unsure_correct = self.images - self.sure, self.correct - self.sure_correct
        if (
            self.images < 1
            or not 0 <= self.sure_correct <= self.sure
            or not 0 <= unsure_correct <= unsure
        ):
            raise ValueError(f"expected counts that add up, got {self}")

    @property
    def precision(self) -> float | None:
        """Fraction of the sure answers that are right, 0 to 1; None if no answer is sure."""
        return self.sure_correct / self.sure if self.sure else None

    @property
    def coverage(self) -> float:
        """Fraction of all answers that are sure, 0 to 1."""
        return self.sure / self.images

    def as_json(self) -> dict[str, Any]:
        """Return threshold, precision (null if no answer is sure), coverage and the counts."""
        return {
            "min_confidence": _rounded(self.min_confidence),
            "precision": _rounded(self.precision),
            "coverage": _rounded(self.coverage),
            "sure": self.sure,
            "sure_correct": self.sure_correct,
        }


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """Return the 95 % interval (low, high), 0 to 1, of a fraction seen as `hits` of `trials`.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    z = 1.959963984540054
    share = hits / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = (
        z
        / (1 + z * z / trials)
        * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    )
    # By rounding, 0 of n could give a low edge just above 0, and n of n a high edge just below 1.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the mean gap between accuracy and confidence, bins weighted by images; 0 to 1.

    Source: Naeini et al. 2015, in the form of Guo et al. 2017, equation 3.
    """
    images = sum(one.images for one in bins)
    return sum(
        one.images / images * abs(one.accuracy - one.confidence)
        for one in bins
        if one.accuracy is not None and one.confidence is not None
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
