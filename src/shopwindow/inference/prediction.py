"""The prediction for an image, which the page, the API, the command line and bulk all show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

# How far to trust a prediction, least first; docs/page.md has the table.
Doubt = Literal["unknown", "unsure", "family", "likely", "sure"]
DOUBTS: tuple[Doubt, ...] = get_args(Doubt)

_SURE_FROM = 0.9  # confidence from which a sure answer is more than likely
_LIKELY_WRONG_BELOW = 0.5  # confidence below which the best guess is rather wrong than right
_FAMILY_GAIN = 0.005  # confidence that a family must add to that of its best label


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label and the probability (0 to 1) that the model gives it."""

    label: str
    confidence: float

    def __post_init__(self) -> None:
        # The tolerance is float32 rounding: a softmax may sum to 1.0000001.
        if not -1e-6 <= self.confidence <= 1 + 1e-5:
            raise ValueError(
                f"confidence of {self.label!r}: expected 0 to 1, got {self.confidence}"
            )

    def as_json(self) -> dict[str, Any]:
        """Return `{"label": str, "confidence": float}`, rounded to 6 decimals."""
        return {"label": self.label, "confidence": round(self.confidence, 6)}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says about one image.

    Attributes:
        label: The most probable label of the main label column.
        confidence: Its calibrated probability, 0 to 1.
        sure: Whether `confidence` reaches the bundle's threshold. The bundle states how often such
            answers were right.
        top: The most probable labels, best first; `top[0]` is `(label, confidence)`.
        family: Where `label` is not sure: the family of labels that is, if any, with the sum of
            their probabilities.
        attributes: The best label of each further label column, by column name.
        activation: (rows, columns) float32 over the model's input, if requested and the bundle has
            it: how much each place speaks for `label` (above 0) or against it. For display only;
            comparisons and `as_json` leave it out.
        embedding: (D,) float32 of length 1, if requested and the bundle has it: what the last layer
            of the network saw. The more two images look alike to it, the nearer to 1 is the dot
            product. Comparisons and `as_json` leave it out.
        prediction_set: So many labels, best first, that the right one is among them as often as the
            bundle promises; None where it promises nothing.
        novelty: How far the image is from those of the training, if the bundle measures it; the
            unit differs from model to model.
        known: Whether `novelty` is within the bundle's threshold; None if it is not measured. What
            is not known is never sure.
    """

    label: str
    confidence: float
    sure: bool
    top: tuple[LabelScore, ...]
    attributes: dict[str, LabelScore] = field(default_factory=dict)
    family: LabelScore | None = None
    activation: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    embedding: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    prediction_set: tuple[str, ...] | None = None
    novelty: float | None = None
    known: bool | None = None

    def __post_init__(self) -> None:
        if not self.top or self.top[0] != LabelScore(self.label, self.confidence):
            raise ValueError(
                f"top: expected ({self.label!r}, {self.confidence}) first, got {self.top[:1]}"
            )
        scores = [score.confidence for score in self.top]
        if scores != sorted(scores, reverse=True):
            raise ValueError(f"top: expected the best first, got {scores}")
        if self.prediction_set is not None and self.prediction_set[:1] != (self.label,):
            raise ValueError(
                f"prediction_set: expected {self.label!r} first, got {self.prediction_set[:1]}"
            )
        if self.sure and self.known is False:
            raise ValueError("sure: expected False for an image that is not known, got True")

    @property
    def doubt(self) -> Doubt:
        """How far to trust this answer; nothing else decides it."""
        if self.known is False:
            return "unknown"
        if self.sure:
            return "sure" if self.confidence >= _SURE_FROM else "likely"
        if self.family is not None and self.family.confidence - self.confidence >= _FAMILY_GAIN:
            return "family"
        # Where novelty is measured, a low confidence only means: not sure which.
        measured = self.known is not None
        return "unsure" if measured or self.confidence >= _LIKELY_WRONG_BELOW else "unknown"

    @property
    def shown(self) -> LabelScore | None:
        """What to call the picture, with the confidence in that; None where nothing is known."""
        if self.doubt == "unknown":
            return None
        return self.family if self.doubt == "family" else self.top[0]

    @property
    def rank(self) -> tuple[int, float]:
        """For sorting, least sure first."""
        return DOUBTS.index(self.doubt), self.shown.confidence if self.shown else self.confidence

    def as_json(self) -> dict[str, Any]:
        """Return the prediction as JSON-ready data, in the shape that docs/api.md promises."""
        measured = self.novelty is not None
        return {
            "label": self.label,
            "confidence": round(self.confidence, 6),
            "sure": self.sure,
            "top": [score.as_json() for score in self.top],
            "attributes": {name: score.as_json() for name, score in self.attributes.items()},
            "family": self.family.as_json() if self.family else None,
            "prediction_set": None if self.prediction_set is None else list(self.prediction_set),
            **({"novelty": round(self.novelty or 0.0, 4), "known": self.known} if measured else {}),
        }
