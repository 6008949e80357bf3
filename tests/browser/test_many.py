"""The grid of many photos."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, Route, expect
from visitor import check_answer, check_grid

from shopwindow.inference.predictor import Predictor

OpenPage = Callable[..., Page]
MakeImage = Callable[..., bytes]

# From certain to a guess: red with more and more green in it.
SHADES = {
    "a.png": (255, 0, 0),
    "b.png": (200, 120, 0),
    "c.png": (128, 130, 0),
    "d.png": (0, 0, 255),
}


@pytest.fixture
def photos(tmp_path: Path, image_bytes: MakeImage) -> list[Path]:
    for name, colour in SHADES.items():
        (tmp_path / name).write_bytes(image_bytes(colour))
    return [tmp_path / name for name in SHADES]


def names(page: Page) -> list[str]:
    return page.locator(".tile .file").all_inner_texts()


def test_grid_can_be_sorted(open_page: OpenPage, photos: list[Path]) -> None:
    page = open_page()
    page.set_input_files("#image-file", photos)
    expect(page.locator("#status")).to_contain_text("All 4 photos are answered.")
    assert names(page) == ["c.png", "b.png", "a.png", "d.png"]
    order = page.get_by_label("Order")
    order.select_option("Most sure first")
    assert names(page) == ["a.png", "d.png", "b.png", "c.png"]
    order.select_option("As chosen")
    assert names(page) == ["a.png", "b.png", "c.png", "d.png"]
    order.select_option("By answer")
    assert names(page) == ["d.png", "c.png", "b.png", "a.png"]


def test_answers_are_saved_as_predict_writes_them(
    open_page: OpenPage, photos: list[Path], tmp_path: Path, predictor: Predictor
) -> None:
    odd = tmp_path / 'e, "odd".png'
    odd.write_text("no picture")
    page = open_page()
    page.set_input_files("#image-file", [*photos, odd])
    expect(page.locator("#status")).to_contain_text("All 5 photos are answered.")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    # As Excel wants it, which would read another encoding without the mark.
    assert Path(download.value.path()).read_bytes().startswith(b"\xef\xbb\xbfpath,label,")
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["path"] for row in rows] == [*SHADES, odd.name]
    for row, path in zip(rows, photos, strict=False):
        (expected,) = predictor.predict_bytes([path.read_bytes()])
        assert row["label"] == getattr(expected, "label", None)
        assert json.loads(row["top"]) == expected.as_json()["top"]
        assert row["sure"] == str(expected.as_json()["sure"]).lower()
    assert rows[-1]["label"] == ""
    assert "expected JPEG" in rows[-1]["error"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as JSON").click()
    saved = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert [row["path"] for row in saved] == [*SHADES, odd.name]
    assert saved[0]["attributes"]["brightness"]["label"] == rows[0]["attributes"].split('"')[5]


def test_formula_in_a_file_name_is_text_for_a_spreadsheet(
    open_page: OpenPage, image_bytes: MakeImage, tmp_path: Path
) -> None:
    odd = ["=cmd|' _C calc'!A0.png", "@SUM(1+1).png", "+1.png", "-1.png", "Schöne Schuhe.png"]
    for name in odd:
        (tmp_path / name).write_bytes(image_bytes("red"))
    page = open_page()
    page.set_input_files("#image-file", [tmp_path / name for name in odd])
    expect(page.locator("#status")).to_contain_text("All 5 photos are answered.")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    paths = [row["path"] for row in csv.DictReader(io.StringIO(text))]
    assert paths == [*(f"'{name}" for name in odd[:4]), odd[4]]


@pytest.mark.parametrize("js", [True, False])
def test_photos_of_the_same_name_are_numbered(
    open_page: OpenPage, image_bytes: MakeImage, tmp_path: Path, js: bool
) -> None:
    paths = []
    for colour in ("red", "blue"):
        (tmp_path / colour).mkdir()
        paths.append(tmp_path / colour / "image.png")
        paths[-1].write_bytes(image_bytes(colour))
    page = open_page(js=js)
    page.set_input_files("#image-file", paths)
    if not js:
        page.get_by_role("button", name="Find out").click()
    names = {
        f"image.png ({place} of 2, {path.stat().st_size} bytes)"
        for place, path in enumerate(paths, start=1)
    }
    expect(page.locator(".tile .file")).to_have_count(2)
    assert {*page.locator(".tile .file").all_inner_texts()} == names


def test_one_of_many_is_opened_and_closed_again(open_page: OpenPage, photos: list[Path]) -> None:
    page = open_page()
    page.set_input_files("#image-file", photos)
    check_grid(page, ["hue", "red", "red", "blue"])
    last = page.get_by_role("button", name="a.png")
    for close in (lambda: page.keyboard.press("Enter"), page.go_back):
        last.click()
        check_answer(page, "red")
        expect(page.get_by_role("button", name="Back to all photos")).to_be_focused()
        close()
        check_grid(page, ["hue", "red", "red", "blue"])
        expect(last).to_be_focused()
        expect(page.locator("#answer")).to_be_hidden()


def test_few_requests_are_under_way_at_once_and_a_busy_server_is_waited_for(
    open_page: OpenPage, tmp_path: Path, image_bytes: MakeImage
) -> None:
    paths = []
    for number in range(12):
        paths.append(tmp_path / f"{number:02}.png")
        paths[-1].write_bytes(image_bytes((250 - number, 0, 0)))
    page = open_page()
    under_way, most, turned_away = set(), 0, threading.Event()

    def begin(request: Request) -> None:
        nonlocal most
        if request.method == "POST":
            under_way.add(request)
            most = max(most, len(under_way))

    def turn_away(route: Route) -> None:
        """What a proxy in front of a busy server says, to the first request."""
        if turned_away.is_set():
            route.continue_()
            return
        turned_away.set()
        route.fulfill(status=503, headers={"Retry-After": "1"}, body="<h1>503 Busy</h1>")

    page.route("**/api/v1/predict?*", turn_away)
    page.on("request", begin)
    page.on("requestfinished", lambda request: under_way.discard(request))
    page.set_input_files("#image-file", paths)
    check_grid(page, ["red"] * 12)
    assert turned_away.is_set()
    assert 1 < most <= 4


def test_other_photos_replace_the_grid(open_page: OpenPage, photos: list[Path]) -> None:
    page = open_page()
    page.set_input_files("#image-file", photos)
    page.set_input_files("#image-file", photos[:1])  # before all answers are there
    check_answer(page, "red")
    expect(page.locator("#many")).to_be_hidden()
    page.set_input_files("#image-file", photos[:2])
    check_grid(page, ["red", "red"])


def test_opened_photo_keeps_its_heading_while_others_are_answered(
    open_page: OpenPage, photos: list[Path]
) -> None:
    page = open_page()
    sure, unsure = photos[0], photos[2]
    held: list[Route] = []

    def hold_back(route: Route) -> None:
        if route.request.post_data_buffer == unsure.read_bytes():
            held.append(route)
        else:
            route.continue_()

    page.route("**/api/v1/predict?*", hold_back)
    page.set_input_files("#image-file", [sure, unsure])
    page.get_by_role("button", name=sure.name).click()
    check_answer(page, "red")
    title = page.title()
    while not held:
        page.evaluate("0")  # lets its request come here
    held[0].continue_()
    expect(page.locator(".tile .file")).to_have_text([unsure.name, sure.name])  # arranged anew
    check_answer(page, "red")
    assert page.title() == title
    page.get_by_role("button", name="Back to all photos").click()
    expect(page.locator("#label")).to_have_text("2 photos")
