"""The page of an audit: judged with keys, kept over a reload, and learned from."""

from __future__ import annotations

import csv
import functools
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect

from shopwindow.cli import main

OpenPage = Callable[..., Page]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[str]:
    """Audit forty photos, two of them in the wrong folder, and serve the page."""
    for label, colour in (("red", (220, 30, 30)), ("blue", (30, 30, 220))):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(20):
            image = Image.new("RGB", (60, 80), colour)
            image.paste((255, 255, 255), (2 * number, 3 * number, 2 * number + 15, 3 * number + 15))
            image.save(tmp_path / "photos" / label / f"{number:02}.png")
    photos = tmp_path / "photos"
    (photos / "red" / "00.png").rename(photos / "blue" / "was, red.png")
    (photos / "blue" / "10.png").rename(photos / "red" / "was-blue.png")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert main(["audit", "photos", "--out", "page/audit.html"]) == 0
    capsys.readouterr()
    handler = functools.partial(_Quiet, directory=str(tmp_path / "page"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def image_of(page: Page) -> str:
    return page.locator("#reference").inner_text()


def test_decisions_by_keys_survive_a_reload_and_are_learned_from(
    open_page: OpenPage, judged: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = open_page("/audit.html", base=judged)
    cards = json.loads(page.locator("#found").inner_text())["cards"]
    assert {card["image"] for card in cards[:2]} == {"blue/was, red.png", "red/was-blue.png"}
    for _ in range(2):
        page.keyboard.press("s")
    kept, dropped, chosen = (card["image"] for card in cards[2:5])
    page.keyboard.press("k")
    page.keyboard.press("k")
    page.keyboard.press("u")
    assert image_of(page) == dropped
    page.keyboard.press("d")
    expect(page.locator("#count")).to_contain_text(f"4 of {len(cards)} judged")

    page.reload()
    assert image_of(page) == chosen
    page.keyboard.press("c")
    page.keyboard.type("green")
    page.keyboard.press("Enter")
    expect(page.locator("#problem")).to_have_text(
        "There is no label green; choose one of the list."
    )
    other = "red" if cards[4]["given"] == "blue" else "blue"
    page.locator("#label").fill(other)
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#decision")).to_have_text(other)

    with page.expect_download() as download:
        page.get_by_role("button", name="Download the decisions").click()
    assert download.value.suggested_filename == "decisions.csv"
    table = tmp_path / "decisions.csv"
    download.value.save_as(table)
    with table.open(newline="", encoding="utf-8") as file:
        rows = {row["image"]: (row["decision"], row["label"]) for row in csv.DictReader(file)}
    assert rows == {
        "blue/was, red.png": ("relabel", "red"),
        "red/was-blue.png": ("relabel", "blue"),
        kept: ("keep", ""),
        dropped: ("drop", ""),
        chosen: ("relabel", other),
    }
    assert main(["train", "photos", "--corrections", str(table), "--out", "run"]) == 0
    assert "3 labels corrected, 1 image left out\n" in capsys.readouterr().out


def test_page_can_be_used_by_everybody(open_page: OpenPage, judged: str) -> None:
    for scheme, size in (("light", (1280, 800)), ("dark", (360, 740))):
        page = open_page("/audit.html", base=judged, size=size, color_scheme=scheme)
        found = Axe().run(page).response["violations"]
        assert [violation["id"] for violation in found] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("button", name="Keep").click()
        expect(page.locator("#count")).to_contain_text("1 of")
