"""The figures of one label column, as value objects that refuse to contradict themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _require_fraction(name: str, value: float | None) -> None:
    """Raise ValueError unless `value` is None (undefined) or a number from 0 to 1."""
    # Written so that NaN fails: every comparison with NaN is false.
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"{name}: expected 0 to 1, got {value}")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How one label fared.

    Attributes:
        label: The label.
        support: Images whose true label this is.
        predicted: Images that were given this label.
        correct: Images of which both hold.
    """

    label: str
    support: int
    predicted: int
    correct: int

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= min(self.support, self.predicted):
            raise ValueError(
                f"{self.label!r}: expected correct from 0 to the smaller of support "
                f"({self.support}) and predicted ({self.predicted}), got {self.correct}"
            )

    @property
    def precision(self) -> float | None:
        """Share of the images given this label that have it, 0 to 1; None if none was given it."""
        return self.correct / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """Share of the images with this label that were given it, 0 to 1; None if there is none."""
        return self.correct / self.support if self.support else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall, 0 to 1; None if the label occurs on no side."""
        involved = self.support + self.predicted
        return 2 * self.correct / involved if involved else None

    def as_json(self) -> dict[str, Any]:
        """Return the counts and the three scores (null where undefined)."""
        return {
            "label": self.label,
            "support": self.support,
            "predicted": self.predicted,
            "correct": self.correct,
            "precision": _rounded(self.precision),
            "recall": _rounded(self.recall),
            "f1": _rounded(self.f1),
        }


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The answers whose confidence lies in (low, high].

    Attributes:
        low: Lower edge, left out of the bin.
        high: Upper edge, part of the bin.
        images: How many answers fell here.
        accuracy: Share of them that is right; None in an empty bin.
        confidence: Their mean confidence; None in an empty bin.
    """

    low: float
    high: float
    images: int
    accuracy: float | None
    confidence: float | None

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(f"bin: expected 0 <= low < high <= 1, got ({self.low}, {self.high}]")
        _require_fraction("accuracy of a bin", self.accuracy)
        _require_fraction("confidence of a bin", self.confidence)
        undefined = (self.accuracy is None, self.confidence is None)
        if self.images < 0 or undefined != (self.images == 0, self.images == 0):
            raise ValueError(f"bin: expected figures exactly where there are images, got {self}")

    def as_json(self) -> dict[str, Any]:
        """Return the bin's edges, count and means (null where empty)."""
        return {
            "low": _rounded(self.low),
            "high": _rounded(self.high),
            "images": self.images,
            "accuracy": _rounded(self.accuracy),
            "confidence": _rounded(self.confidence),
        }


@dataclass(frozen=True, slots=True)
class ConfusedPair:
    """Images of one label that were given another.

    Attributes:
        true: The label they have.
        predicted: The label they were given.
        count: How many.
        share: `count` divided by the number of images of the true label, above 0 to 1.
    """

    true: str
    predicted: str
    count: int
    share: float

    def __post_init__(self) -> None:
        _require_fraction(f"share of {self.true!r} given {self.predicted!r}", self.share)
        if self.true == self.predicted or self.count < 1:
            raise ValueError(f"expected two labels and a count of at least 1, got {self}")

    def as_json(self) -> dict[str, Any]:
        """Return the pair, its count and its share."""
        return {
            "true": self.true,
            "predicted": self.predicted,
            "count": self.count,
            "share": _rounded(self.share),
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
        if self.min_confidence is not None:
            _require_fraction("min_confidence", self.min_confidence)
        elif self.sure:
            raise ValueError(f"expected no sure answers without a min_confidence, got {self}")
        unsure, unsure_correct = self.images - self.sure, self.correct - self.sure_correct
        if (
            self.images < 1
            or not 0 <= self.sure_correct <= self.sure
            or not 0 <= unsure_correct <= unsure
        ):
            raise ValueError(f"expected counts that add up, got {self}")

    @property
    def precision(self) -> float | None:
        """Share of the sure answers that is right, 0 to 1; None if no answer is sure."""
        return self.sure_correct / self.sure if self.sure else None

    @property
    def coverage(self) -> float:
        """Share of all answers that is sure, 0 to 1."""
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


@dataclass(frozen=True, slots=True, eq=False)
class Grades:
    """All figures of one label column. `metrics.grade` makes them.

    Attributes:
        labels: The column's labels, in the order of the model's output.
        images: Images graded.
        missing: Images left out because they have no label in this column.
        accuracy: Share of images whose most probable label is right, 0 to 1.
        accuracy_interval: The 95 % interval of `accuracy` for this many images, 0 to 1 each.
        top3_accuracy: Share of images whose label is among the three most probable, 0 to 1.
        top5_accuracy: Share of images whose label is among the five most probable, 0 to 1.
        macro_f1: Mean F1 of the labels that occur among the targets, 0 to 1.
        ece: Expected calibration error, 0 to 1.
        log_loss: Mean of -ln(probability of the true label), in nats.
        per_class: A score for each label, in the order of `labels`.
        reliability: The bins behind `ece`, from low to high confidence.
        confused_pairs: Every pair that was confused at least once, most frequent first.
        confusion: int64 (C, C) counts: row = true label, column = predicted label.
    """

    labels: tuple[str, ...]
    images: int
    missing: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    top3_accuracy: float
    top5_accuracy: float
    macro_f1: float
    ece: float
    log_loss: float
    per_class: tuple[ClassScore, ...]
    reliability: tuple[ReliabilityBin, ...]
    confused_pairs: tuple[ConfusedPair, ...]
    confusion: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("accuracy", "top3_accuracy", "top5_accuracy", "macro_f1", "ece"):
            _require_fraction(name, getattr(self, name))
        low, high = self.accuracy_interval
        if not 0 <= low <= self.accuracy <= high <= 1:
            raise ValueError(f"accuracy_interval: expected around {self.accuracy}, got {low, high}")
        if not 0 <= self.log_loss < np.inf:
            raise ValueError(f"log_loss: expected 0 or more, got {self.log_loss}")
        shares = (self.accuracy, self.top3_accuracy, self.top5_accuracy)
        if list(shares) != sorted(shares):
            raise ValueError(f"accuracy, top-3 and top-5: expected rising shares, got {shares}")
        if self.images < 1 or self.missing < 0:
            raise ValueError(f"expected at least one image, got {self.images}, {self.missing}")
        if tuple(score.label for score in self.per_class) != self.labels:
            raise ValueError("per_class: expected one score per label, in the order of the labels")
        if self.confusion.shape != (len(self.labels), len(self.labels)):
            raise ValueError(
                f"confusion: expected {len(self.labels)} rows and columns, "
                f"got shape {self.confusion.shape}"
            )
        totals = {
            "confusion": int(self.confusion.sum()),
            "per_class": sum(score.support for score in self.per_class),
            "reliability": sum(one.images for one in self.reliability),
            "confused_pairs and right answers": sum(pair.count for pair in self.confused_pairs)
            + sum(score.correct for score in self.per_class),
        }
        for name, total in totals.items():
            if total != self.images:
                raise ValueError(f"{name}: expected {self.images} images in all, got {total}")

    @property
    def occurring(self) -> int:
        """How many labels occur among the targets: those that `macro_f1` is the mean of."""
        return sum(score.support > 0 for score in self.per_class)

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON-ready data.

        The confusion matrix is not repeated: its diagonal is `correct` of `per_class`, and every
        other count above 0 is in `confused_pairs`.
        """
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
            "per_class": [score.as_json() for score in self.per_class],
            "reliability": [one.as_json() for one in self.reliability],
            "confused_pairs": [pair.as_json() for pair in self.confused_pairs],
        }
