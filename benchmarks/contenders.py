"""The servers that benchmarks/serving.py compares, and how each is asked."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from shopwindow.inference.engine import available_cores

HERE = Path(__file__).resolve().parent
START_TIMEOUT_S = 300
_BOUNDARY = "benchmark-4711"


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that answers what is on an image.

    Attributes:
        name: As the table calls it.
        command: Starts it; `PORT` and `FOLDER` (a scratch folder) are replaced.
        ask: From an image file to the HTTP requests that make up one question.
    """

    name: str
    command: tuple[str, ...]
    ask: Callable[[bytes], list[bytes]]


@dataclass(slots=True)
class Running:
    """A contender that listens."""

    contender: Contender
    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Return the processor time of all its processes so far."""
        spent = 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            spent += times.user + times.system
        return spent


def line_up(model: Path, peers: Path, names: Sequence[str]) -> list[Contender]:
    """Return the contenders of these names, in this order.

    Args:
        model: The bundle that all but the article's app run.
        peers: The environment made from benchmarks/requirements.txt.
        names: See `NAMES`.
    """
    python, bin_ = str(peers / "bin" / "python"), str(peers / "bin")
    app = [sys.executable, "-m", "shopwindow", "serve", "--model", str(model), "--port", "PORT"]
    gunicorn = [f"{bin_}/gunicorn", "--bind", "127.0.0.1:PORT", "--threads", "8", "--timeout", "60"]
    article = [sys.executable, str(HERE / "peers" / "article.py"), "PORT", "FOLDER/export.pkl"]
    bentoml = [f"{bin_}/bentoml", "serve", "bentoml_app:Classifier", "--port", "PORT"]
    everyone = {
        "shopwindow": Contender("shopwindow", tuple(app), _raw("/api/v1/predict")),
        "flask": Contender("Flask, gunicorn", (*gunicorn, "plain_flask:app"), _raw("/predict")),
        "litserve": Contender("LitServe", (python, "litserve_app.py", "PORT"), _litserve),
        "bentoml": Contender("BentoML", tuple(bentoml), _form("/predict")),
        "gradio": Contender("Gradio", (python, "gradio_app.py", "PORT"), _gradio),
        "article": Contender("the article's app", tuple(article), _form("/predict")),
    }
    return [everyone[name] for name in names]


NAMES = ("shopwindow", "flask", "litserve", "bentoml", "gradio", "article")


def require(peers: Path, names: Sequence[str]) -> None:
    """End with one sentence where something is missing that a contender needs."""
    if not set(names) <= {"shopwindow", "article"} and not (peers / "bin" / "python").exists():
        sys.exit(
            f"The peers need an environment of their own, which is not at {peers}: python3 -m venv "
            f"{peers} && {peers}/bin/pip install -r benchmarks/requirements.txt"
        )
    if "article" in names and importlib.util.find_spec("fastai") is None:
        sys.exit(
            "The article's app needs fastai, which is in the development environment: run this "
            "with .venv-dev/bin/python, or leave it out with --apps."
        )


@contextmanager
def running(
    contenders: Sequence[Contender], model: Path, folder: Path, image: bytes
) -> Iterator[list[Running]]:
    """Start all contenders, wait until each has answered an image, and stop them at the end."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("SHOPWINDOW_")}
    environment = own | {
        "MODEL": str(model),
        "CORES": str(available_cores()),
        "BENTOML_DO_NOT_TRACK": "true",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
    }
    with ExitStack() as stack:
        started = []
        for contender in contenders:
            port = free_port()
            command = [
                part.replace("PORT", str(port)).replace("FOLDER", str(folder))
                for part in contender.command
            ]
            log = stack.enter_context((folder / f"{port}.log").open("wb"))
            process = subprocess.Popen(
                command, cwd=HERE / "peers", env=environment, stdout=log, stderr=subprocess.STDOUT
            )
            stack.callback(_stop, process)
            one = Running(contender, port, psutil.Process(process.pid))
            _wait_until_it_answers(one, process, image, folder / f"{port}.log")
            started.append(one)
        yield started


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def drive(one: Running, image: bytes, **how: float) -> dict[str, Any]:
    """Put a load on a contender, and return what load.py says about it."""
    requests = [base64.b64encode(part).decode() for part in one.contender.ask(image)]
    plan = json.dumps({"port": one.port, "requests": requests, **how})
    done = subprocess.run(
        [sys.executable, str(HERE / "load.py")],
        input=plan,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def _wait_until_it_answers(
    one: Running, process: subprocess.Popen[bytes], image: bytes, log: Path
) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{one.port}/", timeout=30)
        except httpx.TransportError:
            time.sleep(0.2)
            continue
        outcomes = drive(one, image, concurrency=1, seconds=0.5)["outcomes"]
        statuses = [status for status, _ in outcomes]
        if statuses[-1:] == [200]:
            return
    said = log.read_text("utf-8", "replace")[-2000:]
    sys.exit(f"{one.contender.name} does not answer. It said:\n{said}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
    for child in children:
        if child.is_running():
            child.kill()


def _request(path: str, media_type: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _raw(path: str) -> Callable[[bytes], list[bytes]]:
    return lambda image: [_request(path, "image/jpeg", image)]


def _form(path: str) -> Callable[[bytes], list[bytes]]:
    def ask(image: bytes) -> list[bytes]:
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n"
        )
        body = head.encode() + image + f"\r\n--{_BOUNDARY}--\r\n".encode()
        return [_request(path, f"multipart/form-data; boundary={_BOUNDARY}", body)]

    return ask


def _litserve(image: bytes) -> list[bytes]:
    body = json.dumps({"image": base64.b64encode(image).decode()}).encode()
    return [_request("/predict", "application/json", body)]


def _gradio(image: bytes) -> list[bytes]:
    url = "data:image/jpeg;base64," + base64.b64encode(image).decode()
    file = {"url": url, "orig_name": "a.jpg", "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [file]}).encode()
    listen = b"GET /gradio_api/call/predict/{event_id} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    return [_request("/gradio_api/call/predict", "application/json", body), listen]
