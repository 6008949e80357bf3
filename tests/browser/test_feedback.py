"""What a visitor says about an answer is kept, and no more than that; and it can be taken back."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from visitor import hand_in

from feedback_server import serving
from shopwindow.feedback.feedback import Feedback
from shopwindow.feedback.store import FeedbackStore

OpenPage = Callable[..., Page]
Photo = Callable[..., Path]

PHONE = {"size": (390, 844), "has_touch": True, "is_mobile": True}
DESKTOP = {"size": (1280, 800)}
DEVICES = pytest.mark.parametrize(
    "device",
    [pytest.param(PHONE, id="phone"), pytest.param(DESKTOP, id="desktop", marks=pytest.mark.slow)],
)


@pytest.fixture
def answered(
    open_page: OpenPage, feedback_url: str, photo: Photo, store: FeedbackStore
) -> Callable[..., Page]:
    """Open the page that has answered a photo of that colour."""

    def open_answered(colour: str | tuple[int, int, int] = "red", **options: object) -> Page:
        page = open_page(base=feedback_url, **options)
        page.set_input_files("#image-file", photo(colour))
        expect(page.locator("main")).to_have_attribute("data-state", "done")
        return page

    return open_answered


def only(store: FeedbackStore) -> Feedback:
    (item,) = store.items()
    return item


def button(page: Page | Locator, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def noted(page: Page) -> Locator:
    return page.locator("#opinion .noted")


def choose(page: Page, label: str) -> None:
    page.get_by_role("dialog").get_by_role("option", name=label, exact=True).click()


@DEVICES
def test_right_is_one_click_and_can_be_undone(
    answered: Callable[..., Page], store: FeedbackStore, device: dict[str, object]
) -> None:
    page = answered(**device)
    expect(page.locator("#image-help")).to_contain_text("Nothing is kept unless you say whether")
    assert list(store.items()) == []
    button(page, "Right?").click()
    expect(noted(page)).to_contain_text("Noted: that is right.")
    expect(noted(page)).to_contain_text("not the photo itself, nor who you are")
    expect(page.locator("#status")).to_contain_text("Noted: that is right.")
    kept = only(store)
    assert (kept.predicted, kept.given, kept.has_photo) == ("red", "red", False)
    expect(button(page, "Undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(button(page, "Right?")).to_be_focused()
    expect(page.locator("#status")).to_have_text("Withdrawn. None of it is kept.")
    assert list(store.items()) == []


@DEVICES
def test_right_label_is_found_by_typing(
    answered: Callable[..., Page], store: FeedbackStore, device: dict[str, object]
) -> None:
    page = answered(**device)
    button(page, "Wrong?").click()
    dialog = page.get_by_role("dialog", name="What is it?")
    expect(dialog).to_contain_text("not the photo itself, nor who you are")
    expect(dialog.get_by_role("group", name="Its guesses").get_by_role("option")).to_have_text(
        [score.text_content() or "" for score in page.locator("#bars .of").all()[1:]]
    )
    search = page.get_by_role("combobox", name="Search its labels")
    # A phone shows the guesses first, and its keyboard when somebody wants to type.
    focused = expect(search)
    focused.to_be_focused() if device is DESKTOP else focused.not_to_be_focused()
    search.fill("BL")
    expect(dialog.get_by_role("option")).to_have_text(["black", "blue"])  # as the model guesses
    expect(dialog.get_by_role("status")).to_have_text("2 labels")
    expect(dialog.get_by_role("option", name="black")).to_have_attribute("aria-selected", "true")
    search.press("ArrowDown")
    expect(dialog.get_by_role("option", name="blue")).to_have_attribute("aria-selected", "true")
    search.press("ArrowUp")
    search.press("Enter")
    expect(dialog).to_be_hidden()
    expect(noted(page)).to_contain_text("Noted: it is black.")
    expect(button(page, "Undo")).to_be_focused()
    kept = only(store)
    assert (kept.predicted, kept.given, kept.has_photo) == ("red", "black", False)


@DEVICES
def test_photo_is_kept_only_while_the_visitor_ticks_so(
    answered: Callable[..., Page], store: FeedbackStore, device: dict[str, object]
) -> None:
    page = answered(**device)
    button(page, "Wrong?").click()
    choose(page, "blue")
    keep = page.get_by_label("Keep the photo too, for 30 days, to learn from it")
    expect(keep).not_to_be_checked()
    keep.check()
    expect(noted(page)).to_contain_text("the photo itself until ")
    kept = only(store)
    assert kept.given == "blue"
    photo = store.photo(kept.id)
    assert photo is not None
    assert Image.open(io.BytesIO(photo.content)).getpixel((5, 5))[0] > 240  # type: ignore[index]
    expect(keep).to_be_focused()
    keep.uncheck()
    expect(noted(page)).to_contain_text("not the photo itself")
    assert store.photo(kept.id) is None
    keep.check()
    expect(noted(page)).to_contain_text("the photo itself until ")
    button(page, "Undo").click()
    expect(button(page, "Right?")).to_be_visible()
    assert list(store.items()) == []
    assert store.photo(kept.id) is None


_ORDER = """
async ([labels, guesses, typed]) => {
  const { matching, meant } = await import(document.getElementById('main').dataset.feedback);
  const found = matching(labels, guesses, typed);
  return [found.map(({ label }) => label), found[meant(found)]?.label ?? null];
}
"""


@pytest.mark.parametrize(
    ("typed", "found", "meant"),
    [
        # The model's own guess before what comes first in the alphabet.
        ("cap", ["Caps", "Night Cap", "Capris"], "Caps"),
        # Exactly this, though a guess begins so.
        ("Night", ["Night Cap", "Night", "Night suits"], "Night"),
        ("night s", ["Night suits"], "Night suits"),
        # Any of several: then none is taken for what was meant.
        ("s", ["Shirts", "Skirts", "Sport Shoes", "Night suits"], None),
        ("SHOE", ["Sport Shoes"], "Sport Shoes"),
        ("teapot", [], None),
    ],
)
def test_enter_takes_what_was_meant_and_nothing_if_that_is_unclear(
    answered: Callable[..., Page], typed: str, found: list[str], meant: str | None
) -> None:
    labels = ["Sport Shoes", "Capris", "Caps", "Night suits", "Night", "Night Cap", "Skirts"]
    page = answered()
    order, taken = page.evaluate(_ORDER, [[*labels, "Shirts"], ["Caps", "Night Cap"], typed])
    assert (order[: len(found)], taken) == (found, meant)


def test_enter_says_that_several_labels_fit_and_records_none(
    answered: Callable[..., Page], store: FeedbackStore
) -> None:
    page = answered()
    button(page, "Wrong?").click()
    search = page.get_by_role("combobox")
    search.fill("e")  # in several, and none begins so
    status = page.get_by_role("dialog").get_by_role("status")
    expect(status).to_contain_text("labels")
    search.press("Enter")
    expect(status).to_contain_text("choose one of them")
    assert list(store.items()) == []


def test_what_is_pasted_or_dropped_into_the_list_replaces_no_photo(
    answered: Callable[..., Page], photo: Photo
) -> None:
    page = answered()
    button(page, "Wrong?").click()
    expect(page.get_by_role("combobox")).to_be_focused()
    for event in ("paste", "drop"):
        for target in ("search", "correct"):
            hand_in(page, event, photo("blue"), target)
    page.keyboard.press("Escape")
    expect(page.locator("main")).to_have_attribute("data-state", "done")
    expect(page.locator("h1")).to_have_text("red")
    hand_in(page, "paste", photo("blue"), "shown")  # no field for text: the page's
    expect(page.locator("h1")).to_have_text("blue")


def test_something_else_is_none_of_the_labels(
    answered: Callable[..., Page], store: FeedbackStore
) -> None:
    page = answered()
    button(page, "Wrong?").click()
    search = page.get_by_role("combobox")
    search.fill("teapot")
    expect(page.get_by_role("option")).to_have_count(0)
    expect(search).to_have_attribute("aria-expanded", "false")
    expect(page.get_by_role("dialog")).to_contain_text("No label like this.")
    search.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    button(page, "None of these").click()
    expect(noted(page)).to_contain_text("Noted: none of the labels.")
    assert only(store).given is None


def test_list_is_left_as_it_was_entered_with_the_keyboard(
    answered: Callable[..., Page], store: FeedbackStore
) -> None:
    page = answered()
    button(page, "Wrong?").focus()
    page.keyboard.press("Enter")
    search = page.get_by_role("combobox")
    expect(search).to_be_focused()
    assert search.get_attribute("aria-activedescendant") is None
    options = page.get_by_role("option")
    for key, place in (("ArrowDown", 0), ("ArrowUp", -1), ("ArrowDown", 0), ("PageDown", -1)):
        page.keyboard.press(key)
        selected = options.nth(place) if place >= 0 else options.last
        expect(selected).to_have_attribute("aria-selected", "true")
        expect(page.locator("[aria-selected=true]")).to_have_count(1)
        assert search.get_attribute("aria-activedescendant") == selected.get_attribute("id")
        expect(selected).to_be_in_viewport(ratio=1)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(button(page, "Wrong?")).to_be_focused()
    assert list(store.items()) == []


@pytest.mark.parametrize("colour", [(200, 0, 200), (128, 128, 128)], ids=["family", "unknown"])
def test_answer_without_a_label_is_asked_about_and_not_called_right(
    answered: Callable[..., Page], store: FeedbackStore, colour: tuple[int, int, int]
) -> None:
    page = answered(colour)
    best = page.locator("#bars .of").first.inner_text()
    expect(button(page, "Right?")).to_have_count(0)
    button(page, "What is it?").click()
    expect(page.get_by_role("option").first).to_have_text(best)
    choose(page, "green")
    expect(noted(page)).to_contain_text("Noted: it is green.")
    assert only(store).given == "green"


def test_next_photo_is_asked_about_anew(
    answered: Callable[..., Page], photo: Photo, store: FeedbackStore
) -> None:
    page = answered()
    button(page, "Right?").click()
    expect(noted(page)).to_be_visible()
    page.set_input_files("#image-file", photo("blue"))
    expect(page.locator("h1")).to_have_text("blue")
    button(page, "Right?").click()
    expect(noted(page)).to_be_visible()
    assert [item.given for item in store.items()] == ["red", "blue"]


def test_unreachable_server_is_reported_next_to_the_control(
    open_page: OpenPage, colour_bundle: Path, tmp_path: Path, photo: Photo
) -> None:
    with serving(colour_bundle, str(tmp_path / "feedback.sqlite3")) as (url, process):
        page = open_page(base=url)
        page.set_input_files("#image-file", photo("red"))
        expect(button(page, "Right?")).to_be_visible()
        process.kill()
        process.wait()
        button(page, "Right?").click()
        fault = page.locator("#opinion").get_by_role("alert")
        expect(fault).to_contain_text("The server could not be reached.")
        button(page, "Wrong?").click()
        expect(fault).to_contain_text("The server could not be reached.")
        expect(button(page, "Right?")).to_be_visible()


def test_photo_without_room_is_reported_as_not_kept(
    open_page: OpenPage, colour_bundle: Path, tmp_path: Path, photo: Photo
) -> None:
    place = str(tmp_path / "feedback.sqlite3")
    with serving(colour_bundle, place, feedback_max_photos="0") as (url, _):
        page = open_page(base=url)
        page.set_input_files("#image-file", photo("red"))
        button(page, "Right?").click()
        keep = page.get_by_label("Keep the photo too")
        keep.click()
        expect(page.locator("#opinion").get_by_role("alert")).to_have_text(
            "The photo is not kept: there is no room for more."
        )
        expect(keep).not_to_be_checked()
        expect(noted(page)).to_contain_text("not the photo itself")
        page = open_page(base=url, js=False)
        page.set_input_files("#image-file", photo("red"))
        button(page, "Find out").click()
        page.get_by_label("Keep the photo too").check()
        button(page, "Right").click()
        expect(page.get_by_text("there is no room for more")).to_be_visible()


def test_server_without_feedback_offers_none_and_keeps_nothing(
    open_page: OpenPage, photo: Photo
) -> None:
    for js in (True, False):
        page = open_page(js=js)
        expect(page.locator("#image-help")).to_contain_text("Nothing is kept.")
        page.set_input_files("#image-file", photo("red"))
        if not js:
            button(page, "Find out").click()
        expect(page.locator("h1.sure")).to_be_visible()
        expect(page.get_by_text("Wrong?")).to_have_count(0)
        expect(page.locator(".feedback-form, #opinion, dialog, #keep-all")).to_have_count(0)
