"""Every error of every JSON address has the one shape of RFC 9457, and gives nothing away."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app

LIMIT_BYTES = 100_000
PREDICT = "/api/v1/predict"


@pytest.fixture
def app(predictor: Predictor) -> Flask:
    return create_app(predictor, Settings(max_upload_bytes=LIMIT_BYTES, max_files=3))


def image_field(*contents: bytes) -> dict[str, Any]:
    return {"image": [(io.BytesIO(content), "x.png") for content in contents]}


def check_problem(answer: TestResponse, status: int) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    problem = answer.get_json(force=True)
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert problem["detail"].endswith(".")
    if problem["type"] == "about:blank":
        assert problem["title"].lower() in {
            HTTPStatus(status).phrase.lower(),
            "request entity too large",
        }
    for leak in ("Traceback", "/home", "/work", ".py", "site-packages", "werkzeug"):
        assert leak not in answer.text
    return problem


def predict(status: int, words: str, **parts: Any) -> tuple[str, str, dict[str, Any], int, str]:
    return "POST", PREDICT, parts, status, words


def with_top(top: str, words: str) -> tuple[str, str, dict[str, Any], int, str]:
    return predict(400, words, data=image_field(b"x"), query_string={"top": top})


CASES = [
    ("GET", "/api/nowhere", {}, 404, "nothing at this address"),
    ("GET", "/health/nowhere", {}, 404, "nothing at this address"),
    ("GET", PREDICT, {}, 405, "only takes OPTIONS, POST requests"),
    ("POST", "/api/v1/model", {}, 405, "GET"),
    ("DELETE", "/health/live", {}, 405, "GET"),
    with_top("0", "from 1 to 5, got '0'"),
    with_top("6", "from 1 to 5, got '6'"),
    with_top("two", "got 'two'"),
    with_top("9" * 5000, "got '999"),
    with_top("", "got ''"),
    predict(415, "The content type is none."),
    predict(415, "The content type is application/json.", json={"image": "x"}),
    predict(415, "'image'", data={"image": "text"}),
    predict(415, "This file is empty.", data=b"", content_type="image/png"),
    predict(400, "has no boundary", data=b"x", content_type="multipart/form-data"),
    predict(400, "has no boundary", data=b"x", content_type="multipart/form-data; boundary="),
    predict(400, "has no parts", data=b"--b\r\nx", content_type="multipart/form-data; boundary=b"),
    predict(400, "has no parts", data=b"--a\r\nx", content_type="multipart/form-data; boundary=b"),
    predict(
        400,
        "is text, not a file",
        data=b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nx\r\n--b--\r\n',
        content_type="multipart/form-data; boundary=b",
    ),
    *(
        predict(
            415, "is compressed", data=b"x", content_type=kind, headers={"Content-Encoding": how}
        )
        for kind in ("image/png", "multipart/form-data; boundary=b")
        for how in ("gzip", "br", "x-made-up")
    ),
    ("POST", "/api/v1/feedback", {"headers": {"Content-Encoding": "zstd"}}, 415, "is compressed"),
    predict(400, "no file in the field 'image'", data={"picture": (io.BytesIO(b"x"), "x.png")}),
    predict(415, "expected", data=b"not an image", content_type="image/png"),
    predict(415, "This file is empty.", data=image_field(b"")),
    predict(413, "has 4 images, and at most 3 are", data=image_field(*[b"x"] * 4)),
    predict(413, "too many parts", data=image_field(*[b"x"] * 60)),
    predict(413, "larger than 100 kB", data=bytes(LIMIT_BYTES + 1), content_type="image/png"),
    predict(413, "larger than 100 kB", data=image_field(bytes(LIMIT_BYTES))),
]


@pytest.mark.parametrize(("method", "path", "request_parts", "status", "words"), CASES)
def test_bad_request_is_a_problem_that_says_what_to_do(
    app: Flask, method: str, path: str, request_parts: dict[str, Any], status: int, words: str
) -> None:
    answer = app.test_client().open(path, method=method, **request_parts)
    assert words in check_problem(answer, status)["detail"]


def test_damaged_picture_is_422(app: Flask, image_bytes: Callable[..., bytes]) -> None:
    half = image_bytes("red", (300, 300), "JPEG", quality=95)[:700]
    answer = app.test_client().post(PREDICT, data=image_field(half))
    assert check_problem(answer, 422)["type"] == "urn:shopwindow:problem:damaged-image"


def test_picture_with_too_many_pixels_is_413(
    predictor: Predictor, image_bytes: Callable[..., bytes]
) -> None:
    answer = (
        create_app(predictor)
        .test_client()
        .post(PREDICT, data=image_bytes(0, (8000, 8000), mode="1"), content_type="image/png")
    )
    assert check_problem(answer, 413)["type"] == "urn:shopwindow:problem:image-too-large"


def test_wrong_method_names_the_right_ones(app: Flask) -> None:
    assert "POST" in app.test_client().get(PREDICT).headers["Allow"]


def test_bug_is_a_500_that_is_logged_and_leaks_nothing(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> str:
        raise RuntimeError("the secret is 4711")

    app.add_url_rule("/api/v1/broken", view_func=broken)
    with caplog.at_level(logging.ERROR):
        answer = app.test_client().get("/api/v1/broken")
    problem = check_problem(answer, 500)
    assert "4711" not in problem["detail"]
    assert "RuntimeError: the secret is 4711" in caplog.text
