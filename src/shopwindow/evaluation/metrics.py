"""Probabilities and targets in, figures out. numpy only.

Arrays have one row per image. `probabilities` is float (N, C), each row from 0 to 1 and summing to
1; `targets` is integer (N,), each the column of the true label, or -1 where the image has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shopwindow.bundle.quality import ReliabilityBin
from shopwindow.errors import DataError
from shopwindow.evaluation.grades import Grades, SureAnswers

# Fifteen bins of equal width, as Guo et al. 2017 have them.
BIN_EDGES = tuple(np.linspace(0.0, 1.0, 16).tolist())
# What a bundle with fp16 weights is off by at most; a row of logits is off by far more.
_SUM_TOLERANCE = 1e-3
# The smallest probability a float32 softmax can say: a true label given 0 costs 87 nats, not inf.
_SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def grade(probabilities: ArrayLike, targets: ArrayLike, labels: Sequence[str]) -> Grades:
    """Calculate every figure of one label column.

    Args:
        probabilities: Float (N, C).
        targets: Integer (N,); images with -1 are left out and counted as missing.
        labels: The C labels, in the order of the columns of `probabilities`.

    Returns:
        The figures over the images that have a label.

    Raises:
        ValueError: If shapes, types or ranges are not as above.
        DataError: If no image has a label.
    """
    probs, codes = _checked(probabilities, targets)
    names = _checked_labels(labels, probs.shape[1])
    has_label = codes >= 0
    if not has_label.any():
        raise DataError(
            f"Expected at least one image with a label to grade, found none among {len(codes)}: "
            "grade this column on other data, or leave it out."
        )
    probs, codes = probs[has_label], codes[has_label]
    predicted = probs.argmax(axis=1)
    return Grades(
        labels=names,
        missing=int((~has_label).sum()),
        confusion=confusion_matrix(predicted, codes, len(names)),
        top3_accuracy=top_k_accuracy(probs, codes, 3),
        top5_accuracy=top_k_accuracy(probs, codes, 5),
        log_loss=float(losses(probs, codes).mean()),
        reliability=reliability(probs.max(axis=1), predicted == codes),
    )


def top_k_accuracy(probabilities: ArrayLike, targets: ArrayLike, k: int) -> float:
    """Return the fraction of images (0 to 1) whose label is among the k most probable.

    Equal probabilities rank in the order of the labels, so that k = 1 agrees with argmax. With k
    labels or fewer the answer is 1.

    Raises:
        ValueError: If an argument is not as the module says, or k is less than 1.
    """
    probs, codes = _checked(probabilities, targets)
    if k < 1:
        raise ValueError(f"k: expected 1 or more, got {k}")
    probs, codes = _labelled(probs, codes)
    own = probs[np.arange(len(codes)), codes][:, None]
    earlier = np.arange(probs.shape[1])[None, :] < codes[:, None]
    rank = ((probs > own) | ((probs == own) & earlier)).sum(axis=1)
    return float((rank < k).mean())


def losses(probabilities: ArrayLike, targets: ArrayLike) -> Floats:
    """Return each image's negative log-likelihood, -ln(probability of its label).

    Returns:
        Float (N,), in nats, 0 to 87.4: a probability under the smallest normal float32 counts as
        that. NaN where the image has no label.

    Raises:
        ValueError: If an argument is not as the module says.
    """
    probs, codes = _checked(probabilities, targets)
    own = probs[np.arange(len(codes)), codes]  # -1 picks the last column; masked in the next line
    # A softmax may say 1.0000001; the loss of a certain right answer is 0, not below.
    nats = -np.log(np.clip(own, _SMALLEST_PROBABILITY, 1.0)) + 0.0
    return np.where(codes >= 0, nats, np.nan)


def highest_loss(probabilities: ArrayLike, targets: ArrayLike, count: int = 24) -> Ints:
    """Return the indices of the `count` images with the highest loss, worst first.

    Images without a label are left out; equal losses keep the order of the images.

    Raises:
        ValueError: If an argument is not as the module says, or `count` is negative.
    """
    if count < 0:
        raise ValueError(f"count: expected 0 or more, got {count}")
    nats = losses(probabilities, targets)
    order = np.argsort(-nats, kind="stable")  # NaN sorts last
    return order[: min(count, int((~np.isnan(nats)).sum()))].astype(np.int64)


def sure_answers(
    probabilities: ArrayLike, targets: ArrayLike, min_confidence: float | None
) -> SureAnswers:
    """Count the answers that are sure, and those of them that are right.

    Args:
        probabilities: As the module says.
        targets: As the module says.
        min_confidence: An answer of at least this confidence is sure, 0 to 1; None where none is.

    Raises:
        ValueError: If an argument is not as the module says, or no image has a label.
    """
    probs, codes = _labelled(*_checked(probabilities, targets))
    correct = probs.argmax(axis=1) == codes
    sure = probs.max(axis=1) >= (np.inf if min_confidence is None else min_confidence)
    return SureAnswers(
        min_confidence=min_confidence,
        images=len(codes),
        correct=int(correct.sum()),
        sure=int(sure.sum()),
        sure_correct=int((sure & correct).sum()),
    )


def confusion_matrix(predicted: Ints, targets: Ints, classes: int) -> Ints:
    """Return int64 (C, C) counts: row = true label, column = predicted label.

    Args:
        predicted: Integer (N,), 0 to C - 1.
        targets: Integer (N,), 0 to C - 1: no -1 here.
        classes: C.
    """
    cells = np.bincount(targets * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def reliability(
    confidences: NDArray[np.floating],
    correct: NDArray[np.bool_],
    edges: Sequence[float] = BIN_EDGES,
    *,
    edge_belongs: Literal["below", "above"] = "below",
) -> tuple[ReliabilityBin, ...]:
    """Sort answers into bins by confidence.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.

    Args:
        confidences: Float (N,), the probability of the most probable label, 0 to 1.
        correct: Bool (N,), whether that label is right.
        edges: Of the bins, rising from 0 to 1.
        edge_belongs: Which bin a confidence on an edge belongs to; 1 belongs to the last.
    """
    bins = len(edges) - 1
    clipped = np.clip(confidences, 0.0, 1.0)
    side: Literal["left", "right"] = "left" if edge_belongs == "below" else "right"
    where = np.clip(np.searchsorted(edges, clipped, side=side) - 1, 0, bins - 1)
    images = np.bincount(where, minlength=bins)
    hits = np.bincount(where, weights=correct, minlength=bins)
    # A mean can leave 0 to 1 by rounding alone.
    total = np.bincount(where, weights=clipped, minlength=bins)
    return tuple(
        ReliabilityBin(
            low=float(edges[m]),
            high=float(edges[m + 1]),
            images=int(images[m]),
            accuracy=float(hits[m] / images[m]) if images[m] else None,
            confidence=min(1.0, float(total[m] / images[m])) if images[m] else None,
        )
        for m in range(bins)
    )


def _labelled(probs: Floats, codes: Ints) -> tuple[Floats, Ints]:
    """Return the rows that have a label; ValueError if there is none."""
    has_label = codes >= 0
    if not has_label.any():
        raise ValueError(f"targets: expected at least one label, got none in {len(codes)} images")
    return probs[has_label], codes[has_label]


def _checked_labels(labels: Sequence[str], classes: int) -> tuple[str, ...]:
    if isinstance(labels, str):
        raise ValueError(f"labels: expected a sequence of labels, got the text {labels!r}")
    names = tuple(labels)
    if len(names) != classes or len(set(names)) != classes:
        raise ValueError(
            f"labels: expected {classes} different labels, one per column of the probabilities, "
            f"got {len(names)}, {len(set(names))} of them different"
        )
    return names


def _checked(probabilities: ArrayLike, targets: ArrayLike) -> tuple[Floats, Ints]:
    """Return both as float64 and int64 arrays, or raise ValueError saying what is wrong."""
    probs, codes = np.asarray(probabilities), np.asarray(targets)
    if probs.ndim != 2 or probs.shape[1] < 1 or not np.issubdtype(probs.dtype, np.floating):
        raise ValueError(
            f"probabilities: expected a float array (N, C), got {probs.dtype} {probs.shape}"
        )
    images, classes = probs.shape
    if codes.shape != (images,) or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(
            f"targets: expected an integer array ({images},), one per row of the probabilities, "
            f"got {codes.dtype} {codes.shape}"
        )
    if images and (codes.min() < -1 or codes.max() >= classes):
        raise ValueError(
            f"targets: expected -1 (missing) to {classes - 1}, got {codes.min()} to {codes.max()}"
        )
    probs = probs.astype(np.float64)
    # `not all(good)` rather than `any(bad)`, so that NaN is refused too.
    good = ((probs >= -1e-6) & (probs <= 1 + 1e-5)).all(axis=1)
    good &= np.abs(probs.sum(axis=1) - 1) <= _SUM_TOLERANCE
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise ValueError(
            "probabilities: expected rows of 0 to 1 that sum to 1 (not logits, not NaN), got row "
            f"{row} from {probs[row].min():.4g} to {probs[row].max():.4g} "
            f"with sum {probs[row].sum():.4g}"
        )
    return probs, codes.astype(np.int64)
