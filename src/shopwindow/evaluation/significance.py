"""Is B better than A, by how much, and could it be chance? Answers in, figures out.

Both models answered the same images, so their mistakes are paired, and only images on which exactly
one of them is right say which is better. That is far more than two separate intervals would show.

Images are taken as drawn independently of each other. Where they come in groups (several photos by
one sender), the truth is less certain than the interval says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shopwindow.errors import DataError

SIGNIFICANCE = 0.05
RESAMPLES = 10_000
SEED = 42

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class PairedCounts:
    """How often two models were right on the same images.

    Attributes:
        images: How many.
        both: Images on which both are right.
        only_a: Images on which A alone is right.
        only_b: Images on which B alone is right.
    """

    images: int
    both: int
    only_a: int
    only_b: int

    def __post_init__(self) -> None:
        right = self.both + self.only_a + self.only_b
        if min(self.both, self.only_a, self.only_b) < 0 or not 1 <= self.images >= right:
            raise ValueError(f"expected counts of images, at most all of them, got {self}")

    @property
    def accuracy_a(self) -> float:
        """Fraction of images on which A is right, 0 to 1."""
        return (self.both + self.only_a) / self.images

    @property
    def accuracy_b(self) -> float:
        """Fraction of images on which B is right, 0 to 1."""
        return (self.both + self.only_b) / self.images

    @property
    def difference(self) -> float:
        """Accuracy of B minus that of A, -1 to 1."""
        return (self.only_b - self.only_a) / self.images


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two models on all images, or on those of one label, where accuracy is the label's recall.

    Attributes:
        counts: How often each was right.
        interval: 95 % interval of the difference of the accuracies (B - A), -1 to 1 each.
        p_value: How probable such a difference, or a larger one, would be if the models were
            equally good, 0 to 1. For labels, raised so that it holds for all labels together.
    """

    counts: PairedCounts
    interval: Interval
    p_value: float

    @property
    def better(self) -> Literal["a", "b"] | None:
        """Which one is better; None where these images cannot tell."""
        low, high = self.interval
        if self.p_value >= SIGNIFICANCE or low <= 0 <= high:
            return None
        return "b" if low > 0 else "a"

    def as_json(self) -> dict[str, Any]:
        """Return all figures as JSON-ready data."""
        return {
            "images": self.counts.images,
            "accuracy_a": round(self.counts.accuracy_a, 6),
            "accuracy_b": round(self.counts.accuracy_b, 6),
            "difference": round(self.counts.difference, 6),
            "difference_interval_95": [round(edge, 6) for edge in self.interval],
            "only_a_right": self.counts.only_a,
            "only_b_right": self.counts.only_b,
            "p_value": float(f"{self.p_value:.6g}"),
            "better": self.better,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare_answers` found.

    Attributes:
        overall: On all images.
        per_class: By label, for those labels that at least one image has.
    """

    overall: PairedTest
    per_class: dict[str, PairedTest]

    def as_json(self) -> dict[str, Any]:
        """Return all figures as JSON-ready data."""
        return {
            "overall": self.overall.as_json(),
            "per_class": [
                {"label": label, **one.as_json()} for label, one in self.per_class.items()
            ],
        }


def compare_answers(
    right_a: ArrayLike, right_b: ArrayLike, targets: ArrayLike, labels: Sequence[str]
) -> Comparison:
    """Compare two models by their answers to the same images.

    Args:
        right_a: Bool (N,), whether A's answer to each image is right.
        right_b: Bool (N,), whether B's is, in the same order.
        targets: Integer (N,), each image's true label as an index into `labels`; -1 where it has
            several: such an image counts overall, and for none of them.
        labels: The C labels.

    Returns:
        Accuracies, their difference (B - A) with a 95 % interval, and a p-value: on all images,
        and by label, with p-values that are corrected for the number of labels.

    Raises:
        ValueError: Shapes or types are not as above.
        DataError: There is no image.
    """
    a, b, codes = np.asarray(right_a), np.asarray(right_b), np.asarray(targets)
    for name, right in (("right_a", a), ("right_b", b)):
        if right.dtype != np.bool_ or right.shape != (len(codes),):
            raise ValueError(
                f"{name}: expected bool ({len(codes)},), one per target, "
                f"got {right.dtype} {right.shape}"
            )
    if len(codes) == 0:
        raise DataError("expected at least one image to compare two models on, found none")
    if not np.issubdtype(codes.dtype, np.integer) or not -1 <= codes.min() <= codes.max() < len(
        labels
    ):
        raise ValueError(f"targets: expected integers from -1 to {len(labels) - 1}, got {codes}")
    counts = {
        labels[code]: _count(a[codes == code], b[codes == code])
        for code in np.unique(codes[codes >= 0])
    }
    p_values = holm([mcnemar_exact(one.only_a, one.only_b) for one in counts.values()])
    overall = _count(a, b)
    return Comparison(
        overall=PairedTest(
            overall, bootstrap_interval(overall), mcnemar_exact(overall.only_a, overall.only_b)
        ),
        per_class={
            label: PairedTest(one, bootstrap_interval(one), p_value)
            for (label, one), p_value in zip(counts.items(), p_values, strict=True)
        },
    )


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value (0 to 1) of the exact McNemar test.

    If neither model were better, each image on which exactly one is right would go to either with
    probability 1/2: twice the smaller tail of that binomial distribution, at most 1.

    Source: McNemar, "Note on the Sampling Error of the Difference Between Correlated Proportions or
    Percentages", Psychometrika 12, 1947; in its exact form Dietterich, "Approximate Statistical
    Tests for Comparing Supervised Classification Learning Algorithms", Neural Computation 10, 1998,
    discusses it for classifiers.

    Args:
        only_a: Images on which A alone is right.
        only_b: Images on which B alone is right.

    Raises:
        ValueError: A count is negative.
    """
    if min(only_a, only_b) < 0:
        raise ValueError(f"expected counts of 0 or more, got {only_a} and {only_b}")
    n = only_a + only_b
    logs = (
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
        for k in range(min(only_a, only_b) + 1)
    )
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def bootstrap_interval(
    counts: PairedCounts, *, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Return the 95 % percentile interval of the difference in accuracy, by a paired bootstrap.

    Images are drawn with replacement, each with both models' answers to it. As the difference
    depends only on how many of the images A alone and B alone got right, the draws are made from
    the multinomial distribution of these counts: the same as drawing images one by one.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13;
    paired, for two systems on one test set, Koehn, "Statistical Significance Tests for Machine
    Translation Evaluation", EMNLP 2004.

    Args:
        counts: How often each model was right.
        resamples: How many sets of images are drawn.
        seed: Of the draws; the same counts and seed give the same interval.

    Returns:
        (low, high) of accuracy of B minus accuracy of A, -1 to 1 each.
    """
    n = counts.images
    shares = [counts.only_a / n, counts.only_b / n, (n - counts.only_a - counts.only_b) / n]
    draws = np.random.default_rng(seed).multinomial(n, shares, size=resamples)
    low, high = np.quantile((draws[:, 1] - draws[:, 0]) / n, [0.025, 0.975])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values (0 to 1) of tests made together, in the same order, corrected for that.

    The chance that any of them falls below 0.05 by luck alone is then below 0.05.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 6, 1979.
    """
    order = np.argsort(p_values, kind="stable")
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _count(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> PairedCounts:
    return PairedCounts(len(a), int((a & b).sum()), int((a & ~b).sum()), int((b & ~a).sum()))
