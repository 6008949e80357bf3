"""The JavaScript client, on a page of another site that may use it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from feedback_server import serving

_PAGE = """<!doctype html><title>A shop</title><input type="file" multiple>
<script type="module">
  import { ApiError, Client } from '%s/client.js';
  const client = new Client('%s');
  window.ask = async () => {
    const files = [...document.querySelector('input').files];
    const entry = await client.predict(files[0], { top: 1 });
    const given = await client.feedback(entry.receipt, 'blue', { image: files[0] });
    await client.withdraw(given);
    const gone = await client.withdraw(given).catch((error) => error);
    const many = await client.predict([...Array(11).fill(files[0]), files[1], files[1]]);
    const alone = await client.predict([files[1]]);
    const refused = await client.predict(files[1]).catch((error) => error);
    return {
      entry, given, gone: [gone instanceof ApiError, gone.status], many, alone,
      refused: [refused instanceof ApiError, refused.status], model: await client.model(),
    };
  };
</script>"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of somebody's site, and its folder."""
    folder = tmp_path / "shop"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


def test_a_page_of_another_site_asks_and_gives_feedback(
    browser: Browser,
    shop: tuple[str, Path],
    colour_bundle: Path,
    image_bytes: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    site, folder = shop
    store = str(tmp_path / "feedback.sqlite3")
    with serving(colour_bundle, store, cors_origins=site) as (url, _):
        (folder / "index.html").write_text(_PAGE % (url, url))
        page = browser.new_page()
        page.goto(site)
        good = {"name": "a.png", "mimeType": "image/png", "buffer": image_bytes("red")}
        bad = {"name": "b.png", "mimeType": "image/png", "buffer": b"no image"}
        page.set_input_files("input", [good, bad])  # type: ignore[list-item]
        page.wait_for_function("window.ask")
        said: dict[str, Any] = page.evaluate("window.ask()")
        page.close()
    assert said["entry"]["label"] == "red"
    assert len(said["entry"]["top"]) == 1
    assert said["given"]["photo_kept"]
    assert said["gone"] == [True, 404]
    assert [entry.get("label") for entry in said["many"]] == ["red"] * 11 + [None] * 2
    assert said["many"][12]["error"]["status"] == said["alone"][0]["error"]["status"] == 415
    assert said["refused"] == [True, 415]
    assert said["model"]["name"]
