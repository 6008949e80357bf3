"""The real server under requests: a new model comes, a broken one comes, and it is told to stop."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from colour_bundle import colour_info, write_colour_bundle
from served import Served, running_app

LIMIT_S = 60


@contextmanager
def asking(served: Served, picture: bytes) -> Iterator[list[tuple[int, str]]]:
    """Ask from four threads until the context ends; collect status and version of each answer."""
    answers: list[tuple[int, str]] = []
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=served.url, timeout=LIMIT_S) as client:
            while not done.is_set():
                answer = client.post(
                    "/api/v1/predict", content=picture, headers={"Content-Type": "image/png"}
                )
                answers.append((answer.status_code, answer.json()["model"]["version"]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    yield answers
    done.set()
    for thread in threads:
        thread.join()


def wait_until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline, "this took too long"


def metric(served: Served, line: str) -> float:
    text = httpx.get(f"{served.url}/metrics").text
    return float(next(one for one in text.splitlines() if one.startswith(line)).split()[-1])


def test_new_model_is_taken_and_a_broken_one_refused_without_losing_a_request(
    tmp_path: Path, image_bytes: Callable[..., bytes]
) -> None:
    path = write_colour_bundle(tmp_path / "model.onnx")
    new = tmp_path / "new.onnx"
    with running_app(path, model_check_s=1, log_level="error") as served:
        with asking(served, image_bytes("red")) as answers:
            wait_until(lambda: len(answers) > 20)
            info = replace(colour_info(), version="2.0")
            write_colour_bundle(new, metadata=json.dumps(info.as_json()))
            new.replace(path)
            wait_until(lambda: answers[-1][1] == "2.0")
            new.write_bytes(path.read_bytes()[:1000])
            new.replace(path)
            wait_until(
                lambda: metric(served, 'shopwindow_model_replacements_total{outcome="refused"}')
            )
            seen = len(answers)
            wait_until(lambda: len(answers) > seen + 20)
        assert {status for status, _ in answers} == {200}
        assert (answers[0][1], answers[-1][1]) == ("1.0", "2.0")
        assert httpx.get(f"{served.url}/api/v1/model").json()["version"] == "2.0"
        assert 'version="2.0"' in httpx.get(f"{served.url}/metrics").text


def test_stopping_server_finishes_what_has_begun(
    colour_bundle: Path, image_bytes: Callable[..., bytes]
) -> None:
    picture = image_bytes("red")
    head = (
        f"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(picture)}\r\n\r\n"
    ).encode()
    with running_app(colour_bundle) as served:
        clients = [socket.create_connection(served.address, timeout=LIMIT_S) for _ in range(20)]
        for client in clients:
            client.sendall(head + picture[:-1])
        # Answered only when all before it on the loop were read.
        assert httpx.get(f"{served.url}/health/live").status_code == 200
        served.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not accepts(served))
        for client in clients:
            client.sendall(picture[-1:])
        for client in clients:
            with client:
                answer = client.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200 "), answer
        served.process.wait(timeout=LIMIT_S)
    assert served.process.returncode == 0


def accepts(served: Served) -> bool:
    try:
        socket.create_connection(served.address, timeout=LIMIT_S).close()
    except OSError:
        return False
    return True
