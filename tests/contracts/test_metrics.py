"""/metrics counts what happens, in base units, and a client cannot make its labels grow."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app

PREDICT = "/api/v1/predict"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def app(predictor: Predictor) -> Flask:
    return create_app(predictor)


def read(app: Flask) -> Samples:
    answer = app.test_client().get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, /, **labels: str) -> float:
    return samples[f"shopwindow_{name}", frozenset(labels.items())]


def test_requests_and_work_are_counted(app: Flask, image_bytes: Callable[..., bytes]) -> None:
    client = app.test_client()
    for _ in range(3):
        client.post(PREDICT, data=image_bytes("red"), content_type="image/png")
    samples = read(app)
    labels = {"endpoint": PREDICT, "method": "POST", "status": "200"}
    assert value(samples, "requests_total", **labels) == 3
    assert value(samples, "request_seconds_count", endpoint=PREDICT) == 3
    assert value(samples, "decode_seconds_count") == 3
    assert value(samples, "run_seconds_count") == 3
    assert value(samples, "batch_images_sum") == 3
    assert value(samples, "queue_requests") == 0
    assert 0 < value(samples, "run_seconds_sum") < 30
    assert samples["process_resident_memory_bytes", frozenset()] > 10_000_000


def test_errors_are_counted_by_kind_also_of_one_picture_among_several(
    app: Flask, image_bytes: Callable[..., bytes]
) -> None:
    client = app.test_client()
    files = [image_bytes("red"), b"not an image", b"GIF89a"]
    client.post(PREDICT, data={"image": [(io.BytesIO(one), "x") for one in files]})
    client.post("/", data={"image-file": (io.BytesIO(b"GIF89a"), "x.gif")})
    client.get("/api/nowhere")
    samples = read(app)
    assert value(samples, "errors_total", kind="unsupported-image-format") == 1
    assert value(samples, "errors_total", kind="damaged-image") == 2
    assert value(samples, "errors_total", kind="not-found") == 1
    assert value(samples, "errors_total", kind="bug") == 0


def test_refused_requests_do_not_make_the_others_look_quick(
    predictor: Predictor, image_bytes: Callable[..., bytes]
) -> None:
    app = create_app(predictor, Settings(rate_limit=1, max_waiting=1))
    post = {"data": image_bytes("red"), "content_type": "image/png"}
    with app.extensions["shopwindow"].batcher.admit():
        statuses = [app.test_client().post(PREDICT, **post).status_code for _ in range(2)]
    assert statuses == [503, 429]
    samples = read(app)
    assert ("shopwindow_request_seconds_count", frozenset({("endpoint", PREDICT)})) not in samples
    labels = {"endpoint": PREDICT, "method": "POST"}
    assert value(samples, "requests_total", status="429", **labels) == 1
    assert value(samples, "requests_total", status="503", **labels) == 1


def test_bug_is_counted(app: Flask) -> None:
    def broken() -> str:
        raise RuntimeError("broken")

    app.add_url_rule("/api/v1/broken", view_func=broken)
    app.test_client().get("/api/v1/broken")
    assert value(read(app), "errors_total", kind="bug") == 1


def test_model_is_named(app: Flask, predictor: Predictor) -> None:
    labels = {"name": "colours", "version": "1.0", "sha256": predictor.bundle.sha256}
    assert value(read(app), "model_info", **labels) == 1


def test_labels_do_not_grow_with_what_clients_make_up(app: Flask) -> None:
    client = app.test_client()

    def make_up(start: int) -> None:
        for number in range(start, start + 20):
            client.open(f"/made/up/{number}", method=f"VERB{number}")
            client.get(f"/static/{number}.css", headers={"X-Request-ID": f"{number}"})
            client.post(f"{PREDICT}?top={number}", content_type=f"image/x{number}", data=b"x")

    make_up(0)
    read(app)  # which is a request of its own
    before = read(app)
    make_up(20)
    assert set(read(app)) == set(before)


def test_two_apps_have_figures_of_their_own(predictor: Predictor) -> None:
    one, other = create_app(predictor), create_app(predictor)
    one.test_client().get("/health/live")
    live = {"endpoint": "/health/live", "method": "GET", "status": "200"}
    assert value(read(one), "requests_total", **live) == 1
    assert ("shopwindow_requests_total", frozenset(live.items())) not in read(other)
