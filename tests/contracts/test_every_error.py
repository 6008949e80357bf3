"""One shape for every error: of each address, of each kind, and of the server itself."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.exceptions import default_exceptions

from live_server import running_server
from shopwindow.feedback.opening import open_store
from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app
from shopwindow.web.security import SECURITY_HEADERS

PROBLEM = "application/problem+json"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW")


@pytest.fixture
def app(predictor: Predictor, tmp_path: Path) -> Iterator[Flask]:
    store = open_store(str(tmp_path / "feedback.sqlite3"))
    yield create_app(predictor, Settings(max_upload_bytes=20_000), store=store)
    store.close()


def check(body: bytes, status: int, headers: Any) -> None:
    assert headers["Content-Type"] == PROBLEM, (status, body)
    problem = json.loads(body)
    assert list(problem) == ["type", "title", "status", "detail"]
    assert problem["status"] == status
    assert problem["detail"].endswith(".")
    for name, value in SECURITY_HEADERS.items():
        assert headers[name] == value


def addresses(app: Flask) -> list[str]:
    return sorted(
        rule.rule.replace("<path:filename>", "x.css") for rule in app.url_map.iter_rules()
    )


def test_every_address_answers_every_method_or_tells_a_problem(app: Flask) -> None:
    client = app.test_client()
    refused = 0
    for path in [
        *addresses(app),
        "/nowhere",
        "/api/",
        "/api/v1/predict/",
        "/health",
        "/%00",
        "/...",
    ]:
        for method in METHODS:
            answer = client.open(path, method=method, headers={"Accept": PROBLEM}, buffered=True)
            assert answer.status_code < 500
            if answer.status_code >= 400 and method != "HEAD":
                check(answer.data, answer.status_code, answer.headers)
                refused += 1
    assert refused > 50


@pytest.mark.parametrize("status", sorted(set(default_exceptions) - {418}))
def test_every_http_error_of_every_address_is_a_problem(app: Flask, status: int) -> None:
    """Whatever Flask and Werkzeug may raise, before or in a view."""

    def fail() -> None:
        raise default_exceptions[status]

    app.before_request(fail)
    for path in addresses(app):
        answer = app.test_client().get(path, headers={"Accept": PROBLEM})
        check(answer.data, status, answer.headers)
        page = app.test_client().get(path, headers={"Accept": "text/html"})
        assert page.status_code == status
        for_programs = path.startswith(
            ("/api/", "/studio/api/", "/health/", "/metrics", "/openapi.json")
        )
        assert page.mimetype == (PROBLEM if for_programs else "text/html")


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, {"data": {}}),
        (413, {"data": bytes(30_000)}),
        (413, {"data": {"image-file": (io.BytesIO(bytes(30_000)), "x.png")}}),
        (415, {"data": {"image-file": (io.BytesIO(b"<svg/>"), "x.png")}}),
        (422, {"data": {"image-file": (io.BytesIO(b"GIF89a"), "x.png")}}),
    ],
)
def test_page_tells_a_program_a_problem_too(app: Flask, status: int, sent: dict[str, Any]) -> None:
    answer = app.test_client().post("/", headers={"Accept": PROBLEM}, **sent)
    check(answer.data, answer.status_code, answer.headers)
    assert answer.status_code == status


@pytest.fixture(scope="module")
def server(colour_bundle: Path) -> Iterator[tuple[str, int]]:
    with running_server(colour_bundle) as url:
        host, port = url.removeprefix("http://").split(":")
        yield host, int(port)


@pytest.mark.parametrize(
    ("status", "request_bytes"),
    [
        (400, b"NONSENSE\r\n\r\n"),
        (400, b"GET /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nBad Header : x\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 65_600 + b"\r\n\r\n"),
        (501, b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ],
)
def test_request_that_is_no_http_is_a_problem_too(
    server: tuple[str, int], status: int, request_bytes: bytes
) -> None:
    with socket.create_connection(server, timeout=60) as client:
        client.sendall(request_bytes)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first.split()[1] == str(status)
    check(body, status, dict(line.split(": ", 1) for line in lines))
