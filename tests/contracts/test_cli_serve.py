"""`shopwindow serve` as a process: started, asked, stopped."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from command_line import assert_one_line
from PIL import Image

from shopwindow.bundle import bundled_model_path

Start = Callable[..., tuple["subprocess.Popen[str]", str]]


@pytest.fixture
def start(colour_bundle: Path) -> Iterator[Start]:
    """Start a server on a free port; return the process and the address that it printed."""
    servers: list[subprocess.Popen[str]] = []

    def start_server(*arguments: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
        server = subprocess.Popen(
            [sys.executable, "-m", "shopwindow", "serve", *arguments],
            env=os.environ | {"SHOPWINDOW_MODEL": str(colour_bundle)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        servers.append(server)
        assert server.stdout is not None
        line = server.stdout.readline()  # comes when the first request will be answered
        address = re.search(r"http://\S+", line)
        assert address, f"{line!r} {server.stderr.read() if server.stderr else ''}"
        return server, address[0]

    yield start_server
    for server in servers:
        if server.poll() is None:
            server.kill()
        server.communicate()


def test_served_model_answers_at_the_address_that_is_printed(
    start: Start, image_bytes: Callable[..., bytes]
) -> None:
    _, address = start("--port", "0")
    request = urllib.request.Request(  # noqa: S310
        f"{address}/api/v1/predict", image_bytes("blue"), {"Content-Type": "image/png"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        assert b'"label":"blue"' in answer.read().replace(b": ", b":")


# What every such server must do: its libraries imported, the model opened.
LEAST = """
import sys, time, flask, numpy, onnxruntime, PIL.Image, sqlalchemy, waitress
onnxruntime.InferenceSession(sys.argv[1])
print(time.process_time())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts processor time as Linux does")
def test_first_answer_takes_little_more_than_the_libraries_and_the_model(
    start: Start, image_bytes: Callable[..., bytes]
) -> None:
    """A ratio, and of processor time: seconds say more about what else the machine has to do.

    1.4 to 2.3 where it was measured; `benchmarks/startup.py` gives the seconds.
    """
    model = str(bundled_model_path())
    least = subprocess.run([sys.executable, "-c", LEAST, model], capture_output=True, check=True)
    server, address = start("--port", "0", "--model", model)
    request = urllib.request.Request(  # noqa: S310
        f"{address}/api/v1/predict", image_bytes("blue"), {"Content-Type": "image/png"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        assert answer.status == 200
    times = psutil.Process(server.pid).cpu_times()
    assert times.user + times.system < 3.5 * float(least.stdout)


def test_formats_and_frames_that_are_not_wanted_are_refused_by_api_and_page(
    start: Start, image_bytes: Callable[..., bytes]
) -> None:
    _, address = start("--port", "0", SHOPWINDOW_FORMATS="png,gif", SHOPWINDOW_MAX_FRAMES="1")
    still = image_bytes("blue", format="PNG")
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    with httpx.Client(base_url=address, timeout=30) as client:
        for content, status, said in (
            (still, 200, "blue"),
            (image_bytes("blue", format="JPEG"), 415, "of the format JPEG: expected PNG, GIF."),
            (moving.getvalue(), 413, "This GIF image has more than one frame. Send a single"),
        ):
            api = client.post("/api/v1/predict", files={"image": ("photo.png", content)})
            page = client.post("/", files={"image-file": ("photo.png", content)})
            assert (api.status_code, page.status_code) == (status, status)
            assert said in api.text
            assert said in page.text
        page = client.get("/")
    assert 'accept="image/png,image/gif"' in page.text
    assert "PNG or GIF, up to" in page.text
    assert 'data-least-px="1000000000"' in page.text  # as the script would make JPEGs of them


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_server_that_is_stopped_ends_quietly_with_exit_code_0(
    start: Start, how: signal.Signals
) -> None:
    server, _ = start("--port", "0")
    server.send_signal(how)
    _, errors = server.communicate(timeout=60)
    assert (server.returncode, errors) == (0, "")


def test_command_line_wins_over_the_environment(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        _, address = start("--port", "0", SHOPWINDOW_PORT=str(port))
    assert not address.endswith(f":{port}")


def failed_start(*arguments: str | Path, **environment: str) -> str:
    """Return what a server says that cannot start. A process, since it sets up logging first."""
    completed = subprocess.run(
        [sys.executable, "-m", "shopwindow", "serve", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return assert_one_line(completed, 2)


def test_port_in_use_is_one_line_that_names_another(colour_bundle: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = failed_start("--model", colour_bundle, "--port", str(port))
    assert f"127.0.0.1:{port} is in use" in said
    assert "--port" in said


def test_unknown_setting_in_the_environment_is_refused(colour_bundle: Path) -> None:
    said = failed_start("--model", colour_bundle, SHOPWINDOW_PROT="80")
    assert "SHOPWINDOW_PROT is not a setting" in said
