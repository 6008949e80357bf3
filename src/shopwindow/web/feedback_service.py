"""Where feedback is handed in, taken back and signed for, by the page and the API alike."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image
from werkzeug.exceptions import (
    Conflict,
    Forbidden,
    NotFound,
    ServiceUnavailable,
    UnprocessableEntity,
)

from shopwindow.bundle import Bundle
from shopwindow.errors import FeedbackError, ImageError, ReceiptError, ReviewedError
from shopwindow.feedback.feedback import Feedback, Photo
from shopwindow.feedback.receipt import Receipt, Receipts
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.limits import ImageLimits
from shopwindow.inference.batching import Batcher, Deadline
from shopwindow.inference.prediction import Prediction
from shopwindow.settings import Settings
from shopwindow.web.metrics import Metrics

if TYPE_CHECKING:  # it imports SQLAlchemy, which takes its time
    from shopwindow.feedback.store import FeedbackStore

# Enough for any model to come, and for a person to see what it is.
KEPT_SIDE_PX = 1024
LISTED = 5  # labels that a receipt has, so that a reviewer sees what the model wavered between

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """A feedback that is in the store.

    Attributes:
        id: Of the feedback.
        undo: What takes it back.
        label: What was given; "" for "none of these".
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
    """Takes feedback. Thread-safe.

    Attributes:
        store: Where it goes.
        keep_days: How long photos are kept.
    """

    def __init__(
        self, store: FeedbackStore, settings: Settings, batcher: Batcher, metrics: Metrics
    ) -> None:
        self.store = store
        self.keep_days = settings.feedback_keep_days
        self.key = settings.secret_key.encode() or store.key
        self._receipts = Receipts(self.key)
        self._batcher = batcher
        # In any format: what is handed in is known by then, and may be the page's own JPEG.
        self._limits = ImageLimits(max_pixels=settings.max_pixels)
        self._max_rows = settings.feedback_max_rows
        self._max_photos = settings.feedback_max_photos
        self._metrics = metrics
        metrics.feedback_is_on()

    def receipt(self, prediction: Prediction, bundle: Bundle, photos: Sequence[bytes]) -> str:
        """Return the receipt of an answer; nothing is kept.

        Args:
            prediction: With `LISTED` labels or more in `top`, if the model has as many.
            bundle: Whose answer it is.
            photos: The picture as it was sent, and what else may be handed in as the photo.
        """
        info = bundle.info
        return self._receipts.sign(
            prediction,
            column=info.main.name,
            model=(info.name, info.version, bundle.sha256),
            photo_sha256s=[hashlib.sha256(photo).hexdigest() for photo in photos],
        )

    def take(self, receipt_text: str, label: str, image: bytes | None, caller: Deadline) -> Taken:
        """Keep what somebody says about an answer; when this returns, it is on the disk.

        A receipt is good for one feedback: what is handed in again replaces what was said before.

        Args:
            receipt_text: From `receipt`.
            label: What it is: one of the model's labels, or "" for none of them.
            image: The picture of the receipt, if its sender agrees that it is kept.
            caller: Who waits.

        Raises:
            UnprocessableEntity: The receipt, the label or the picture cannot be used.
            Conflict: A reviewer has judged it already.
            ServiceUnavailable: The store cannot be written now, or is full.
            BusyError: More is asked than can be answered in time.
        """
        try:
            receipt = self._receipts.read(receipt_text)
        except ReceiptError as error:
            raise UnprocessableEntity(str(error)) from error
        self._check_label(receipt, label)
        self._check_room(receipt)
        photo = None
        if image is not None:
            self._check_photo(receipt, image)
            if self._has_photo_room(receipt):
                photo = self._make_photo(image, caller)
        now = datetime.now(UTC)
        feedback = _as_feedback(receipt, label or None, now)
        until = None if photo is None else now + timedelta(days=self.keep_days)
        try:
            self.store.add(feedback, photo, until)
        except ReviewedError as error:
            raise Conflict(str(error)) from error
        except FeedbackError as error:
            raise self._failed(error) from error
        self._metrics.took_feedback(
            "none" if not label else "corrected" if feedback.corrects else "confirmed",
            with_photo=photo is not None,
        )
        return Taken(feedback.id, self._receipts.sign_undo(feedback.id), label, until)

    def undo(self, feedback_id: str, token: str) -> None:
        """Forget a feedback and its photo, whether it was reviewed or not.

        Raises:
            Forbidden: The token is not the one that came with this feedback.
            NotFound: It is gone already.
            ServiceUnavailable: The store cannot be written now.
        """
        if not self._receipts.allows_undo(feedback_id, token):
            raise Forbidden(
                "Only who gave a feedback can take it back: send the 'undo' that came with it."
            )
        try:
            found = self.store.delete(feedback_id)
        except FeedbackError as error:
            raise self._failed(error) from error
        if not found:
            raise NotFound("This feedback is not kept here; it may have been taken back already.")
        self._metrics.took_feedback("undone")

    def _check_label(self, receipt: Receipt, label: str) -> None:
        main = self._batcher.predictor.bundle.info.main
        if receipt.column != main.name:
            raise UnprocessableEntity(
                "Another model answers now: classify the photo again, and then say what it is."
            )
        if label and label != receipt.predicted and label not in main.labels:
            raise UnprocessableEntity(
                f"label: expected one of the {len(main.labels)} labels of {main.name}, or an empty "
                f"text for none of them; found {label[:60]!r}."
            )

    def _check_photo(self, receipt: Receipt, image: bytes) -> None:
        if hashlib.sha256(image).hexdigest() not in receipt.photo_sha256s:
            raise UnprocessableEntity(
                "This is not the picture that the receipt is for: send the same file again, or "
                "none."
            )

    def _check_room(self, receipt: Receipt) -> None:
        """Refuse what is new where there is enough: strangers must not fill the disk."""
        try:
            full = self.store.count() >= self._max_rows and self.store.find(receipt.id) is None
        except FeedbackError as error:
            raise self._failed(error) from error
        if full:
            _log.warning("No more feedback is taken: feedback_max_rows is %s", self._max_rows)
            self._metrics.took_feedback("full")
            raise ServiceUnavailable(
                "This could not be kept: there is no room for more feedback. Whoever runs this "
                "site can make some."
            )

    def _has_photo_room(self, receipt: Receipt) -> bool:
        """Say whether one more photo may be kept, or one in the place of the same."""
        try:
            count = self.store.photo_count(besides=receipt.photo_sha256s[0])
        except FeedbackError as error:
            raise self._failed(error) from error
        if count >= self._max_photos:
            _log.warning("No more photos are kept: there are %s (feedback_max_photos)", count)
        return count < self._max_photos

    def _make_photo(self, image: bytes, caller: Deadline) -> Photo:
        def decode(blob: bytes) -> Any:
            least_px = (KEPT_SIDE_PX, KEPT_SIDE_PX)
            return decode_image(blob, limits=self._limits, least_px=least_px)

        with self._batcher.admit(caller) as admission:
            try:
                image_hwc = admission.decode(decode, image)
            except ImageError as error:
                raise UnprocessableEntity(str(error)) from error
            # Made anew, as the pixels are all that was agreed on: no place, no camera, no name.
            picture = Image.fromarray(image_hwc)
            picture.thumbnail((KEPT_SIDE_PX, KEPT_SIDE_PX))
            out = BytesIO()
            picture.save(out, "JPEG", quality=95, subsampling=0)
        return Photo(out.getvalue(), "image/jpeg")

    def _failed(self, error: FeedbackError) -> ServiceUnavailable:
        _log.error("Feedback could not be written: %s", error)
        self._metrics.took_feedback("failed")
        return ServiceUnavailable(
            "This could not be written down just now. Please try again in a moment.", retry_after=5
        )


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
