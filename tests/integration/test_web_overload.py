"""More is asked than can be answered: who is told to come back, and how."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask.testing import FlaskClient

from shopwindow.inference.batching import DropReason, Observer
from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app

MakeImage = Callable[..., bytes]


class Turnstile(Observer):
    """Stops whoever has had an image decoded until the test lets him on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self.reasons: list[DropReason] = []
        self.decoded_files = 0

    def decoded(self, seconds: float) -> None:
        self.decoded_files += 1
        self.reached.set()
        assert self.open.wait(60)

    def dropped(self, reason: DropReason) -> None:
        self.reasons.append(reason)


@pytest.fixture
def turnstile() -> Turnstile:
    return Turnstile()


@pytest.fixture
def full(
    predictor: Predictor, turnstile: Turnstile, image_bytes: MakeImage
) -> Iterator[FlaskClient]:
    """A client of an app that takes one request at a time, and is busy with it."""
    app = create_app(predictor, Settings(max_waiting=1), turnstile)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(
            app.test_client().post,
            "/api/v1/predict",
            data=image_bytes("red"),
            content_type="image/png",
        )
        assert turnstile.reached.wait(60)
        try:
            yield app.test_client()
        finally:
            turnstile.open.set()
        answer = first.result(60)
        assert answer.status_code == 200
        assert answer.get_json()["predictions"][0]["label"] == "red"


def test_api_says_503_with_the_reason_and_when_to_retry(
    full: FlaskClient, turnstile: Turnstile, image_bytes: MakeImage
) -> None:
    answer = full.post("/api/v1/predict", data=image_bytes("blue"), content_type="image/png")
    assert answer.status_code == 503
    assert answer.mimetype == "application/problem+json"
    assert int(answer.headers["Retry-After"]) >= 1
    assert "try again" in answer.get_json(force=True)["detail"]
    assert turnstile.reasons == ["full"]
    assert turnstile.decoded_files == 1


def test_page_says_503_in_its_own_words(full: FlaskClient, image_bytes: MakeImage) -> None:
    data = {"image-file": (io.BytesIO(image_bytes("blue")), "shoe.png")}
    answer = full.post("/", data=data)
    assert answer.status_code == 503
    assert "try again in a moment" in answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    assert "Choose photos" in answer.text


def test_everything_else_is_answered_as_ever(full: FlaskClient) -> None:
    for address in ("/", "/about", "/health/live", "/health/ready", "/api/v1/model"):
        assert full.get(address).status_code == 200


def test_client_that_hung_up_costs_nothing(
    predictor: Predictor, turnstile: Turnstile, image_bytes: MakeImage
) -> None:
    client = create_app(predictor, observer=turnstile).test_client()
    answer = client.post(
        "/api/v1/predict",
        data=image_bytes("blue"),
        content_type="image/png",
        environ_overrides={"waitress.client_disconnected": lambda: True},
    )
    assert answer.status_code == 503
    assert turnstile.reasons == ["gone"]
    assert turnstile.decoded_files == 0
