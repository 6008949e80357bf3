"""The map of /review/figures in a real browser: by mouse, by keys, on a phone, in the dark."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from test_accessible import _RULES, _SMALL
from visitor import save_picture

from drifting import add_photos, sampled_bundle
from feedback_server import serving
from shopwindow.bundle import read_bundle
from shopwindow.feedback.opening import open_store

OpenPage = Callable[..., Page]
PASSWORD = "correct-horse-battery-staple"  # noqa: S105


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a model that knows reddish photos, and that has seen bluish ones this month."""
    folder = tmp_path_factory.mktemp("drift")
    bundle, path = sampled_bundle(folder), folder / "feedback.sqlite3"
    store = open_store(str(path))
    add_photos(store, read_bundle(bundle).sha256, "bluish", 25)
    store.close()
    with serving(bundle, str(path), review_password=PASSWORD) as (url, _):
        yield url


def open_figures(open_page: OpenPage, url: str, **options: object) -> Page:
    page = open_page("/review", base=url, **options)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Figures").click()
    expect(page.get_by_text("than chance explains")).to_be_visible()
    return page


def test_hover_shows_the_photo_and_a_click_leads_to_its_label(
    open_page: OpenPage, drifted: str, tmp_path: Path
) -> None:
    page = open_figures(open_page, drifted, size=(1280, 720))
    shown = page.locator("#on-map")
    expect(shown).to_be_hidden()
    expect(page.locator('.map a[tabindex="0"]')).to_have_count(1)  # the script is there
    point = page.locator(".map a").last
    point.hover(force=True)
    expect(shown).to_be_visible()
    expect(shown).to_contain_text("red, 70")
    save_picture(page, Path(os.environ.get("SCREENS") or tmp_path) / "drift.webp")
    page.locator(".map a.current").click(force=True)
    expect(page).to_have_url(re.compile(r"/review\?item=[0-9a-f]{32}$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("blue?")


def test_map_is_one_stop_of_the_tab_key_and_arrows_go_through_it(
    open_page: OpenPage, drifted: str
) -> None:
    page = open_figures(open_page, drifted)
    expect(page.locator('.map a[tabindex="0"]')).to_have_count(1)
    page.locator('.map a[tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    image = page.locator("#on-map img")
    expect(image).to_be_visible()
    first = image.get_attribute("src")
    page.keyboard.press("ArrowRight")
    expect(image).not_to_have_attribute("src", first or "")
    expect(page.locator('.map a[tabindex="0"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/review\?item="))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_map_fits_a_phone_and_is_for_everybody(
    open_page: OpenPage, drifted: str, scheme: str
) -> None:
    page = open_figures(open_page, drifted, size=(390, 844), color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator('.map a[tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#on-map img")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": _RULES}})
    assert found.violations_count == 0, found.generate_report()
    # A point of a map is where it is (WCAG 2.5.8, essential); the list below has the same photos.
    assert [small for small in page.evaluate(_SMALL) if "data-photo" not in small] == []


def test_without_script_each_point_is_a_link(open_page: OpenPage, drifted: str) -> None:
    page = open_figures(open_page, drifted, js=False)
    expect(page.locator(".map a")).to_have_count(25)
    page.locator(".farthest a").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("blue?")
