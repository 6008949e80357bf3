"""What goes wrong is said in plain words next to the control, and the page goes on working."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
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


def test_file_that_is_not_an_image_is_explained(open_page: OpenPage, tmp_path: Path) -> None:
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
    check_error(page, "larger than 10 MB")
    assert "POST" not in sent


def test_too_large_file_is_explained_without_javascript(
    open_page: OpenPage, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(bytes(25_000_000))
    page = open_page(js=False)
    page.set_input_files("#image-file", large)
    page.get_by_role("button", name="Find out").click()
    check_error(page, "larger than 10 MB")


def test_nothing_chosen_is_explained_without_javascript(open_page: OpenPage) -> None:
    page = open_page(js=False)
    page.get_by_role("button", name="Find out").click()
    check_error(page, "Choose a photo first.")


def test_dropped_link_is_explained(open_page: OpenPage) -> None:
    page = open_page()
    hand_in(page, "drop", None)
    check_error(page, "That was not a file.")


def test_unreachable_server_is_explained(open_page: OpenPage, photo: Photo) -> None:
    page = open_page()
    page.context.set_offline(True)
    page.set_input_files("#image-file", photo("red"))
    check_error(page, "The server could not be reached.")
    check_error(page, "This device is offline")


HTML = {"Content-Type": "text/html"}
# What stands between a visitor and the server, and says so in its own way.
REFUSALS = {
    "a sign-in that has run out": ({"status": 302, "headers": {"Location": "/about"}}, "sign-in"),
    "a page in place of the answer": ({"status": 200, "headers": HTML, "body": "<p>"}, "sign-in"),
    "JSON of somebody else": (
        {"status": 403, "headers": {"Content-Type": "application/json"}, "body": '{"detail": "x"}'},
        "not allowed to do this (403)",
    ),
    "no sign-in": ({"status": 401, "headers": HTML, "body": "<p>"}, "not signed in"),
    "a limit of bytes": ({"status": 413, "headers": HTML, "body": "<p>"}, "smaller picture"),
    "a limit of requests": ({"status": 429, "headers": HTML, "body": "<p>"}, "wait a minute"),
    "nothing behind it": ({"status": 502, "headers": HTML, "body": "<p>"}, "is not running"),
    "something else": ({"status": 418, "headers": HTML, "body": "<p>"}, "refused this (418)"),
}


def test_each_refusal_on_the_way_has_its_own_words(open_page: OpenPage, photo: Photo) -> None:
    page = open_page()
    refusals: list[dict[str, Any]] = []
    page.route(
        "**/api/v1/predict?*",
        lambda route: route.fulfill(**refusals.pop()) if refusals else route.continue_(),
    )
    for refusal, words in REFUSALS.values():
        refusals.append(refusal)
        page.set_input_files("#image-file", photo("red"))
        check_error(page, words)
        page.set_input_files("#image-file", photo("blue"))
        check_answer(page, "blue")


def test_sentences_of_the_app_itself_are_passed_on(open_page: OpenPage, photo: Photo) -> None:
    page = open_page()
    problem = {"Content-Type": "application/problem+json"}
    body = '{"status": 413, "detail": "Our own words."}'
    page.route(
        "**/api/v1/predict?*", lambda route: route.fulfill(status=413, headers=problem, body=body)
    )
    page.set_input_files("#image-file", photo("red"))
    check_error(page, "Our own words.")


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("size_bytes", [30_000, 300_000])
def test_photo_that_is_gone_since_it_was_chosen_is_explained(
    open_page: OpenPage, tmp_path: Path, photo: Photo, size_bytes: int, many: bool
) -> None:
    paths = [tmp_path / "one.png", photo("blue")][: 2 if many else 1]
    paths[0].write_bytes(bytes(size_bytes))
    page = open_page()
    # As without the script: first the photo is chosen, and then the form is sent.
    page.evaluate("document.getElementById('image-file').addEventListener('change', (event) => {"
                  "event.stopImmediatePropagation(); }, {capture: true, once: true})")  # fmt: skip
    page.set_input_files("#image-file", paths)
    paths[0].unlink()
    page.evaluate("document.querySelector('form.window').requestSubmit()")
    words = "was changed, moved or deleted after it was chosen"
    if many:
        expect(page.locator(".tile.bad .failed")).to_contain_text(words)
    else:
        check_error(page, words)


@pytest.mark.parametrize("js", [True, False])
def test_empty_file_is_explained(open_page: OpenPage, tmp_path: Path, js: bool) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    page = open_page(js=js)
    page.set_input_files("#image-file", empty)
    if not js:
        page.get_by_role("button", name="Find out").click()
    check_error(page, "This file is empty. Choose another one, or save it again.")
