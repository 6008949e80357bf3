"""What goes wrong is said in plain words next to the control, and the page goes on working."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect
from visitor import check_answer, hand_in

OpenPage = Callable[..., Page]
Photo = Callable[..., Path]


def check_error(page: Page, words: str) -> None:
    error = page.get_by_role("alert")
    expect(error).to_be_visible()
    expect(error).to_contain_text(words)
    expect(page.locator("#image-file")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("h1")).to_have_text("What is this?")
    expect(page.locator("#preview")).to_be_hidden()
    expect(page.locator("#stand")).to_be_visible()


def test_file_that_is_no_image_is_explained(open_page: OpenPage, tmp_path: Path) -> None:
    letter = tmp_path / "letter.jpg"
    letter.write_text("Dear shop")
    for js in (True, False):
        page = open_page(js=js)
        page.set_input_files("#image-file", letter)
        if not js:
            page.get_by_role("button", name="Find out").click()
        check_error(page, "JPEG")


def test_page_recovers_from_an_error(open_page: OpenPage, photo: Photo, tmp_path: Path) -> None:
    letter = tmp_path / "letter.jpg"
    letter.write_text("Dear shop")
    page = open_page()
    page.set_input_files("#image-file", photo("red"))
    check_answer(page, "red")
    page.set_input_files("#image-file", letter)
    check_error(page, "JPEG")
    page.set_input_files("#image-file", photo("blue"))
    check_answer(page, "blue")


def test_too_large_file_is_refused_before_it_travels(open_page: OpenPage, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(bytes(11_000_000))
    page = open_page()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.set_input_files("#image-file", large)
    check_error(page, "more than 10 MB")
    assert "POST" not in sent


def test_too_large_file_is_explained_without_javascript(
    open_page: OpenPage, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(bytes(25_000_000))
    page = open_page(js=False)
    page.set_input_files("#image-file", large)
    page.get_by_role("button", name="Find out").click()
    check_error(page, "more than 10 MB")


def test_nothing_chosen_is_explained_without_javascript(open_page: OpenPage) -> None:
    page = open_page(js=False)
    page.get_by_role("button", name="Find out").click()
    check_error(page, "Choose a photo first.")


def test_dropped_link_is_explained(open_page: OpenPage) -> None:
    page = open_page()
    hand_in(page, "drop", None)
    check_error(page, "That was no file.")


def test_unreachable_server_is_explained(open_page: OpenPage, photo: Photo) -> None:
    page = open_page()
    page.context.set_offline(True)
    page.set_input_files("#image-file", photo("red"))
    check_error(page, "The server could not be reached.")
