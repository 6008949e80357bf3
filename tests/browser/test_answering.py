"""Every way to hand in a photo ends in the same answer, in place."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from visitor import check_answer, hand_in, save_picture

OpenPage = Callable[..., Page]
Photo = Callable[..., Path]


def test_chosen_photo_is_answered_without_a_reload(open_page: OpenPage, photo: Photo) -> None:
    page = open_page()
    page.evaluate("window.before = true")
    page.set_input_files("#image-file", photo("red"))
    check_answer(page, "red")
    expect(page).to_have_title("red · Colours")
    expect(page.locator("#status")).to_contain_text("red. Almost certain, >99")
    assert page.evaluate("window.before") is True


def test_photo_is_answered_without_javascript(open_page: OpenPage, photo: Photo) -> None:
    page = open_page(js=False)
    page.set_input_files("#image-file", photo("red"))
    page.get_by_role("button", name="Find out").click()
    check_answer(page, "red")
    assert (page.locator("#preview").get_attribute("src") or "").startswith("data:image/jpeg")


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_dropped_or_pasted_photo_is_answered(open_page: OpenPage, photo: Photo, event: str) -> None:
    page = open_page()
    hand_in(page, event, photo("blue"))
    check_answer(page, "blue")


def test_window_lights_up_while_a_photo_is_dragged(open_page: OpenPage, photo: Photo) -> None:
    page = open_page()
    hand_in(page, "dragover", photo("blue"))
    expect(page.locator("main.dragging")).to_have_count(1)
    hand_in(page, "drop", photo("blue"))
    expect(page.locator("main.dragging")).to_have_count(0)


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_photo_is_chosen_with_the_keyboard_alone(
    open_page: OpenPage, photo: Photo, key: str
) -> None:
    page = open_page()
    # Asks the browser for the event now: a key may otherwise be faster than that request.
    page.on("filechooser", lambda _: None)
    for _ in range(4):  # skip link, name, about, control
        page.keyboard.press("Tab")
    expect(page.locator("#image-file")).to_be_focused()
    assert page.locator("#choose").evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press(key)
    chooser.value.set_files(photo("blue"))
    check_answer(page, "blue")


def test_next_photo_replaces_the_answer(open_page: OpenPage, photo: Photo) -> None:
    page = open_page()
    for colour in ("red", "blue", "blue"):
        with page.expect_file_chooser() as chooser:
            page.locator("#image-file").click()
        chooser.value.set_files(photo(colour))
        check_answer(page, colour)


def test_bars_are_as_long_as_they_say_and_add_up(open_page: OpenPage, photo: Photo) -> None:
    for js in (True, False):
        page = open_page(js=js)
        page.set_input_files("#image-file", photo((140, 120, 40)))
        if not js:
            page.get_by_role("button", name="Find out").click()
        expect(page.locator("#bars li")).to_have_count(5)
        shares = [float(text.strip("<>\u202f%")) for text in
                  page.locator("#bars .share").all_inner_texts()]  # fmt: skip
        widths = [float((bar.get_attribute("width") or "").rstrip("%"))
                  for bar in page.locator("#bars .fill").all()]  # fmt: skip
        assert sum(shares) == pytest.approx(100, abs=0.5)
        assert sum(widths) == pytest.approx(100, abs=0.1)
        assert widths == pytest.approx(shares, abs=0.11)
        assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(
    ("colour", "kind", "heading", "verdict"),
    [
        ((200, 0, 200), "family", "hue", "Almost certain"),
        ((128, 0, 0), "unsure", "red", "Not sure"),
        ((128, 130, 0), "unknown", "Hard to tell", "No answer stands out"),
    ],
)
def test_doubt_is_said_in_the_same_words_with_and_without_javascript(
    open_page: OpenPage,
    photo: Photo,
    colour: tuple[int, int, int],
    kind: str,
    heading: str,
    verdict: str,
) -> None:
    seen = []
    for js in (True, False):
        page = open_page(js=js)
        page.set_input_files("#image-file", photo(colour))
        if not js:
            page.get_by_role("button", name="Find out").click()
        expect(page.locator(f"h1.{kind}")).to_have_text(heading)
        expect(page.locator("#verdict")).to_contain_text(verdict)
        seen.append([page.locator(part).inner_text() for part in
                     ("h1", "#verdict", "#note", "#bars", "#more")] + [page.title()])  # fmt: skip
    assert seen[0] == seen[1]


def test_a_picture_unlike_all_that_the_model_knows_is_called_that(
    open_page: OpenPage, bundled_url: str, tmp_path: Path
) -> None:
    squares = Image.new("RGB", (240, 320), "white")
    for x, y in product(range(0, 240, 20), range(0, 320, 20)):
        squares.paste("black" if (x + y) // 20 % 2 else "white", (x, y, x + 20, y + 20))
    squares.save(tmp_path / "squares.png")
    page = open_page(base=bundled_url, size=(1280, 720))
    page.set_input_files("#image-file", tmp_path / "squares.png")
    expect(page.locator("h1.unknown")).to_have_text("Hard to tell")
    expect(page.locator("#verdict")).to_have_text("Unlike the photos it learned from")
    expect(page.locator("#note")).to_contain_text("has not seen anything like this")
    expect(page.locator("#note")).to_contain_text("after all, its best guess is")
    save_picture(page, Path(os.environ.get("SCREENS") or tmp_path) / "unlike.webp")
