"""A receipt says what the model said, and cannot be made or changed by anybody else."""

from __future__ import annotations

import pytest
from itsdangerous import URLSafeTimedSerializer

from shopwindow.errors import ReceiptError
from shopwindow.feedback import receipt as module
from shopwindow.feedback.receipt import RECEIPT_AGE_S, Receipts
from shopwindow.inference.prediction import LabelScore, Prediction

KEY = b"k" * 32
TOP = (LabelScore("red", 0.7), LabelScore("blue", 0.2), LabelScore("green", 0.1))
PREDICTION = Prediction("red", 0.7, True, TOP)


def sign(receipts: Receipts, prediction: Prediction = PREDICTION) -> str:
    return receipts.sign(
        prediction, column="colour", model=("colours", "1.0", "ab" * 32), photo_sha256s=["cd" * 32]
    )


def test_receipt_says_what_was_answered() -> None:
    receipts = Receipts(KEY)
    found = receipts.read(sign(receipts))
    assert (found.model_name, found.model_version, found.model_sha256) == (
        "colours", "1.0", "ab" * 32
    )  # fmt: skip
    assert (found.column, found.photo_sha256s) == ("colour", ("cd" * 32,))
    assert (found.predicted, found.confidence, found.sure) == ("red", 0.7, True)
    assert found.top == TOP
    assert found.margin == pytest.approx(0.5)
    assert receipts.read(sign(receipts)).id != found.id


def test_margin_of_a_model_with_one_label_is_its_confidence() -> None:
    only = Prediction("red", 1.0, True, (LabelScore("red", 1.0),))
    receipts = Receipts(KEY)
    assert receipts.read(sign(receipts, only)).margin == 1.0


def test_no_character_of_a_receipt_can_be_changed() -> None:
    receipts = Receipts(KEY)
    text = sign(receipts)
    for place in range(len(text)):
        # The last character of base64 may have bits that say nothing; they are not the content.
        forged = text[:place] + ("A" if text[place] != "A" else "Z") + text[place + 1 :]
        with pytest.raises(ReceiptError, match="not from this server"):
            receipts.read(forged)


@pytest.mark.parametrize("text", ["", ".", "a.b.c", "x" * 5000, "é.é.é", "\x00", "\ud800"])
def test_nonsense_is_refused_as_a_receipt(text: str) -> None:
    with pytest.raises(ReceiptError, match="classify the photo again"):
        Receipts(KEY).read(text)
    assert not Receipts(KEY).allows_undo("ab", text)


def test_receipt_of_another_server_is_refused() -> None:
    with pytest.raises(ReceiptError, match="not from this server"):
        Receipts(KEY).read(sign(Receipts(b"l" * 32)))


def test_receipt_expires_after_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    receipts = Receipts(KEY)
    text = sign(receipts)
    monkeypatch.setattr(module, "RECEIPT_AGE_S", -1)
    with pytest.raises(ReceiptError, match="more than a day old: classify the photo again"):
        receipts.read(text)
    assert RECEIPT_AGE_S == 24 * 3600


def test_undo_token_is_valid_for_its_feedback_alone() -> None:
    receipts = Receipts(KEY)
    token = receipts.sign_undo("one")
    assert receipts.allows_undo("one", token)
    assert not receipts.allows_undo("other", token)
    assert not Receipts(b"l" * 32).allows_undo("one", token)
    receipt = sign(receipts)
    assert not receipts.allows_undo(receipts.read(receipt).id, receipt)
    with pytest.raises(ReceiptError):
        receipts.read(token)
    with pytest.raises(ReceiptError):
        receipts.read(str(URLSafeTimedSerializer(KEY, salt="undo").dumps({"i": "one"})))
