"""Connections of the real server loop, over real sockets, with an app that only counts bytes."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from waitress import create_server, wasyncore

from shopwindow.web.server.http_connection import HttpConnection
from shopwindow.web.server.upload_budget import LARGE_BYTES, UploadBudget


class CountingBudget(UploadBudget):
    """Knows how often it was called."""

    calls = 0

    def count(self, *args: Any, **kwargs: Any) -> bool:
        self.calls += 1
        return super().count(*args, **kwargs)


@dataclass
class Served:
    """A server in a thread; `may_answer` lets its app go on."""

    address: tuple[str, int]
    budget: CountingBudget
    may_answer: threading.Event

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)


@pytest.fixture
def served() -> Iterator[Served]:
    may_answer, ended = threading.Event(), threading.Event()
    may_answer.set()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        assert may_answer.wait(10)
        text = b"%d" % len(environ["wsgi.input"].read())
        start_response("200 OK", [("Content-Length", str(len(text)))])
        return [text]

    sockets: dict[int, Any] = {}
    server = create_server(app, map=sockets, host="127.0.0.1", port=0, threads=4)
    budget = CountingBudget(2 * LARGE_BYTES)
    server.channel_class = type(
        "Counted", (HttpConnection,), {"upload_budget": budget, "logged_protocols": set()}
    )

    def serve() -> None:
        while not ended.is_set():
            # So long that what is not woken fails.
            wasyncore.loop(timeout=30, use_poll=True, map=sockets, count=1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Served(("127.0.0.1", server.effective_port), budget, may_answer)
    finally:
        ended.set()
        may_answer.set()
        server.pull_trigger()
        thread.join()
        server.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(sockets)


def post(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)


def answer(connection: socket.socket) -> bytes:
    """Return the body of the next answer, which has one digit or more and no line break."""
    said = b""
    while b"\r\n\r\n" not in said or said.endswith(b"\r\n\r\n"):
        part = connection.recv(4096)
        assert part, said
        said += part
    return said.rpartition(b"\r\n\r\n")[2]


def test_idle_connections_are_not_counted_in_every_turn(
    served: Served,
) -> None:
    """A thousand open connections would else make each request wait for a thousand counts."""
    idle = [served.connect() for _ in range(40)]
    with served.connect() as busy:
        for connection in idle:
            connection.sendall(post(5))
            assert answer(connection) == b"5"
        before = served.budget.calls
        for _ in range(20):
            busy.sendall(post(5))
            assert answer(busy) == b"5"
        # One where it arrives, and one where it is answered.
        assert 20 <= served.budget.calls - before <= 42
    for connection in idle:
        connection.close()


def test_waiting_uploads_go_on_as_soon_as_there_is_room(served: Served) -> None:
    """The loop sleeps for 30 s here, if nobody wakes it."""
    size = 4 * LARGE_BYTES
    served.may_answer.clear()
    with served.connect() as first, served.connect() as second:
        first.sendall(post(size))
        while served.budget.held_bytes < size:
            pass
        threading.Thread(target=second.sendall, args=(post(size),)).start()
        while served.budget.held_bytes < size + LARGE_BYTES:
            pass
        assert served.budget.held_bytes < 2 * size, "it has to wait for its turn"
        served.may_answer.set()
        assert answer(first) == answer(second) == b"%d" % size


def test_nothing_stays_counted_after_answers_and_hang_ups(served: Served) -> None:
    served.may_answer.clear()
    kept, gone, unfinished = (served.connect() for _ in range(3))
    kept.sendall(post(LARGE_BYTES))
    gone.sendall(post(LARGE_BYTES))
    unfinished.sendall(post(4 * LARGE_BYTES)[: 2 * LARGE_BYTES])
    while served.budget.held_bytes < 3 * LARGE_BYTES:
        pass
    gone.close()
    unfinished.close()
    served.may_answer.set()
    assert answer(kept) == b"%d" % LARGE_BYTES
    kept.close()
    while served.budget.held_bytes:
        pass


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40)], "TLS"),
        ([b"\x80\x2e\x01\x00\x02"], "TLS"),
        ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], "HTTP/2"),
        ([b"\r\n\r\n\x00\r\nQUIT\n"], "other than HTTP"),
        ([b"\x00\x01\x02"], "other than HTTP"),
    ],
)
def test_other_protocols_are_closed_at_once_and_logged_once(
    served: Served, said: list[bytes], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with served.connect() as connection:
                for part in said:
                    connection.sendall(part)
                assert connection.recv(100) == b""
    lines = [one.getMessage() for one in caplog.records if "was closed" in one.getMessage()]
    assert len(lines) == 1
    assert name in lines[0]


def test_protocol_that_arrives_in_pieces_is_recognised(served: Served) -> None:
    with served.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"PRI * H")
        connection.sendall(b"TTP/2.0\r\n")
        assert connection.recv(100) == b""


def test_other_methods_and_blank_lines_before_them_are_http(served: Served) -> None:
    with served.connect() as connection:
        for method in (b"\r\nPOST", b"PRINT", b"PRI"):
            connection.sendall(post(5).replace(b"POST", method))
            assert answer(connection) == b"5"
