"""The Python client asks the real server, patiently where that is busy."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from feedback_server import serving
from shopwindow import ApiError, AsyncClient, Client

ImageBytes = Callable[..., bytes]
KEY = "a-key-for-programs-only"


@pytest.fixture(scope="module")
def url(colour_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = tmp_path_factory.mktemp("feedback") / "feedback.sqlite3"
    with serving(colour_bundle, str(store), api_key=KEY) as (url, _):
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, api_key=KEY) as client:
        yield client


def test_one_image_of_any_kind_has_one_entry(
    client: Client, image_bytes: ImageBytes, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(image_bytes("red"))
    pixels = np.asarray(Image.open(path).convert("RGB"))
    for image in (path, str(path), path.read_bytes(), Image.open(path), pixels):
        assert client.predict(image)["label"] == "red"
    entry = client.predict(path, top=2, explain=True)
    assert len(entry["top"]) == 2
    assert entry["words"]["heading"]


def test_many_images_go_in_several_requests_and_keep_their_order(
    client: Client, image_bytes: ImageBytes
) -> None:
    colours = ["red", "blue", "lime"] * 9
    images: list[bytes] = [image_bytes(colour) for colour in colours]
    images[13] = b"no image"
    images.append(b"")
    entries = client.predict(images)
    expected = ["green" if colour == "lime" else colour for colour in colours]
    assert [entry.get("label") for entry in entries] == [
        *expected[:13],
        None,
        *expected[14:],
        None,
    ]
    assert entries[13]["error"]["type"].endswith("unsupported-image-format")
    assert client.predict([]) == []
    (alone,) = client.predict([b"no image"])
    assert alone["error"]["status"] == 415


def test_a_refusal_says_what_the_server_said(client: Client, url: str) -> None:
    with pytest.raises(ApiError, match="image") as refused:
        client.predict(b"no image")
    assert refused.value.status == 415
    with Client(url) as stranger, pytest.raises(ApiError, match="needs a key") as refused:
        stranger.model()
    assert (refused.value.status, refused.value.title) == (401, "Unauthorized")


def test_feedback_is_given_and_withdrawn(client: Client, image_bytes: ImageBytes) -> None:
    photo = image_bytes("red")
    receipt = client.predict(photo)["receipt"]
    given = client.feedback(receipt, "blue", image=photo)
    assert given["photo_kept"]
    client.withdraw(given)
    with pytest.raises(ApiError) as gone:
        client.withdraw(given)
    assert gone.value.status == 404
    assert not client.feedback(client.predict(photo)["receipt"], "red")["photo_kept"]


def test_asyncio_asks_for_several_things_at_a_time(url: str, image_bytes: ImageBytes) -> None:
    async def ask() -> list[str]:
        async with AsyncClient(url, api_key=KEY) as client:
            answers = await asyncio.gather(
                client.predict(image_bytes("red")), client.predict(image_bytes("blue"))
            )
            assert (await client.model())["name"]
            entry = answers[0]
            await client.withdraw(await client.feedback(entry["receipt"], "red"))
            return [answer["label"] for answer in answers]

    # In a thread, as the browser of other tests keeps an event loop in this one.
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(asyncio.run, ask()).result() == ["red", "blue"]


class BusyAtFirst(BaseHTTPRequestHandler):
    """A proxy that has no server behind it for the first two requests."""

    asked: list[float]

    def do_GET(self) -> None:
        self.asked.append(time.monotonic())
        busy = len(self.asked) <= 2
        body = b"" if busy else b'{"name": "fashion"}'
        self.send_response(503 if busy else 200)
        if busy:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_busy_server_is_asked_again_when_it_says_so() -> None:
    handler = type("Handler", (BusyAtFirst,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Client(f"http://127.0.0.1:{server.server_port}/") as client:
            assert client.model() == {"name": "fashion"}
        server.shutdown()
    first, second, third = handler.asked
    assert second - first >= 1
    assert third - second >= 1


def test_nobody_at_the_address_is_an_error_of_the_transport() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(httpx.ConnectError):
        client.model()


def test_the_example_in_the_documentation_runs(
    repository_root: Path,
    url: str,
    image_bytes: ImageBytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (repository_root / "docs" / "api.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.+?)```", page, re.DOTALL)
    example = example.replace('"http://127.0.0.1:5000"', f'"{url}", api_key="{KEY}"')
    (tmp_path / "shoe.jpg").write_bytes(image_bytes("red"))
    (tmp_path / "bag.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/api.md", "exec"), {})  # noqa: S102
    first, second, third = capsys.readouterr().out.splitlines()
    assert (first, second) == ("red", "red None")
    assert "'status': 415" in third
