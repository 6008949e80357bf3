"""Many photos are corrected in their grid, and the file that is saved says so."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from shopwindow.feedback.store import FeedbackStore

OpenPage = Callable[..., Page]
Photo = Callable[..., Path]

DEVICES = pytest.mark.parametrize(
    "device",
    [
        pytest.param({"size": (390, 844), "has_touch": True, "is_mobile": True}, id="phone"),
        pytest.param({"size": (1280, 800)}, id="desktop", marks=pytest.mark.slow),
    ],
)
COLOURS = ("red", "green", "blue")


@pytest.fixture
def grid(
    open_page: OpenPage, feedback_url: str, photo: Photo, store: FeedbackStore
) -> Callable[..., Page]:
    """Open the page that has answered a photo of each colour."""

    def open_grid(**options: object) -> Page:
        page = open_page(base=feedback_url, **options)
        page.set_input_files("#image-file", [photo(colour) for colour in COLOURS])
        expect(page.locator("#status")).to_contain_text("All 3 photos are answered.")
        return page

    return open_grid


def tile(page: Page, colour: str) -> Locator:
    return page.get_by_role("group", name=f"{colour}.png")


def correct(page: Page, colour: str, label: str) -> None:
    tile(page, colour).get_by_role("button", name="Wrong?").click()
    page.get_by_role("option", name=label, exact=True).click()
    expect(tile(page, colour)).to_contain_text(f"Noted: it is {label}.")


def save(page: Page, kind: str) -> str:
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save as {kind}").click()
    return Path(download.value.path()).read_text(encoding="utf-8-sig")


@DEVICES
def test_photos_are_judged_without_leaving_the_grid(
    grid: Callable[..., Page], store: FeedbackStore, device: dict[str, object]
) -> None:
    page = grid(**device)
    correct(page, "red", "black")
    undo = tile(page, "red").get_by_role("button", name="Undo")
    expect(undo).to_be_focused()
    expect(page.locator(".tile.corrected .of")).to_have_text(["red"])
    tile(page, "blue").get_by_role("button", name="Right?").click()
    expect(tile(page, "blue")).to_contain_text("Noted: that is right.")
    said = {item.predicted: (item.given, item.has_photo) for item in store.items()}
    assert said == {"red": ("black", False), "blue": ("blue", False)}
    undo.click()
    expect(tile(page, "red").get_by_role("button", name="Right?")).to_be_focused()
    expect(page.locator(".tile.corrected")).to_have_count(0)
    assert [item.predicted for item in store.items()] == ["blue"]
    expect(page.locator(".tile")).to_have_count(3)


def test_photos_are_kept_from_the_tick_on_and_only_then(
    grid: Callable[..., Page], store: FeedbackStore
) -> None:
    page = grid()
    correct(page, "red", "black")
    keep = page.get_by_label("Keep the photos that I call right or wrong, for 30 days")
    expect(keep).to_have_accessible_description(
        "Kept: the answer and yours, the time and a fingerprint of the photo; "
        "not the photo itself, nor who you are."
    )
    keep.check()
    expect(page.locator("#kept-all")).to_contain_text("the photo itself for 30 days")
    tile(page, "green").get_by_role("button", name="Wrong?").click()
    expect(page.get_by_role("dialog")).to_contain_text("the photo itself for 30 days")
    page.get_by_role("option", name="white", exact=True).click()
    expect(tile(page, "green")).to_contain_text("Noted: it is white.")
    keep.uncheck()
    tile(page, "blue").get_by_role("button", name="Right?").click()
    expect(tile(page, "blue")).to_contain_text("Noted")
    kept = {item.predicted: item.has_photo for item in store.items()}
    assert kept == {"red": False, "green": True, "blue": False}


def test_saved_file_has_what_the_visitor_said_in_a_column_of_its_own(
    grid: Callable[..., Page],
) -> None:
    page = grid()
    plain = list(csv.DictReader(io.StringIO(save(page, "CSV"))))
    assert "corrected" not in plain[0]
    correct(page, "red", "black")
    tile(page, "blue").get_by_role("button", name="Right?").click()
    expect(tile(page, "blue")).to_contain_text("Noted")
    tile(page, "green").get_by_role("button", name="Wrong?").click()
    page.get_by_role("button", name="None of these").click()
    expect(tile(page, "green")).to_contain_text("Noted: none of the labels.")
    rows = list(csv.DictReader(io.StringIO(save(page, "CSV"))))
    assert [row.pop("corrected") for row in rows] == ["black", "none of these", "blue"]
    assert rows == plain
    tile(page, "blue").get_by_role("button", name="Undo").click()
    expect(tile(page, "blue").get_by_role("button", name="Right?")).to_be_visible()
    saved = json.loads(save(page, "JSON"))
    assert [row["corrected"] for row in saved] == ["black", "none of these", None]


def test_what_was_said_in_the_grid_is_seen_in_the_window_and_the_other_way_round(
    grid: Callable[..., Page], store: FeedbackStore
) -> None:
    page = grid()
    correct(page, "red", "black")
    page.locator(".tile .open", has_text="red.png").click()
    expect(page.locator("#opinion")).to_contain_text("Noted: it is black.")
    page.locator("#opinion").get_by_role("button", name="Undo").click()
    page.locator("#opinion").get_by_role("button", name="Right?").click()
    expect(page.locator("#opinion")).to_contain_text("Noted: that is right.")
    page.get_by_role("button", name="Back to all photos").click()
    expect(tile(page, "red")).to_contain_text("Noted: that is right.")
    assert [item.given for item in store.items()] == ["red"]
