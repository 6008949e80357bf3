"""Page, API, bulk and feedback say the same of a picture that did not arrive whole."""

from __future__ import annotations

import io
from html import unescape
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from PIL import Image

from heic_files import GRID, PLAIN
from shopwindow.bulk.inputs import Input
from shopwindow.bulk.pipeline import predict_inputs
from shopwindow.feedback.store import FeedbackStore
from shopwindow.inference.predictor import Predictor
from shopwindow.web.app import create_app

PREDICT = "/api/v1/predict"


def saved(format_: str) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((120, 90), 90).convert("RGB").save(buffer, format_)
    return buffer.getvalue()


FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIC", "BMP", "TIFF", "PPM"]


@pytest.fixture
def client(predictor: Predictor, store: FeedbackStore) -> FlaskClient:
    return create_app(predictor, store=store).test_client()


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("part", [0.5, 0.75])
def test_page_api_bulk_and_feedback_say_the_same(
    client: FlaskClient, predictor: Predictor, tmp_path: Path, format_: str, part: float
) -> None:
    whole = GRID if format_ == "HEIC" else saved(format_)
    half = whole[: int(part * len(whole))]
    api = client.post(PREDICT, data=half, content_type="image/jpeg")
    sentence = api.get_json(force=True)["detail"]
    assert (api.status_code, sentence.split(" is damaged")[0]) == (422, f"This {format_} image")

    parts = [(io.BytesIO(half), "a.jpg"), (io.BytesIO(whole), "b")]
    first, second = client.post(PREDICT, data={"image": parts}).get_json()["predictions"]
    assert (first["error"]["status"], first["error"]["detail"]) == (422, sentence)
    assert "receipt" in second

    page = client.post("/", data={"image-file": (io.BytesIO(half), "a.png")})
    assert page.status_code == 422
    assert sentence in unescape(page.text)

    (tmp_path / "a.jpg").write_bytes(half)
    (row,) = predict_inputs(predictor, [Input(str(tmp_path / "a.jpg"))])
    assert row.error == sentence


def test_feedback_never_keeps_half_a_picture(client: FlaskClient, store: FeedbackStore) -> None:
    """There is no receipt for what was not answered, and one for another picture is no use."""
    whole = saved("JPEG")
    (answer,) = client.post(PREDICT, data=whole, content_type="image/jpeg").get_json()[
        "predictions"
    ]
    data = {"receipt": answer["receipt"], "label": "red"}
    half = (io.BytesIO(whole[: len(whole) // 2]), "x.jpg")
    refused = client.post("/api/v1/feedback", data={**data, "image": half})
    assert refused.status_code == 422
    assert store.count() == 0


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "photo.jpg", "no-ending"])
def test_photo_of_a_phone_is_answered_everywhere_whatever_its_name(
    client: FlaskClient, predictor: Predictor, tmp_path: Path, name: str
) -> None:
    for content in (PLAIN, saved("AVIF"), saved("PPM")):
        api = client.post(PREDICT, data={"image": (io.BytesIO(content), name)})
        assert api.status_code == 200
        page = client.post("/", data={"image-file": (io.BytesIO(content), name)})
        assert page.status_code == 200
        (tmp_path / name).write_bytes(content)
        (row,) = predict_inputs(predictor, [Input(str(tmp_path / name))])
        assert row.prediction is not None
        assert row.prediction.label == api.get_json()["predictions"][0]["label"]
