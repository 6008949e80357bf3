"""What the log says, in both forms, and what it never says."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app
from shopwindow.web.logs import configure_logging

PREDICT = "/api/v1/predict"


@pytest.fixture
def keep_logging() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = []  # pytest's own, which `configure_logging` would close
    yield
    root.handlers, root.level = before, level


@pytest.fixture
def app(predictor: Predictor) -> Flask:
    app = create_app(predictor)

    def broken() -> str:
        raise RuntimeError("line one\nline two")

    app.add_url_rule("/api/v1/broken", view_func=broken)
    return app


Logged = Callable[..., list[str]]


@pytest.fixture
def logged(app: Flask, keep_logging: None, capsys: pytest.CaptureFixture[str]) -> Logged:
    """Send one request under some settings; return the lines of the log."""

    def send(path: str, log_format: str, level: str = "info", **request: object) -> list[str]:
        configure_logging(Settings(log_format=log_format, log_level=level))
        method = "POST" if "data" in request else "GET"
        app.test_client().open(path, method=method, **request)
        return capsys.readouterr().err.splitlines()

    return send


def test_json_log_has_one_object_for_each_request_with_its_id(logged: Logged) -> None:
    (line,) = logged("/health/live", "json", headers={"X-Request-ID": "abc-123"})
    entry = json.loads(line)
    assert entry["request_id"] == "abc-123"
    assert (entry["level"], entry["logger"]) == ("info", "shopwindow.access")
    assert (entry["method"], entry["path"], entry["status"]) == ("GET", "/health/live", 200)
    assert entry["seconds"] >= 0
    assert entry["errors"] == []
    assert entry["time"].endswith("+00:00")


def test_bug_is_one_line_with_its_trace_and_the_id_of_its_request(logged: Logged) -> None:
    entries = [json.loads(line) for line in logged("/api/v1/broken", "json")]
    bug, access = entries
    assert bug["level"] == "error"
    assert "RuntimeError: line one\nline two" in bug["exception"]
    assert bug["request_id"] == access["request_id"]
    assert (access["status"], access["errors"]) == (500, ["bug"])


def test_refused_image_is_logged_by_its_kind(logged: Logged) -> None:
    (line,) = logged(PREDICT, "json", data=b"GIF89a", content_type="image/gif")
    assert json.loads(line)["errors"] == ["damaged-image"]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nothing_of_an_upload_is_logged(logged: Logged, log_format: str) -> None:
    picture = io.BytesIO(b"\x89PNG secret-content")
    lines = logged(
        f"{PREDICT}?top=1&note=secret-query",
        log_format,
        data={"image": (picture, "secret-name.png")},
    )
    assert len(lines) == 1
    assert "secret" not in lines[0]
    assert "127.0.0.1" not in lines[0]


def test_text_log_cannot_be_forged_with_control_characters(logged: Logged) -> None:
    (line,) = logged("/api/a%0d%0a2026-01-01 ERROR forged%1b[31m", "text")
    assert "\x1b" not in line
    assert "GET /api/a" in line


def test_quiet_log_has_no_line_for_a_request_that_went_well(logged: Logged) -> None:
    assert logged("/health/live", "text", "warning") == []
    assert any("RuntimeError" in line for line in logged("/api/v1/broken", "text", "warning"))


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'x"}{', "ümlaut"])
def test_ill_formed_id_is_replaced(app: Flask, given: str) -> None:
    answer = app.test_client().get("/health/live", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] != given
    assert len(answer.headers["X-Request-ID"]) == 16


def test_well_formed_id_is_returned_with_errors_too(app: Flask) -> None:
    for path in ("/health/live", "/nowhere", "/api/v1/broken"):
        answer = app.test_client().get(path, headers={"X-Request-ID": "Root=1-67-abc"[5:]})
        assert answer.headers["X-Request-ID"] == "1-67-abc"
