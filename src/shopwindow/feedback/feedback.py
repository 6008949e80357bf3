"""A piece of feedback: what the model said, what a visitor said, what a reviewer decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from shopwindow.inference.prediction import LabelScore

Status = Literal["pending", "accepted", "changed", "discarded"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo whose sender agreed that it is kept.

    Attributes:
        content: An image file, re-encoded from the pixels: upright, without metadata.
        media_type: Its type, such as "image/jpeg".
    """

    content: bytes
    media_type: str = "image/jpeg"


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """What a model's last layer sees in a photo; it is deleted with the photo.

    Attributes:
        model_sha256: The SHA-256 of the model's file: those of other models cannot be compared.
        values: (D,) of unit length; the store keeps them as float16.
    """

    model_sha256: str
    values: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Feedback:
    """One answer of a model, and what people said about it.

    Attributes:
        id: 32 hexadecimal digits.
        created_at: When it was given, in UTC.
        model_name: The model that answered.
        model_version: Its version.
        model_sha256: The SHA-256 of its file.
        photo_sha256: The SHA-256 of the picture as it was sent.
        column: The label column that this is about.
        predicted: The label that the model gave.
        confidence: Its probability, 0 to 1.
        sure: Whether the model was sure.
        margin: The confidence less that of the second best label, 0 to 1.
        top: The best labels, best first, a few at most.
        given: The label that the visitor gave, which may be the same; None for "none of these".
        has_photo: Whether the photo is kept.
        status: What a reviewer made of it: `accepted` as given, `changed` to `reviewed`, or
            `discarded`.
        reviewed: The reviewer's label, None for "none of these"; set with accepted and changed.
        reviewed_at: When, in UTC; None while it is pending.
    """

    id: str
    created_at: datetime
    model_name: str
    model_version: str
    model_sha256: str
    photo_sha256: str
    column: str
    predicted: str
    confidence: float
    sure: bool
    margin: float
    top: tuple[LabelScore, ...]
    given: str | None
    has_photo: bool = False
    status: Status = "pending"
    reviewed: str | None = None
    reviewed_at: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("created_at", "reviewed_at"):
            moment: datetime | None = getattr(self, name)
            if moment is not None and moment.utcoffset() != timedelta(0):
                raise ValueError(f"{name}: expected a time in UTC, got {moment!r}")
        if self.status not in STATUSES:
            raise ValueError(f"status: expected one of {', '.join(STATUSES)}, got {self.status!r}")
        if not -1e-6 <= self.margin <= 1 + 1e-5:
            raise ValueError(f"margin: expected 0 to 1, got {self.margin}")

    @property
    def corrects(self) -> bool:
        """Whether the visitor disagreed with the model."""
        return self.given != self.predicted

    @property
    def label(self) -> str | None:
        """The best known label: the reviewer's, otherwise the visitor's."""
        return self.reviewed if self.status in ("accepted", "changed") else self.given
