"""Forms of feedback that nobody's page sends: each is refused with a sentence, and nothing kept."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from io import BytesIO

import pytest
from flask.testing import FlaskClient

from shopwindow.feedback.store import FeedbackStore
from shopwindow.inference.predictor import Predictor
from shopwindow.web.app import create_app

MakeImage = Callable[..., bytes]


@pytest.fixture
def client(predictor: Predictor, store: FeedbackStore) -> FlaskClient:
    return create_app(predictor, store=store).test_client()


@pytest.fixture
def fields(client: FlaskClient, image_bytes: MakeImage) -> dict[str, str]:
    """What the form of an answered photo has."""
    page = client.post("/", data={"image-file": (BytesIO(image_bytes("red")), "red.png")}).text
    return {
        name: re.findall(rf'name="{name}" value="([^"]+)"', page)[0]
        for name in ("receipt", "photo")
    }


@pytest.mark.parametrize(
    ("changed", "status", "sentence"),
    [
        ({"label": None}, 400, "Use the form on the page with the answer"),
        ({"receipt": None}, 400, "Use the form on the page with the answer"),
        ({"receipt": "made-up"}, 422, "This receipt is not from this server"),
        ({"label": "teapot"}, 422, "expected one of the 5 labels of colour"),
        ({"photo": "no base64!"}, 400, "The photo did not arrive whole"),
        ({"photo": "né pas de base64"}, 400, "The photo did not arrive whole"),
        ({"photo": base64.b64encode(b"another").decode()}, 422, "This is not the picture"),
    ],
)
def test_form_that_cannot_be_used_is_refused_with_a_sentence(
    client: FlaskClient,
    store: FeedbackStore,
    fields: dict[str, str],
    changed: dict[str, str | None],
    status: int,
    sentence: str,
) -> None:
    sent = {**fields, "label": "blue", "keep": "yes", **changed}
    answer = client.post("/feedback", data={k: v for k, v in sent.items() if v is not None})
    assert answer.status_code == status
    assert sentence in answer.text
    assert "<!doctype html>" in answer.text
    assert list(store.items()) == []


def test_photo_is_kept_only_if_the_box_was_ticked(
    client: FlaskClient, store: FeedbackStore, fields: dict[str, str]
) -> None:
    assert client.post("/feedback", data={**fields, "label": "blue"}).status_code == 200
    assert [item.has_photo for item in store.items()] == [False]
    assert (
        client.post("/feedback", data={**fields, "label": "blue", "keep": "yes"}).status_code == 200
    )
    assert [item.has_photo for item in store.items()] == [True]


def test_nobody_can_undo_the_feedback_of_others(
    client: FlaskClient, store: FeedbackStore, fields: dict[str, str]
) -> None:
    page = client.post("/feedback", data={**fields, "label": "blue"}).text
    (item,) = store.items()
    assert client.post("/feedback/undo", data={"id": item.id, "undo": "guess"}).status_code == 403
    assert client.post("/feedback/undo", data={}).status_code == 403
    assert len(list(store.items())) == 1
    (token,) = re.findall(r'name="undo" value="([^"]+)"', page)
    assert client.post("/feedback/undo", data={"id": item.id, "undo": token}).status_code == 200
    assert list(store.items()) == []


def test_forms_are_not_there_where_feedback_is_off(predictor: Predictor) -> None:
    client = create_app(predictor).test_client()
    for path in ("/feedback", "/feedback/undo"):
        assert client.post(path, data={"receipt": "x", "label": "y"}).status_code == 404
