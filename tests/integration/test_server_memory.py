"""The server that people start stays small, also after many photos at once."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

pytestmark = pytest.mark.slow


def _photo() -> bytes:
    """A photo-like JPEG of 900 x 1200: smooth, with some grain."""
    random = np.random.default_rng(3)
    coarse = Image.fromarray(random.integers(0, 256, (12, 9, 3), np.uint8))
    pixels = np.asarray(coarse.resize((900, 1200))) // 2 + random.integers(0, 60, (1200, 900, 1))
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def _peak_bytes(pid: int) -> int:
    """Return the most resident memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one for Linux with glibc")
def test_server_never_holds_600_mb_while_8_clients_send_49_million_pixels(
    image_bytes: Callable[..., bytes],
) -> None:
    command = [sys.executable, "-m", "shopwindow", "serve", "--port", "0"]
    bombs = [
        image_bytes("red", (7000, 7000), compress_level=1),
        image_bytes("red", (7000, 7000), "JPEG", progressive=True, subsampling=0),
        image_bytes(1, (7000, 7000), "GIF", mode="P"),
    ]
    patient = os.environ | {"SHOPWINDOW_DEADLINE_S": "300"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=patient) as server:
        try:
            assert server.stdout is not None
            address = "http://" + server.stdout.readline().split("http://")[1].split()[0]
            with httpx.Client(base_url=address, timeout=300) as client:

                def post(bomb: bytes) -> int:
                    headers = {"Content-Type": "image/png"}
                    return client.post("/api/v1/predict", content=bomb, headers=headers).status_code

                with ThreadPoolExecutor(8) as pool:
                    assert set(pool.map(post, bombs * 3)) == {200}
            assert _peak_bytes(server.pid) < 600_000_000
        finally:
            server.terminate()
            server.wait(timeout=60)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one for Linux with glibc")
def test_server_holds_less_than_300_mb_after_100_photos_from_8_clients() -> None:
    command = [sys.executable, "-m", "shopwindow", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = "http://" + server.stdout.readline().split("http://")[1].split()[0]
            photo = _photo()
            with httpx.Client(base_url=address, timeout=60) as client:

                def post(_: int) -> int:
                    headers = {"Content-Type": "image/jpeg"}
                    return client.post(
                        "/api/v1/predict", content=photo, headers=headers
                    ).status_code

                with ThreadPoolExecutor(8) as pool:
                    assert set(pool.map(post, range(100))) == {200}
            assert psutil.Process(server.pid).memory_info().rss < 300_000_000
        finally:
            server.terminate()
            server.wait(timeout=60)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one for Linux with glibc")
def test_uploads_that_never_end_or_all_come_at_once_do_not_fill_the_memory(
    image_bytes: Callable[..., bytes],
) -> None:
    command = [sys.executable, "-m", "shopwindow", "serve", "--port", "0"]
    head = b"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    head += b"Content-Length: 10000000\r\n\r\n"
    noise = np.random.default_rng(1).integers(0, 256, (1750, 1750, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG", compress_level=0)
    large = buffer.getvalue()
    patient = os.environ | {"SHOPWINDOW_DEADLINE_S": "300", "SHOPWINDOW_RECEIVE_S": "300"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=patient) as server:
        try:
            assert server.stdout is not None
            address = "http://" + server.stdout.readline().split("http://")[1].split()[0]
            port = int(address.rsplit(":", 1)[1])
            before = _peak_bytes(server.pid)
            with contextlib.ExitStack() as open_sockets, httpx.Client(timeout=300) as client:

                def post(content: bytes) -> int:
                    headers = {"Content-Type": "image/png"}
                    url = f"{address}/api/v1/predict"
                    return client.post(url, content=content, headers=headers).status_code

                for _ in range(40):
                    one = socket.create_connection(("127.0.0.1", port), timeout=60)
                    open_sockets.callback(one.close)
                    one.sendall(head)
                    one.settimeout(0.5)
                    # It is not read any further, or cut: 10 s are over for it.
                    with contextlib.suppress(TimeoutError, ConnectionError):
                        one.sendall(bytes(9_900_000))
                    assert post(image_bytes("red")) == 200, "small ones get in all the time"
                assert _peak_bytes(server.pid) - before < 150_000_000
            with (
                httpx.Client(timeout=300, limits=httpx.Limits(max_connections=30)) as client,
                ThreadPoolExecutor(30) as pool,
            ):
                assert len(large) > 9_000_000
                assert set(pool.map(post, [large] * 30)) == {200}, "one after the other"
            assert _peak_bytes(server.pid) < 600_000_000
        finally:
            server.terminate()
            server.wait(timeout=60)
