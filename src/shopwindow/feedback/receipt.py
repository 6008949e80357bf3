"""Signed receipts prove what the model said.

A receipt goes out with each answer and comes back with the feedback. So nothing needs to be stored
for the many who give no feedback, and what the others send can be trusted. It is a signed JSON text
(itsdangerous, HMAC with SHA-256): readable, but not changeable.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from itsdangerous import BadData, SignatureExpired, URLSafeSerializer, URLSafeTimedSerializer

from shopwindow.errors import ReceiptError
from shopwindow.inference.prediction import LabelScore, Prediction

RECEIPT_AGE_S = 24 * 3600
KEY_BYTES = 32
_KEPT_LABELS = 5
_SIGNER = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a model said about one picture. For the attributes see `Feedback`.

    Attributes:
        photo_sha256s: Of the picture as it was sent, and of others made from it, such as a preview.
    """

    id: str
    model_name: str
    model_version: str
    model_sha256: str
    photo_sha256s: tuple[str, ...]
    column: str
    predicted: str
    confidence: float
    sure: bool
    margin: float
    top: tuple[LabelScore, ...]


class Receipts:
    """Signs and reads receipts, and the tokens that undo feedback.

    Args:
        key: Of the signatures; whoever knows it can forge them.
    """

    def __init__(self, key: bytes) -> None:
        self._receipts = URLSafeTimedSerializer(key, salt="receipt", signer_kwargs=_SIGNER)
        self._undos = URLSafeSerializer(key, salt="undo", signer_kwargs=_SIGNER)

    def sign(
        self,
        prediction: Prediction,
        *,
        column: str,
        model: tuple[str, str, str],
        photo_sha256s: Collection[str],
    ) -> str:
        """Return the receipt of an answer, as a string of letters, digits and `-_.`.

        Args:
            prediction: With at least two labels in `top`, where the model has two.
            column: Its label column.
            model: Name, version and SHA-256 of the model.
            photo_sha256s: In hexadecimal digits; each of them is a photo that may be kept for it.
        """
        top = [(one.label, round(one.confidence, 6)) for one in prediction.top[:_KEPT_LABELS]]
        return str(
            self._receipts.dumps(
                {
                    "i": secrets.token_hex(16),
                    "m": model,
                    "p": [*photo_sha256s],
                    "c": column,
                    "s": prediction.sure,
                    "t": top,
                }
            )
        )

    def read(self, text: str) -> Receipt:
        """Return the content of a receipt.

        Raises:
            ReceiptError: It is not one of ours, was changed, or is older than `RECEIPT_AGE_S`.
        """
        try:
            data: dict[str, Any] = self._receipts.loads(text, max_age=RECEIPT_AGE_S)
        except SignatureExpired:
            raise ReceiptError(
                "This answer is more than a day old: classify the photo again, and then say what "
                "it is."
            ) from None
        except (BadData, UnicodeEncodeError):  # JSON may hold invalid text, such as "\ud800"
            raise ReceiptError(
                "This receipt is not from this server, or was changed or cut off: classify the "
                "photo again, and then say what it is."
            ) from None
        top = tuple(LabelScore(label, confidence) for label, confidence in data["t"])
        second = top[1].confidence if len(top) > 1 else 0.0
        name, version, sha256 = data["m"]
        return Receipt(
            id=data["i"],
            model_name=name,
            model_version=version,
            model_sha256=sha256,
            photo_sha256s=tuple(data["p"]),
            column=data["c"],
            predicted=top[0].label,
            confidence=top[0].confidence,
            sure=data["s"],
            margin=top[0].confidence - second,
            top=top,
        )

    def sign_undo(self, feedback_id: str) -> str:
        """Return the token with which whoever gave this feedback can undo it."""
        return str(self._undos.dumps(feedback_id))

    def allows_undo(self, feedback_id: str, token: str) -> bool:
        """Say whether a token is what `sign_undo` returned for this feedback."""
        try:
            signed_id: Any = self._undos.loads(token)
        except (BadData, UnicodeEncodeError):
            return False
        return isinstance(signed_id, str) and hmac.compare_digest(
            signed_id.encode(), feedback_id.encode()
        )
