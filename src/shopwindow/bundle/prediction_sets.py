"""How many labels to name so that the right one is nearly always among them.

A bundle carries the rule that was calibrated on held-out images; docs/evaluation.md explains it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle.quality import is_fraction

MAX_KINDS = 64


@dataclass(frozen=True, slots=True)
class SetRule:
    """Which labels belong to the prediction set of an image: the best one, and others.

    Attributes:
        least: All labels of at least this probability, 0 to 1, are in the set.
        images: How many held-out images it was calibrated on.
        held: The fraction of sets that held the right label (the literature's *coverage*), 0 to 1,
            on images that had no part in the rule; None where there were too few to tell.
        mean_size: The mean number of labels in these sets, 1 or more; None as for `held`.
    """

    least: float
    images: int
    held: float | None
    mean_size: float | None

    def __post_init__(self) -> None:
        _require(is_fraction(self.least), "least", "0 to 1", self.least)
        _require(type(self.images) is int and self.images > 0, "images", "above 0", self.images)
        _require(self.held is None or is_fraction(self.held), "held", "0 to 1", self.held)
        sized = isinstance(self.mean_size, int | float) and self.mean_size >= 1
        _require(self.mean_size is None or sized, "mean_size", "1 or more", self.mean_size)


@dataclass(frozen=True, slots=True)
class SetsOfKind:
    """The rules for one kind of photo; None where there is no guarantee.

    Attributes:
        source: The data set whose photos are of this kind.
        sure: For predictions that are sure.
        not_sure: For all others.
    """

    source: str
    sure: SetRule | None
    not_sure: SetRule | None

    def __post_init__(self) -> None:
        _require(isinstance(self.source, str), "source", "a string", self.source)


@dataclass(frozen=True, slots=True)
class PredictionSets:
    """How to make the prediction set of an image.

    Attributes:
        level: The fraction of sets that hold the right label, between 0 and 1, as promised.
        kinds: The rules by kind of photo, at least one; more only where the graph tells them apart.
    """

    level: float
    kinds: tuple[SetsOfKind, ...]

    def __post_init__(self) -> None:
        fits = is_fraction(self.level) and 0 < self.level < 1
        _require(fits, "level", "a number between 0 and 1", self.level)
        count = len(self.kinds)
        _require(1 <= count <= MAX_KINDS, "kinds", f"1 to {MAX_KINDS}", count)

    def sizes(
        self,
        probs: NDArray[np.floating],
        sure: NDArray[np.bool_],
        kinds: NDArray[np.floating] | None,
    ) -> NDArray[np.int64]:
        """Return how many labels, most probable first, are in the set of each image.

        Args:
            probs: (N, C) of the main label column.
            sure: (N,) whether the prediction is sure.
            kinds: (N, K) how likely each kind of photo is; None where there is only one.

        Returns:
            (N,) from 1 to C; 0 where there is no guarantee.
        """
        rules = [(kind.not_sure, kind.sure) for kind in self.kinds]
        least = np.array([[np.nan if r is None else r.least for r in pair] for pair in rules])
        kind = np.zeros(len(probs), np.intp) if kinds is None else kinds.argmax(axis=1)
        of_image = least[kind, sure.astype(np.intp)]
        sizes = np.maximum(1, (probs >= of_image[:, None]).sum(axis=1))
        return np.where(np.isnan(of_image), 0, sizes).astype(np.int64)

    def as_json(self) -> dict[str, Any]:
        """Return JSON-ready data by the names of the attributes."""
        return asdict(self) | {"kinds": [asdict(kind) for kind in self.kinds]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PredictionSets:
        """Read what `as_json` wrote.

        Raises:
            KeyError: A key is missing.
            TypeError, ValueError: A value is wrong.
        """
        return cls(
            data["level"],
            tuple(
                SetsOfKind(kind["source"], _read_rule(kind["sure"]), _read_rule(kind["not_sure"]))
                for kind in data["kinds"]
            ),
        )


def _read_rule(data: Mapping[str, Any] | None) -> SetRule | None:
    if data is None:
        return None
    return SetRule(data["least"], data["images"], data["held"], data["mean_size"])


def _require(holds: bool, what: str, expected: str, found: object) -> None:
    if not holds:
        raise ValueError(f"prediction_sets: {what}: expected {expected}, found {found!r}")
