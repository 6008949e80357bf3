"""Feedback without JavaScript: the same is kept, and it can be taken back."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from shopwindow.feedback.store import FeedbackStore

OpenPage = Callable[..., Page]
Photo = Callable[..., Path]

DEVICES = pytest.mark.parametrize(
    "size",
    [
        pytest.param((390, 844), id="phone"),
        pytest.param((1280, 800), id="desktop", marks=pytest.mark.slow),
    ],
)


@pytest.fixture
def asked(open_page: OpenPage, feedback_url: str, store: FeedbackStore) -> Callable[..., Page]:
    """Open the page that has answered some photos, without JavaScript."""

    def open_asked(*photos: Path, **options: object) -> Page:
        page = open_page(base=feedback_url, js=False, **options)
        page.set_input_files("#image-file", photos)
        page.get_by_role("button", name="Find out").click()
        return page

    return open_asked


@DEVICES
def test_right_is_one_click(
    asked: Callable[..., Page], photo: Photo, store: FeedbackStore, size: tuple[int, int]
) -> None:
    page = asked(photo("red"), size=size)
    page.get_by_role("button", name="Right").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Thank you")
    expect(page.get_by_text("Noted: it is red.")).to_be_visible()
    expect(page.get_by_text("not the photo itself, nor who you are")).to_be_visible()
    (kept,) = store.items()
    assert (kept.predicted, kept.given, kept.has_photo) == ("red", "red", False)


@DEVICES
def test_right_label_is_chosen_the_photo_kept_and_all_undone(
    asked: Callable[..., Page], photo: Photo, store: FeedbackStore, size: tuple[int, int]
) -> None:
    page = asked(photo("red"), size=size)
    page.get_by_label("Or it is").select_option("blue")
    page.get_by_label("Keep the photo too, for 30 days").check()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Noted: it is blue.")).to_be_visible()
    expect(page.get_by_text("the photo itself until")).to_be_visible()
    (kept,) = store.items()
    assert kept.given == "blue"
    content = store.photo(kept.id)
    assert content is not None
    assert Image.open(io.BytesIO(content.content)).getpixel((5, 5))[0] > 240  # type: ignore[index]
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Feedback withdrawn")
    assert list(store.items()) == []
    page.get_by_role("link", name="Back to the window").click()
    expect(page.locator("h1")).to_have_text("What is this?")


def test_something_else_is_none_of_the_labels(
    asked: Callable[..., Page], photo: Photo, store: FeedbackStore
) -> None:
    page = asked(photo("red"))
    page.get_by_label("Or it is").select_option("none of these")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Noted: none of the labels.")).to_be_visible()
    (kept,) = store.items()
    assert kept.given is None


def test_form_sent_without_a_choice_keeps_nothing(
    asked: Callable[..., Page], photo: Photo, store: FeedbackStore
) -> None:
    page = asked(photo("red"))
    page.get_by_role("button", name="Send").click()
    assert page.get_by_label("Or it is").evaluate("list => list.validity.valueMissing")
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Thank you")
    assert list(store.items()) == []


@DEVICES
def test_one_of_many_is_corrected_in_a_tab_of_its_own(
    asked: Callable[..., Page], photo: Photo, store: FeedbackStore, size: tuple[int, int]
) -> None:
    page = asked(photo("red"), photo("blue"), size=size)
    tile = page.locator(".tile", has_text="blue.png")
    tile.get_by_text("Right? Wrong?").click()
    expect(tile.get_by_text("Opens in a new tab.")).to_be_visible()
    tile.get_by_label("Or it is").select_option("black")
    with page.context.expect_page() as opened:
        tile.get_by_role("button", name="Send").click()
    expect(opened.value.get_by_text("Noted: it is black.")).to_be_visible()
    expect(page.locator(".tile")).to_have_count(2)
    (kept,) = store.items()
    assert (kept.predicted, kept.given) == ("blue", "black")
