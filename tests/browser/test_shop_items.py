"""Similar items under the answer: with and without a script, and gone when they should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from visitor import check_answer

from feedback_server import serving
from some_gallery import write_gallery

OpenPage = Callable[..., Page]
Photo = Callable[..., Path]
BLUE = (20, 40, 220)


@pytest.fixture(scope="module")
def shop_url(embedding_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = write_gallery(tmp_path_factory.mktemp("gallery"), embedding_bundle)
    with serving(embedding_bundle, "off", gallery=str(path)) as (url, _):
        yield url


@pytest.mark.parametrize("js", [True, False])
def test_six_items_of_the_shop_are_shown_under_the_answer(
    open_page: OpenPage, photo: Photo, shop_url: str, js: bool
) -> None:
    page = open_page(base=shop_url, js=js)
    expect(page.locator("#similar")).to_be_hidden()
    page.set_input_files("#image-file", photo(BLUE))
    if not js:
        page.get_by_role("button", name="Find out").click()
    check_answer(page, "blue")
    items = page.get_by_role("region", name="Similar items").get_by_role("listitem")
    expect(items).to_have_count(6)
    first = items.first.get_by_role("link", name="Blue jeans")
    expect(first).to_have_attribute("href", "https://shop.example/6")
    expect(first).to_have_attribute("rel", "noopener")
    expect(first).to_have_attribute("target", "_blank")
    expect(items.filter(has_text="Sky <b>shirt</b>")).to_have_count(1)
    for picture in items.locator("img").all():
        picture.scroll_into_view_if_needed()  # they are loaded as late as possible
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("image => image.naturalWidth") == 150
    below = page.locator("#similar").bounding_box()
    window = page.locator(".window").bounding_box()
    assert below
    assert window
    assert below["y"] >= window["y"] + window["height"]


def test_items_without_a_page_are_no_links(
    open_page: OpenPage, photo: Photo, shop_url: str
) -> None:
    page = open_page(base=shop_url)
    page.set_input_files("#image-file", photo((110, 20, 160)))
    section = page.get_by_role("region", name="Similar items")
    expect(section.get_by_role("listitem").first).to_have_text("Violet sock")
    expect(section.get_by_role("link", name="Violet sock")).to_have_count(0)


def test_items_are_gone_with_the_answer_that_they_belong_to(
    open_page: OpenPage, photo: Photo, shop_url: str
) -> None:
    page = open_page(base=shop_url)
    page.set_input_files("#image-file", photo(BLUE))
    expect(page.locator("#similar")).to_be_visible()
    red = photo("red")
    broken = red.with_name("broken.png")
    broken.write_bytes(red.read_bytes()[:60])
    page.set_input_files("#image-file", broken)
    expect(page.locator("#image-error")).not_to_be_empty()
    expect(page.locator("#similar")).to_be_hidden()
    page.set_input_files("#image-file", [red, photo(BLUE)])
    expect(page.locator(".tile")).to_have_count(2)
    expect(page.locator("#similar")).to_be_hidden()
    page.set_input_files("#image-file", red)
    expect(page.locator("#similar-items li").first).to_have_text("Red dress")
