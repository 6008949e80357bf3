"""What the report's two pictures draw: plain numbers in px, which the template turns into SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shopwindow.evaluation.grades import Grades, wilson_interval

MAX_LABELS = 60  # more than this, and the labels of the confusion picture can't be read
_CELL_PX = 15
_LEAST_PX = 300  # side of the matrix, as far as this takes no cell over the most
_MAX_CELL_PX = 75
_LABEL_CHARS = 20
_CHAR_PX = 6.3  # mean width of a character at the picture's 11 px font
# Column labels stand at 60 degrees: they need this much height, and lean this far to the right.
_SLANT = math.radians(60)
FULL_SHARE = 0.5  # the fraction from which a confusion has the strongest colour


@dataclass(frozen=True, slots=True)
class Mark:
    """One square of the confusion picture: `opacity` (0 to 1) is the colour's strength."""

    x_px: float
    y_px: float
    side_px: float
    opacity: float
    right: bool
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """One label along both edges. `offset_px` is the middle of its row and column."""

    offset_px: float
    short: str
    title: str


@dataclass(frozen=True, slots=True)
class ConfusionPicture:
    """The confusion matrix, cut down to the labels that take part in confusions.

    Attributes:
        ticks: The labels drawn, in the order of rows and columns.
        marks: The squares; coordinates start at the upper left corner of the matrix.
        side_px: Width and height of the matrix.
        cell_px: The same of one cell: larger where there are few labels.
        left_px: Room for the row labels.
        top_px: Room for the column labels.
        right_px: Room for the last column label to lean into.
        total_labels: How many labels there are.
        min_involved: A label is drawn when it takes part in at least this many confusions.
        drawn: Confusions (wrong answers) that the picture shows.
        total: All confusions.
    """

    ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    side_px: float
    cell_px: float
    left_px: float
    top_px: float
    right_px: float
    total_labels: int
    min_involved: int
    drawn: int
    total: int


@dataclass(frozen=True, slots=True)
class ReliabilityBar:
    """One bin of the reliability diagram, all as fractions of the plot (0 to 1, y upwards)."""

    low: float
    high: float
    images: int
    share: float
    accuracy: float
    confidence: float
    error_low: float
    error_high: float


def order_labels(confusion: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return an order of the labels in which those confused with each other stand together.

    Average-linkage clustering on the confusions between two labels, relative to their sizes. Of
    the four ways to join two rows of labels end to end, the one wins that puts the most confused
    labels closest. Clusters that share no confusion follow each other, most confusions first.

    Args:
        confusion: int64 (C, C) counts: row = true label, column = predicted label.

    Returns:
        int64 (C,), a permutation of 0 to C - 1.
    """
    errors = confusion - np.diag(confusion.diagonal())
    sizes = np.maximum(1, np.maximum(confusion.sum(axis=0), confusion.sum(axis=1)))
    likeness = (errors + errors.T) / np.sqrt(np.outer(sizes, sizes))
    rows: list[list[int]] = [[label] for label in range(len(confusion))]
    # links[i, j]: summed likeness between the labels of rows i and j; an emptied row is all zero.
    links = likeness.copy()
    lengths = np.ones(len(rows))
    while len(rows) > 1:
        mean = links / np.outer(lengths, lengths)
        best = int(mean.argmax())
        first, second = sorted((best // len(rows), best % len(rows)))
        if links[first, second] <= 0:
            break
        rows[first] = _join(rows[first], rows[second], likeness)
        links[first] += links[second]
        links[:, first] += links[:, second]
        links[first, first] = 0
        lengths[first] += lengths[second]
        rows[second], lengths[second] = [], 1
        links[second] = links[:, second] = 0
    involved = errors.sum(axis=0) + errors.sum(axis=1)
    rows = sorted((row for row in rows if row), key=lambda row: -int(involved[row].sum()))
    return np.array([label for row in rows for label in row], dtype=np.int64)


def _join(left: list[int], right: list[int], likeness: NDArray[np.float64]) -> list[int]:
    """Return both rows as one, turned so that labels alike are close."""
    gaps = np.arange(len(left))[::-1, None] + np.arange(len(right))[None, :] + 1
    turns = [(a, b) for a in (left, left[::-1]) for b in (right, right[::-1])]
    closeness = [float((likeness[np.ix_(a, b)] / gaps).sum()) for a, b in turns]
    best_left, best_right = turns[int(np.argmax(closeness))]
    return best_left + best_right


def confusion_picture(grades: Grades, max_labels: int = MAX_LABELS) -> ConfusionPicture | None:
    """Calculate the confusion picture, or return None where nothing was confused.

    Args:
        grades: The figures of one label column.
        max_labels: The most labels to draw; those in the fewest confusions go first.
    """
    errors = grades.confusion - np.diag(grades.confusion.diagonal())
    involved = errors.sum(axis=0) + errors.sum(axis=1)
    if not involved.any():
        return None
    # A label in no confusion has nothing to show, even where there is room for it.
    min_involved = 1
    while (involved >= min_involved).sum() > max_labels:
        min_involved += 1
    kept = np.flatnonzero(involved >= min_involved)
    if len(kept) == 0:  # more labels than room, and all in equally many confusions
        kept = np.sort(np.argsort(-involved, kind="stable")[:max_labels])
        min_involved = int(involved[kept].min())
    order = kept[order_labels(grades.confusion[np.ix_(kept, kept)])]
    names = [grades.labels[label] for label in order]
    shorts = [_shortened(name) for name in names]
    cell_px = min(_MAX_CELL_PX, max(_CELL_PX, _LEAST_PX / len(order)))
    longest_px = max(len(short) for short in shorts) * _CHAR_PX + 8
    return ConfusionPicture(
        ticks=tuple(
            Tick((i + 0.5) * cell_px, short, name)
            for i, (short, name) in enumerate(zip(shorts, names, strict=True))
        ),
        marks=_marks(grades, order, cell_px),
        side_px=len(order) * cell_px,
        cell_px=cell_px,
        left_px=longest_px,
        top_px=longest_px * math.sin(_SLANT) + 10,
        right_px=longest_px * math.cos(_SLANT),
        total_labels=len(grades.labels),
        min_involved=min_involved,
        drawn=int(errors[np.ix_(order, order)].sum()),
        total=int(errors.sum()),
    )


def _marks(grades: Grades, order: NDArray[np.int64], cell_px: float) -> tuple[Mark, ...]:
    """Return a square for every count above 0 between the labels in `order`, each in its cell."""
    marks = []
    block = grades.confusion[np.ix_(order, order)]
    for row, column in zip(*np.nonzero(block), strict=True):
        true, predicted = grades.per_class[order[row]], grades.labels[order[column]]
        count = int(block[row, column])
        share = count / true.images
        # One wrong answer of two images is half of them, and yet says little: it gets the strong
        # colour of a large share, but a small square. From 10 images on the square is full.
        side = cell_px * min(1.0, 0.4 + 0.6 * math.sqrt(min(count, 10) / 10)) - 1
        marks.append(
            Mark(
                x_px=column * cell_px + (cell_px - side) / 2,
                y_px=row * cell_px + (cell_px - side) / 2,
                side_px=side,
                opacity=colour_strength(share),
                right=bool(row == column),
                title=f"{true.label} → {predicted}: {count:,} of {true.images:,} "
                f"({100 * share:.1f} %)",
            )
        )
    return tuple(marks)


def colour_strength(share: float) -> float:
    """Return the opacity (0 to 1) for a fraction (0 to 1): its square root, full from 50 % on."""
    # The faintest is still to be seen, on a dark page too.
    return round(0.12 + 0.88 * math.sqrt(min(1.0, share / FULL_SHARE)), 3)


def _shortened(label: str) -> str:
    return label if len(label) <= _LABEL_CHARS else label[: _LABEL_CHARS - 1].rstrip() + "…"


def reliability_bars(grades: Grades) -> tuple[ReliabilityBar, ...]:
    """Return the bins that have images, with the 95 % interval of their accuracy."""
    bars = []
    for one in grades.reliability:
        if one.accuracy is None or one.confidence is None:
            continue
        low, high = wilson_interval(round(one.accuracy * one.images), one.images)
        bars.append(
            ReliabilityBar(
                low=one.low,
                high=one.high,
                images=one.images,
                share=one.images / grades.images,
                accuracy=one.accuracy,
                confidence=one.confidence,
                error_low=low,
                error_high=high,
            )
        )
    return tuple(bars)
