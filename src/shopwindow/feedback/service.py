"""Accepts feedback on answers, and undoes it; issues the receipts that feedback must carry."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shopwindow.bundle import Bundle
from shopwindow.errors import ImageError, RefusedFeedbackError
from shopwindow.feedback.feedback import Embedding, Feedback, Photo
from shopwindow.feedback.receipt import Receipt, Receipts
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.limits import ImageLimits
from shopwindow.imaging.preprocess import preprocess
from shopwindow.inference.batching import Batcher, Deadline
from shopwindow.inference.prediction import Prediction
from shopwindow.settings import Settings

if TYPE_CHECKING:  # it imports SQLAlchemy, which takes its time
    from shopwindow.feedback.store import FeedbackStore

FeedbackOutcome = Literal["confirmed", "corrected", "none", "undone", "failed", "full"]

KEPT_SIDE_PX = 1024  # enough for any model to come, and for a person to recognise what it is
RECEIPT_LABELS = 5  # so that a reviewer sees what else the model considered

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SavedFeedback:
    """Feedback that is in the store.

    Attributes:
        id: Of the feedback.
        undo: The token that undoes it.
        label: As given; "" for "none of these".
        kept_until: Until when the photo is kept, in UTC; None if it is not.
    """

    id: str
    undo: str
    label: str
    kept_until: datetime | None

    def as_json(self) -> dict[str, Any]:
        """Return the feedback as docs/api.md describes it."""
        until = self.kept_until
        return {
            "id": self.id,
            "undo": self.undo,
            "label": self.label,
            "photo_kept": until is not None,
            "kept_until": None if until is None else until.isoformat(timespec="seconds"),
        }


class FeedbackService:
    """Accepts feedback, for the page and the API alike. Thread-safe.

    Args:
        store: Where feedback is kept.
        settings: How much is kept, how long, and the key.
        batcher: Knows the model's labels, and decodes photos in turn.
        count: Is called with each outcome, and whether a photo was kept.

    Attributes:
        store: As given.
        keep_days: How long photos are kept.
        key: What receipts are signed with.
    """

    def __init__(
        self,
        store: FeedbackStore,
        settings: Settings,
        batcher: Batcher,
        count: Callable[[FeedbackOutcome, bool], None] = lambda outcome, with_photo: None,
    ) -> None:
        self.store = store
        self.keep_days = settings.feedback_keep_days
        self.key = settings.secret_key.encode() or store.key
        self._receipts = Receipts(self.key)
        self._batcher = batcher
        # In any format: the receipt proves that the picture was accepted, or it is our own preview.
        self._limits = ImageLimits(max_pixels=settings.max_pixels)
        self._max_rows = settings.feedback_max_rows
        self._max_photos = settings.feedback_max_photos
        self._count = count

    @property
    def embeds(self) -> bool:
        """Whether the embedding of a photo is kept with it: where the model gives one."""
        return bool(self._batcher.predictor.bundle.info.embedding)

    def receipt(self, prediction: Prediction, bundle: Bundle, photos: Sequence[bytes]) -> str:
        """Return the receipt of an answer; nothing is stored.

        Args:
            prediction: With `RECEIPT_LABELS` labels or more in `top`, if the model has as many.
            bundle: Whose answer it is.
            photos: The picture as it was sent, and what else may be sent as the photo.
        """
        info = bundle.info
        return self._receipts.sign(
            prediction,
            column=info.main.name,
            model=(info.name, info.version, bundle.sha256),
            photo_sha256s=[hashlib.sha256(photo).hexdigest() for photo in photos],
        )

    def save(
        self, receipt_text: str, label: str, image: bytes | None, deadline: Deadline
    ) -> SavedFeedback:
        """Keep feedback on an answer; when this returns, it is on the disk.

        A receipt is good for one feedback: sent again, it replaces what was said before.

        Args:
            receipt_text: From `receipt`.
            label: What the picture shows: one of the model's labels, or "" for none of them.
            image: The picture of the receipt, if its sender agrees that it is kept.
            deadline: Of the request.

        Raises:
            RefusedFeedbackError: The receipt, the label or the picture cannot be used, a reviewer
                has already judged this feedback, or the store is full.
            FeedbackError: The store cannot be used now.
            BusyError: The picture cannot be decoded in time.
        """
        receipt = self._receipts.read(receipt_text)
        self._check_label(receipt, label)
        self._check_room(receipt)
        photo = embedding = None
        if image is not None:
            if hashlib.sha256(image).hexdigest() not in receipt.photo_sha256s:
                raise RefusedFeedbackError(
                    "This is not the picture that the receipt is for: send the same file again, or "
                    "none."
                )
            if self._has_photo_room(receipt):
                photo, embedding = self._make_photo(image, deadline)
        now = datetime.now(UTC)
        until = None if photo is None else now + timedelta(days=self.keep_days)
        feedback = _as_feedback(receipt, label or None, now)
        self.store.add(feedback, photo, until, embedding)
        outcome: FeedbackOutcome = "corrected" if feedback.corrects else "confirmed"
        self._count(outcome if label else "none", photo is not None)
        return SavedFeedback(feedback.id, self._receipts.sign_undo(feedback.id), label, until)

    def undo(self, feedback_id: str, token: str) -> None:
        """Delete feedback and its photo, whether it was reviewed or not.

        Raises:
            RefusedFeedbackError: The token did not come with this feedback, or it is gone already.
            FeedbackError: The store cannot be used now.
        """
        if not self._receipts.allows_undo(feedback_id, token):
            raise RefusedFeedbackError(
                "Only the person who gave this feedback can withdraw it: send the 'undo' that came "
                "with it.",
                http_status=403,
            )
        if not self.store.delete(feedback_id):
            raise RefusedFeedbackError(
                "This feedback is not stored here; perhaps it was withdrawn already.",
                http_status=404,
            )
        self._count("undone", False)

    def _check_label(self, receipt: Receipt, label: str) -> None:
        main = self._batcher.predictor.bundle.info.main
        if receipt.column != main.name:
            raise RefusedFeedbackError(
                "Another model is in use now: classify the photo again, and then say what it is."
            )
        if label and label != receipt.predicted and label not in main.labels:
            raise RefusedFeedbackError(
                f"label: expected one of the {len(main.labels)} labels of {main.name}, or an empty "
                f"string for none of them; found {label[:60]!r}."
            )

    def _check_room(self, receipt: Receipt) -> None:
        """Refuse new feedback where there is enough: strangers must not fill the disk."""
        if self.store.count() >= self._max_rows and self.store.find(receipt.id) is None:
            _log.warning("New feedback is refused: feedback_max_rows is %s", self._max_rows)
            self._count("full", False)
            raise RefusedFeedbackError(
                "This could not be kept: there is no room for more feedback. Whoever runs this "
                "site can make room.",
                http_status=503,
            )

    def _has_photo_room(self, receipt: Receipt) -> bool:
        """Say whether this photo may be kept, as one more or in place of the same picture."""
        count = self.store.photo_count(besides=receipt.photo_sha256s[0])
        if count >= self._max_photos:
            _log.warning("A photo is not kept: there are %s (feedback_max_photos)", count)
        return count < self._max_photos

    def _make_photo(self, image: bytes, deadline: Deadline) -> tuple[Photo, Embedding | None]:
        """Return the picture made anew: its sender agreed to the pixels, not to the metadata.

        With its embedding, where the model gives one.
        """

        def decode(blob: bytes) -> NDArray[np.uint8]:
            least_px = (KEPT_SIDE_PX, KEPT_SIDE_PX)
            return decode_image(blob, limits=self._limits, least_px=least_px)

        with self._batcher.admit(deadline) as admission:
            try:
                image_hwc = admission.decode(decode, image)
            except ImageError as error:
                raise RefusedFeedbackError(str(error)) from error
            picture = Image.fromarray(image_hwc)
            picture.thumbnail((KEPT_SIDE_PX, KEPT_SIDE_PX))
            out = BytesIO()
            picture.save(out, "JPEG", quality=95, subsampling=0)
            photo = Photo(out.getvalue(), "image/jpeg")
            bundle = admission.predictor.bundle
            if not bundle.info.embedding:
                return photo, None
            pixels = preprocess(np.asarray(picture), bundle.info.rule)
            values = admission.predict([pixels], top=1, embed=True)[0].embedding
        return photo, None if values is None else Embedding(bundle.sha256, values)


def _as_feedback(receipt: Receipt, given: str | None, now: datetime) -> Feedback:
    return Feedback(
        id=receipt.id,
        created_at=now,
        model_name=receipt.model_name,
        model_version=receipt.model_version,
        model_sha256=receipt.model_sha256,
        photo_sha256=receipt.photo_sha256s[0],
        column=receipt.column,
        predicted=receipt.predicted,
        confidence=receipt.confidence,
        sure=receipt.sure,
        margin=receipt.margin,
        top=receipt.top,
        given=given,
    )
