"""What a model got right and wrong: by confidence, by label, and which labels it confuses.

`evaluation` works these rows out for its report, and a bundle carries them under `quality`, from
where `/about` and the page read them. A bundle may have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

MAX_ROWS = 100_000  # as many as there may be labels
# By the key in a bundle's JSON, the attribute.
_BIN_KEYS = {"from": "low", "to": "high", "images": "images", "accuracy": "accuracy"}
_LABEL_KEYS = {key: key for key in ("label", "images", "recall", "precision")}
_CONFUSION_KEYS = {key: key for key in ("label", "taken_for", "images", "share")}


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """How often answers of about the same confidence were right.

    Attributes:
        low: Lower edge of the confidence, 0 to 1.
        high: Upper edge, 0 to 1.
        images: How many answers fell here.
        accuracy: Share of them that was right, 0 to 1; None in an empty bin.
        confidence: Their mean confidence, 0 to 1; None in an empty bin, or in a bundle.
    """

    low: float
    high: float
    images: int
    accuracy: float | None
    confidence: float | None = None

    def __post_init__(self) -> None:
        _require(is_fraction(self.low) and is_fraction(self.high) and self.low < self.high,
                 "reliability", "0 <= from < to <= 1", (self.low, self.high))  # fmt: skip
        _require(_is_count(self.images), "reliability.images", "a whole number", self.images)
        _require(
            is_fraction(self.accuracy) or (self.accuracy is None and not self.images),
            "reliability.accuracy", "0 to 1", self.accuracy,
        )  # fmt: skip
        _require(_is_rate(self.confidence), "reliability.confidence", "0 to 1", self.confidence)

    def holds(self, confidence: float) -> bool:
        """Say whether an answer of this confidence (0 to 1) falls here, on its lower edge too."""
        return self.low <= confidence < self.high or confidence >= self.high == 1


@dataclass(frozen=True, slots=True)
class LabelQuality:
    """How often one label was found and right.

    Attributes:
        label: The label.
        images: Images that have it, 0 or more.
        recall: Share of those that were given it, 0 to 1; None where there are none.
        precision: Share of the images that were given it and have it, 0 to 1; None where none was.
    """

    label: str
    images: int
    recall: float | None
    precision: float | None

    def __post_init__(self) -> None:
        _require(isinstance(self.label, str), "labels.label", "a string", self.label)
        _require(_is_count(self.images), "labels.images", "a whole number", self.images)
        _require(_is_rate(self.recall), "labels.recall", "0 to 1 or null", self.recall)
        _require(_is_rate(self.precision), "labels.precision", "0 to 1 or null", self.precision)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall, 0 to 1; None if the label occurs on no side."""
        if self.recall is None and self.precision is None:
            return None
        recall, precision = self.recall or 0.0, self.precision or 0.0
        both = recall + precision
        return 2 * recall * precision / both if both else 0.0


@dataclass(frozen=True, slots=True)
class Confusion:
    """Images of one label that were taken for another.

    Attributes:
        label: The label that they have.
        taken_for: The label that they were given.
        images: How many, 1 or more.
        share: `images` divided by the images that have `label`, 0 to 1.
    """

    label: str
    taken_for: str
    images: int
    share: float

    def __post_init__(self) -> None:
        texts = isinstance(self.label, str) and isinstance(self.taken_for, str)
        _require(texts, "confusions", "two labels", (self.label, self.taken_for))
        _require(_is_count(self.images), "confusions.images", "a whole number", self.images)
        _require(is_fraction(self.share), "confusions.share", "0 to 1", self.share)


@dataclass(frozen=True, slots=True)
class QualityTable:
    """The rows of a bundle's `quality`; each list is empty where the bundle does not have it."""

    reliability: tuple[ReliabilityBin, ...] = ()
    labels: tuple[LabelQuality, ...] = ()
    confusions: tuple[Confusion, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the three lists, to be merged into a bundle's `quality`."""
        return {
            "reliability": rows_as_json(self.reliability, _BIN_KEYS, digits=4),
            "labels": rows_as_json(self.labels, _LABEL_KEYS, digits=4),
            "confusions": rows_as_json(self.confusions, _CONFUSION_KEYS, digits=4),
        }

    def bin_for(self, confidence: float) -> ReliabilityBin | None:
        """Return how often answers of about this confidence (0 to 1) were right, if measured."""
        return next((row for row in self.reliability if row.holds(confidence)), None)

    def least_found(self, labels: Sequence[str]) -> list[LabelQuality]:
        """Return a row for each label: the lowest recall first, labels without images last."""
        known = {row.label: row for row in self.labels}
        rows = [known.get(label) or LabelQuality(label, 0, None, None) for label in labels]
        return sorted(rows, key=lambda row: 2.0 if row.recall is None else row.recall)


_Row = TypeVar("_Row", ReliabilityBin, LabelQuality, Confusion)


def read_quality(quality: Mapping[str, Any]) -> QualityTable:
    """Read what `QualityTable.as_json` wrote from a bundle's `quality`.

    Raises:
        ValueError: A row lacks a key, or a value is of the wrong type or out of range.
    """
    bins = _read_rows(ReliabilityBin, quality, "reliability", _BIN_KEYS)
    for row in bins:
        _require(row.accuracy is not None, "reliability.accuracy", "0 to 1", None)
    return QualityTable(
        bins,
        _read_rows(LabelQuality, quality, "labels", _LABEL_KEYS),
        _read_rows(Confusion, quality, "confusions", _CONFUSION_KEYS),
    )


def rows_as_json(
    rows: Iterable[object], keys: Mapping[str, str], *, digits: int
) -> list[dict[str, Any]]:
    """Return rows as JSON-ready data, with rates rounded to so many digits.

    Args:
        rows: Objects with attributes.
        keys: By the key in JSON, the name of the attribute.
        digits: After the point.
    """

    def value(row: object, name: str) -> Any:
        found = getattr(row, name)
        return round(found, digits) if isinstance(found, float) else found

    return [{key: value(row, name) for key, name in keys.items()} for row in rows]


def _read_rows(
    kind: type[_Row], quality: Mapping[str, Any], name: str, keys: Mapping[str, str]
) -> tuple[_Row, ...]:
    rows = quality.get(name, [])
    listed = isinstance(rows, list) and len(rows) <= MAX_ROWS
    _require(listed and all(isinstance(row, dict) for row in rows), name, "a list of objects", rows)
    for row in rows:
        _require(set(row) == set(keys), name, f"the keys {sorted(keys)}", sorted(row))
    return tuple(kind(**{field: row[key] for key, field in keys.items()}) for row in rows)


def is_fraction(value: object) -> bool:
    """Say whether a value is a number from 0 to 1."""
    # True is an int to Python. The comparison refuses NaN and infinity, and takes any whole number.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_rate(value: object) -> bool:
    return value is None or is_fraction(value)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _require(holds: bool, what: str, expected: str, found: object) -> None:
    if not holds:
        raise ValueError(f"quality: {what}: expected {expected}, found {str(found)[:200]}")
