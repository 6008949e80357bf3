"""What a bundle says about novelty: from where on an image is unlike those of its training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from shopwindow.bundle.quality import is_fraction

NOVELTY_OUTPUT = "novelty"


@dataclass(frozen=True, slots=True)
class KnownPhotos:
    """How often photos of a kind that the model has learned from were called unknown.

    Attributes:
        source: The name of their data set.
        images: How many were measured; the model has not learned from them.
        unknown: The fraction of them that was called unknown, 0 to 1.
    """

    source: str
    images: int
    unknown: float

    def __post_init__(self) -> None:
        if not isinstance(self.source, str) or type(self.images) is not int or self.images < 1:
            raise ValueError(f"novelty.known: expected source and images, got {self!r}")
        if not is_fraction(self.unknown):
            raise ValueError(f"novelty.known: unknown: expected 0 to 1, got {self.unknown!r}")


@dataclass(frozen=True, slots=True)
class Novelty:
    """From which novelty on an image counts as unlike all that the model has learned from.

    Attributes:
        threshold: The highest novelty of an image that counts as known.
        known: One for each data set of the training, measured on each half of its held-out images
            with the threshold of the other half.
    """

    threshold: float
    known: tuple[KnownPhotos, ...]

    def __post_init__(self) -> None:
        number = isinstance(self.threshold, int | float) and not isinstance(self.threshold, bool)
        if not number or not isfinite(self.threshold):
            raise ValueError(f"novelty.threshold: expected a number, got {self.threshold!r}")

    def is_known(self, novelty: float) -> bool:
        """Say whether an image of this novelty is like some that the model has learned from."""
        return novelty <= self.threshold

    def as_json(self) -> dict[str, Any]:
        """Return JSON-ready data by the names of the attributes."""
        return {"threshold": self.threshold, "known": [asdict(one) for one in self.known]}


def read_novelty(data: Any) -> Novelty | None:
    """Read what `Novelty.as_json` wrote; None where a bundle does not measure novelty.

    Raises:
        TypeError, ValueError, KeyError: It is damaged.
    """
    if data is None:
        return None
    known = (KnownPhotos(one["source"], one["images"], one["unknown"]) for one in data["known"])
    return Novelty(data["threshold"], tuple(known))
