"""The figures page compares this month's photos with the training's; all of it from real photos."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from test_review import PASSWORD, log_in

from colour_bundle import write_colour_bundle
from drifting import add_photos, sampled_bundle
from shopwindow.feedback.store import FeedbackStore
from shopwindow.inference.predictor import Predictor, load_predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app

FARTHER = "farther from the training photos than chance explains"


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A bundle that was trained on reddish photos."""
    return load_predictor(sampled_bundle(tmp_path_factory.mktemp("bundle")), threads=1)


@pytest.fixture
def client(sampled: Predictor, store: FeedbackStore) -> FlaskClient:
    client = create_app(sampled, Settings(review_password=PASSWORD), store=store).test_client()
    assert log_in(client).status_code == 303
    return client


def gauge(client: FlaskClient) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    (value,) = (
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "shopwindow_drift_ratio"
    )
    return value


def test_photo_is_kept_with_its_embedding_and_the_page_says_so(
    client: FlaskClient,
    store: FeedbackStore,
    sampled: Predictor,
    image_bytes: Callable[..., bytes],
) -> None:
    blob = image_bytes("red", (30, 40))
    assert (
        "Numbers that describe how it looks are kept and deleted with it." in client.get("/").text
    )
    entry = client.post("/api/v1/predict", data=blob, content_type="image/png").get_json()
    said = {"receipt": entry["predictions"][0]["receipt"], "label": "red"}
    data = said | {"image": (BytesIO(blob), "x.png")}
    answer = client.post("/api/v1/feedback", data=data)
    assert answer.get_json()["photo_kept"]
    since = datetime.now(UTC) - timedelta(hours=1)
    ids, values = store.embeddings_since(sampled.bundle.sha256, since, 10)
    assert ids == [answer.get_json()["id"]]
    kept = store.photo(ids[0])
    assert kept is not None
    (expected,) = sampled.predict_bytes([kept.content], embed=True)
    np.testing.assert_allclose(values[0], expected.embedding, atol=0.01)


def test_photos_like_those_of_the_training_are_no_drift(
    client: FlaskClient, store: FeedbackStore, sampled: Predictor
) -> None:
    assert "Too few photos to say." in client.get("/review/figures").text
    assert math.isnan(gauge(client))
    add_photos(store, sampled.bundle.sha256, "reddish", 30)
    page = client.get("/review/figures").text
    assert "No sign of drift." in page
    assert 0 <= gauge(client) <= 1


def test_other_photos_are_drift_and_the_farthest_are_one_click_from_a_label(
    client: FlaskClient, store: FeedbackStore, sampled: Predictor
) -> None:
    usual = add_photos(store, sampled.bundle.sha256, "reddish", 10)
    far = add_photos(store, sampled.bundle.sha256, "bluish", 25)
    page = client.get("/review/figures").text
    assert FARTHER in page
    assert gauge(client) > 1
    assert page.count("data-photo=") == 35
    listed = re.findall(r"item=([0-9a-f]{32})", page.partition('id="farthest"')[2])
    assert len(listed) == 20
    assert set(listed) <= set(far)
    shown = client.get(f"/review?item={listed[3]}").text
    assert f"/review/photo/{listed[3]}" in shown
    store.review(listed[0], "accepted", "blue")
    after = re.findall(
        r"item=([0-9a-f]{32})", client.get("/review/figures").text.partition('id="farthest"')[2]
    )
    assert listed[0] not in after
    assert len(after) == 20
    for one in [*usual, *far]:
        store.delete(one)
    assert "Too few photos to say." in client.get("/review/figures").text
    assert math.isnan(gauge(client))


def test_photos_of_last_month_and_of_another_model_do_not_count(
    client: FlaskClient, store: FeedbackStore, sampled: Predictor
) -> None:
    add_photos(store, sampled.bundle.sha256, "bluish", 30, days_ago=40)
    add_photos(store, "00" * 32, "bluish", 30)
    assert "Too few photos to say." in client.get("/review/figures").text


def test_scrape_asks_the_store_for_nothing(
    client: FlaskClient, store: FeedbackStore, tmp_path: Path
) -> None:
    store.close()
    for file in tmp_path.glob("feedback.sqlite3*"):
        file.unlink()
    (tmp_path / "feedback.sqlite3").mkdir()
    assert client.get("/metrics").status_code == 200


def test_bundle_without_sample_or_embedding_shows_the_figures_as_before(
    predictor: Predictor, store: FeedbackStore, tmp_path: Path
) -> None:
    plain = load_predictor(write_colour_bundle(tmp_path / "e.onnx", embedding=True), threads=1)
    for one in (predictor, plain):
        client = create_app(one, Settings(review_password=PASSWORD), store=store).test_client()
        assert log_in(client).status_code == 303
        page = client.get("/review/figures").text
        assert "Nobody has given feedback yet." in page
        assert "beside the training" not in page
        assert math.isnan(gauge(client))


def test_without_embeddings_the_page_promises_none(
    predictor: Predictor, store: FeedbackStore
) -> None:
    page = create_app(predictor, store=store).test_client().get("/").text
    assert "without where and when it was taken." in page
    assert "Numbers that describe" not in page


def test_model_of_the_api_does_not_give_the_sample_away(client: FlaskClient) -> None:
    assert "training_sample" not in client.get("/api/v1/model").text
