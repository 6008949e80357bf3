"""What is refused while the line is full gets its answer from the server's loop itself."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app
from shopwindow.web.server.http_server import HttpServer
from shopwindow.web.state import AppState, app_state

PREDICT = "/api/v1/predict"
KEY = "correct-horse-battery-staple"
SETTINGS = Settings(port=0, max_waiting=1)
ADDED_BY_WAITRESS = {"Content-Length", "Date", "Server"}


@dataclass(frozen=True)
class Running:
    """The real server in a thread, and the app in it."""

    app: Flask
    port: int

    @property
    def state(self) -> AppState:
        return app_state(self.app)

    def counted(self, name: str, **labels: str) -> float:
        with_key = {"Authorization": f"Bearer {KEY}"}
        text = self.app.test_client().get("/metrics", headers=with_key).text
        samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        return samples.get((f"shopwindow_{name}", frozenset(labels.items())), 0.0)


@pytest.fixture
def running(predictor: Predictor, request: pytest.FixtureRequest) -> Iterator[Running]:
    app = create_app(predictor, replace(SETTINGS, **getattr(request, "param", {})))
    ports: list[int] = []
    listening, stopping = threading.Event(), threading.Event()

    def run() -> None:
        server = HttpServer(app, SETTINGS)
        ports.append(server.port)
        listening.set()
        while not stopping.is_set():
            server.turn(timeout_s=0.01)
        server.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert listening.wait(20)
    yield Running(app, ports[0])
    stopping.set()
    thread.join()


def ask(
    connection: http.client.HTTPConnection, content: bytes, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection.request("POST", PREDICT, content, {"Content-Type": "image/png", **headers})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def test_refusal_is_exactly_what_the_app_says(
    running: Running, image_bytes: Callable[..., bytes]
) -> None:
    given = {"X-Request-ID": "of-the-proxy"}
    blob = image_bytes("red")
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    with running.state.batcher.admit():
        by_the_app = running.app.test_client().post(
            PREDICT, data=blob, content_type="image/png", headers=given
        )
        status, headers, body = ask(connection, blob, **given)
    assert (status, json.loads(body)) == (503, by_the_app.get_json(force=True))
    expected = {name: value for name, value in by_the_app.headers if name not in ADDED_BY_WAITRESS}
    assert {name.title(): expected[name] for name in expected} == {
        name.title(): value for name, value in headers.items() if name not in ADDED_BY_WAITRESS
    }
    assert headers["Connection"] is None
    # The same connection gets its answer as soon as there is room.
    status, _, body = ask(connection, blob)
    assert (status, json.loads(body)["predictions"][0]["label"]) == (200, "red")
    connection.close()


def test_refusal_takes_no_thread_and_is_counted(
    running: Running, image_bytes: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    taken_up: list[object] = []
    running.app.before_request(lambda: taken_up.append(1))
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    caplog.set_level("INFO", "shopwindow.access")
    with running.state.batcher.admit():
        for _ in range(3):
            assert ask(connection, image_bytes("red"))[0] == 503
    connection.close()
    assert taken_up == []
    assert running.counted("dropped_total", reason="full") == 3
    assert running.counted("errors_total", kind="service-unavailable") == 3
    labels = {"endpoint": PREDICT, "method": "POST", "status": "503"}
    assert running.counted("requests_total", **labels) == 3
    # An alert runs on these, and what nobody did took no time.
    assert running.counted("request_seconds_count", endpoint=PREDICT) == 0
    lines = [record for record in caplog.records if record.getMessage().startswith("POST")]
    assert [line.getMessage() for line in lines] == [f"POST {PREDICT} 503 0.0s"] * 3
    assert len({line.request_id for line in lines}) == 3  # type: ignore[attr-defined]


def both(running: Running, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Return what app and loop answer alike to one request each, while the line is full."""
    given = {"X-Request-ID": "same", **headers}
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    with running.state.batcher.admit():
        app = running.app.test_client().post(
            PREDICT, data=b"x", headers={"Content-Type": "image/png", **given}
        )
        status, found, body = ask(connection, b"x", **given)
    connection.close()
    assert (status, json.loads(body)) == (app.status_code, app.get_json(force=True))
    kept = {name.title(): value for name, value in app.headers if name not in ADDED_BY_WAITRESS}
    assert kept == {n.title(): v for n, v in found.items() if n not in ADDED_BY_WAITRESS}
    return status, json.loads(body)["detail"], kept


@pytest.mark.parametrize("running", [{"api_key": KEY}], indirect=True)
def test_key_is_asked_for_before_anything_is_said_about_room(running: Running) -> None:
    for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic !"}):
        status, detail, headers = both(running, **wrong)
        assert (status, "needs a key" in detail) == (401, True)
        assert headers["Www-Authenticate"].startswith("Bearer ")
    assert running.counted("dropped_total", reason="full") == 0
    for right in (f"Bearer {KEY}", "Basic " + base64.b64encode(f"x:{KEY}".encode()).decode()):
        assert both(running, Authorization=right)[0] == 503


@pytest.mark.parametrize("running", [{"rate_limit": 2, "trusted_proxies": 1}], indirect=True)
def test_rate_limit_holds_while_the_line_is_full(running: Running) -> None:
    """App and loop take from the same credit."""
    of = {"X-Forwarded-For": "198.51.100.1:443"}
    assert both(running, **of)[0] == 503
    status, detail, headers = both(running, **of)
    assert (status, "At most 2 requests a minute" in detail) == (429, True)
    assert int(headers["Retry-After"]) >= 1
    assert both(running, **{"X-Forwarded-For": "198.51.100.2"})[0] == 503
    assert running.counted("request_seconds_count", endpoint=PREDICT) == 0


def test_room_is_asked_for_before_the_request_is_read(running: Running) -> None:
    assert both(running, **{"Content-Type": "text/plain"})[0] == 503


def test_everything_else_is_let_in_even_after_a_refusal_on_the_same_connection(
    running: Running, image_bytes: Callable[..., bytes]
) -> None:
    blob = image_bytes("red")
    post = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(blob)}\r\n\r\n"
    ).encode() + blob
    live = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with running.state.batcher.admit(), socket.create_connection(("127.0.0.1", running.port)) as s:
        s.settimeout(20)
        s.sendall(post + live + post + b"GET /health/ready HTTP/1.0\r\n\r\n")
        heard = b""
        while more := s.recv(65536):
            heard += more
    assert re.findall(rb"HTTP/1\.\d (\d{3}) ", heard) == [b"503", b"200", b"503", b"200"]


@pytest.mark.parametrize("close", [("1.1", "Connection: close\r\n"), ("1.0", "")])
def test_connection_is_closed_after_a_refusal_if_its_client_wants_that(
    running: Running, close: tuple[str, str]
) -> None:
    version, header = close
    head = f"POST {PREDICT} HTTP/{version}\r\nHost: x\r\n{header}Content-Length: 1\r\n\r\nx"
    with running.state.batcher.admit(), socket.create_connection(("127.0.0.1", running.port)) as s:
        s.settimeout(20)
        s.sendall(head.encode())
        heard = b""
        while more := s.recv(65536):
            heard += more
    assert heard.split()[1] == b"503"
    assert json.loads(heard.split(b"\r\n\r\n", 1)[1])["status"] == 503


def test_client_that_hangs_up_at_once_harms_nobody(
    running: Running, image_bytes: Callable[..., bytes]
) -> None:
    with running.state.batcher.admit():
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", running.port)) as s:
                s.sendall(
                    f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx".encode()
                )
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    assert ask(connection, image_bytes("red"))[0] == 200
    connection.close()
