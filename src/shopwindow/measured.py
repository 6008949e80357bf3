"""Figures that a bundle may carry beside its overall quality: by confidence, by label, by mix-up.

Export measures them on the validation part and writes them under `quality`; `/about` and the page
read them back. All are optional: a bundle from before they existed has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

MAX_ROWS = 100_000  # as many as there may be labels


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often answers of about the same confidence were right.

    Attributes:
        low: Lower edge of the confidence, 0 to 1, part of the range.
        high: Upper edge, 0 to 1, part of the range only where it is 1.
        images: How many answers fell here, 1 or more.
        accuracy: Share of them that was right, 0 to 1.
    """

    low: float
    high: float
    images: int
    accuracy: float

    def __post_init__(self) -> None:
        _require(_is_share(self.low) and _is_share(self.high) and self.low < self.high,
                 "reliability", "0 <= from < to <= 1", (self.low, self.high))  # fmt: skip
        _require(_is_count(self.images), "reliability.images", "a whole number", self.images)
        _require(_is_share(self.accuracy), "reliability.accuracy", "0 to 1", self.accuracy)

    def holds(self, confidence: float) -> bool:
        """Say whether an answer of this confidence (0 to 1) falls here."""
        return self.low <= confidence < self.high or confidence >= self.high == 1

    def as_json(self) -> dict[str, Any]:
        """Return `{"from", "to", "images", "accuracy"}`."""
        return {"from": self.low, "to": self.high, "images": self.images, "accuracy": self.accuracy}


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """How one label fared.

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
        _require(isinstance(self.label, str), "labels.label", "a text", self.label)
        _require(_is_count(self.images), "labels.images", "a whole number", self.images)
        for name in ("recall", "precision"):
            value = getattr(self, name)
            _require(value is None or _is_share(value), f"labels.{name}", "0 to 1 or null", value)

    def as_json(self) -> dict[str, Any]:
        """Return the figures by their names."""
        return asdict(self)


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
        _require(_is_share(self.share), "confusions.share", "0 to 1", self.share)

    def as_json(self) -> dict[str, Any]:
        """Return the pair and its figures by their names."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Measured:
    """What `quality` says in detail; each is empty where the bundle does not say it."""

    reliability: tuple[Reliability, ...] = ()
    labels: tuple[LabelFigures, ...] = ()
    confusions: tuple[Confusion, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the three lists, to be merged into a bundle's `quality`."""
        return {
            "reliability": [row.as_json() for row in self.reliability],
            "labels": [row.as_json() for row in self.labels],
            "confusions": [row.as_json() for row in self.confusions],
        }

    def like(self, confidence: float) -> Reliability | None:
        """Return how answers of about this confidence (0 to 1) fared, None where not measured."""
        return next((row for row in self.reliability if row.holds(confidence)), None)

    def least_found(self, labels: Sequence[str]) -> list[LabelFigures]:
        """Return a row for each label: what was found least often first, the unseen last."""
        known = {row.label: row for row in self.labels}
        rows = [known.get(label) or LabelFigures(label, 0, None, None) for label in labels]
        return sorted(rows, key=lambda row: 2.0 if row.recall is None else row.recall)


def read_measured(quality: Mapping[str, Any]) -> Measured:
    """Read what `Measured.as_json` wrote from a bundle's `quality`.

    Raises:
        ValueError: A row lacks a key, or a value is of the wrong type or out of range.
    """
    renamed = [
        {"low": row.pop("from", None), "high": row.pop("to", None), **row}
        for row in _rows(quality, "reliability")
    ]
    return Measured(
        reliability=_made(Reliability, renamed, "reliability"),
        labels=_made(LabelFigures, _rows(quality, "labels"), "labels"),
        confusions=_made(Confusion, _rows(quality, "confusions"), "confusions"),
    )


def _rows(quality: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    rows = quality.get(key, [])
    listed = isinstance(rows, list) and len(rows) <= MAX_ROWS
    _require(listed and all(isinstance(row, dict) for row in rows), key, "a list of objects", rows)
    return [dict(row) for row in rows]


_Row = TypeVar("_Row", Reliability, LabelFigures, Confusion)


def _made(kind: type[_Row], rows: Sequence[Mapping[str, Any]], key: str) -> tuple[_Row, ...]:
    names = set(kind.__dataclass_fields__)
    for row in rows:
        _require(set(row) == names, key, f"the keys {sorted(names)}", sorted(row))
    return tuple(kind(**row) for row in rows)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _require(holds: bool, what: str, expected: str, found: object) -> None:
    if not holds:
        raise ValueError(f"quality: {what}: expected {expected}, found {str(found)[:200]}")
