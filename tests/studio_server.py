"""The real server with a studio, as `shopwindow studio` runs it, and a client that is its page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

Files = Sequence[tuple[str, bytes]]


class Page:
    """Does what the studio's page does."""

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url, self.process = url, process
        self.client = httpx.Client(base_url=url, timeout=60)

    def open(self) -> httpx.Response:
        """Load the page, and take its token."""
        page = self.client.get("/studio")
        if found := re.search(r'(?:data-token|name="token" value)="([^"]+)"', page.text):
            self.client.headers["X-CSRF-Token"] = found[1]
        return page

    def get(self, path: str, **params: Any) -> Any:
        """Return what the API says."""
        return self.client.get(f"/studio/api/{path}", params=params).raise_for_status().json()

    def post(self, path: str, **body: Any) -> Any:
        """Change something, with the revision of now unless another is given."""
        answer = self.send(path, **body)
        assert answer.is_success, answer.text
        return answer.json()

    def send(self, path: str, **body: Any) -> httpx.Response:
        """As `post`, but return whatever comes."""
        if "revision" not in body:
            body["revision"] = self.get("state")["revision"]
        return self.client.post(f"/studio/api/{path}", json=body)

    def add(self, files: Files, **fields: str) -> Any:
        """Send photos."""
        parts = [("file", (name, content)) for name, content in files]
        answer = self.client.post("/studio/api/photos", files=parts, data=fields)
        assert answer.is_success, answer.text
        return answer.json()

    def wait(self, for_: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Follow the state until something holds of it, and return it."""
        state: dict[str, Any] = self.get("state")
        for _ in range(10_000):
            if for_(state):
                return state
            state = self.get("state", since=state["version"], wait=20)
        raise AssertionError(f"it never came; the last state was {state}")

    def wait_for_model(self) -> dict[str, Any]:
        """Wait until all photos are read, and the model with all labels is measured."""
        return self.wait(
            lambda state: (
                state["project"]["reading"] == 0
                and state["model"]["status"] == "ready"
                and state["model"]["measured_on"] == state["project"]["labelled"]
            )
        )

    def wait_for_job(self) -> dict[str, Any]:
        """Wait until the job is over, and return it."""
        job: dict[str, Any] = self.wait(lambda state: state["job"]["status"] != "running")["job"]
        return job

    def photos(self) -> dict[str, tuple[str, str]]:
        """Return label and guess of each photo."""
        columns = self.get("photos")
        labels = [*columns["labels"], ""]
        return {
            name: (labels[label], labels[guess])
            for name, label, guess in zip(
                columns["ids"], columns["label"], columns["guess"], strict=True
            )
        }


@contextmanager
def studio(folder: Path, *arguments: str, **settings: str) -> Iterator[Page]:
    """Run `shopwindow studio FOLDER ARGUMENTS` until the context ends; then it is killed."""
    told = {"feedback": "off", "threads": "1"} | settings
    environment = {f"SHOPWINDOW_{name.upper()}": value for name, value in told.items()}
    command = [sys.executable, "-m", "shopwindow", "studio", str(folder), "--port", "0", *arguments]
    with running(command, environment) as page:
        yield page


@contextmanager
def running(command: Sequence[str], environment: dict[str, str]) -> Iterator[Page]:
    """Run a server until the context ends; then it is killed, if it is still there."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | environment
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://" in line, "the server did not start; see its message above"
            page = Page("http://" + line.split("http://")[1].split()[0], process)
            with page.client:
                page.open()
                yield page
        finally:
            process.kill()
