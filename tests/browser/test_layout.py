"""The page fits and can be used at any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

OpenPage = Callable[..., Page]
Photo = Callable[..., Path]

_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("width", [320, 3840])
def test_feedback_fits_too(
    open_page: OpenPage, feedback_url: str, photo: Photo, width: int
) -> None:
    page = open_page(base=feedback_url, size=(width, 800))
    page.set_input_files("#image-file", photo("red"))
    page.get_by_label("Why?").check()
    page.get_by_role("button", name="Wrong?").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("option").first).to_be_visible()
    for part in ("#search", "#labels", ".none", ".cancel", "#kept"):
        expect(dialog.locator(part)).to_be_in_viewport(ratio=1)
    dialog.get_by_role("option", name="blue").click()
    expect(page.locator("#opinion .noted")).to_be_visible()
    assert page.evaluate(_OVERFLOW) == 0
    # Whatever lies under it, the photo keeps its place, and what is said is not cut off.
    photo_box, ledge_box, glass_box = (
        page.locator(part).bounding_box() for part in ("#photo", ".ledge", ".glass")
    )
    assert photo_box
    assert ledge_box
    assert glass_box
    assert photo_box["height"] >= 11 * 16
    assert photo_box["y"] + photo_box["height"] <= ledge_box["y"] + 1
    assert ledge_box["y"] + ledge_box["height"] <= glass_box["y"] + glass_box["height"] + 1
    page.set_input_files("#image-file", [photo("red"), photo("blue")])
    expect(page.locator("#status")).to_contain_text("All 2 photos are answered.")
    page.locator(".tile").first.get_by_role("button", name="Right?").click()
    expect(page.locator(".tile").first).to_contain_text("Noted")
    assert page.evaluate(_OVERFLOW) == 0


WIDTHS = (320, 390, 600, 768, 900, 1024, 1280, 1920, 3840)


def resized(page: Page) -> Iterator[int]:
    """Give the window one width after the other."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        yield width


@pytest.mark.parametrize("js", [True, False])
def test_nothing_scrolls_sideways(open_page: OpenPage, photo: Photo, js: bool) -> None:
    page = open_page(js=js)
    assert [width for width in resized(page) if page.evaluate(_OVERFLOW)] == []
    page.set_input_files("#image-file", photo("red"))
    if not js:
        page.get_by_role("button", name="Find out").click()
    expect(page.locator("h1.sure")).to_be_visible()
    assert [width for width in resized(page) if page.evaluate(_OVERFLOW)] == []
    page.goto(page.url + "about")
    assert [width for width in resized(page) if page.evaluate(_OVERFLOW)] == []


_TOO_WIDE = """
() => [...document.querySelectorAll('.figures li, .figures b')]
  .filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)
"""


def test_figures_on_the_model_fit_side_by_side(open_page: OpenPage, bundled_url: str) -> None:
    page = open_page("/about", base=bundled_url)
    for width in resized(page):
        assert page.evaluate(_OVERFLOW) == 0, width
        assert page.evaluate(_TOO_WIDE) == [], width


def test_lines_of_a_heading_keep_apart_in_any_font(open_page: OpenPage, photo: Photo) -> None:
    page = open_page(size=(390, 800))
    page.set_input_files("#image-file", photo("red"))
    heading = page.locator("h1.sure")
    expect(heading).to_be_visible()
    for kind in ("sure", "sure long"):
        heading.evaluate("(e, kind) => { e.className = kind; }", kind)
        size, line = heading.evaluate(
            "e => { const s = getComputedStyle(e); return [s.fontSize, s.lineHeight]; }"
        )
        # The letters of DejaVu, the largest of those that stand in here, reach over so much.
        assert float(line.rstrip("px")) >= 1.1 * float(size.rstrip("px"))


def test_long_label_breaks_rather_than_overflows(open_page: OpenPage) -> None:
    page = open_page(size=(320, 640))
    page.evaluate("document.querySelector('h1').textContent = 'Pneumonoultramicroscopic_silico'")
    assert page.evaluate(_OVERFLOW) == 0


@pytest.mark.parametrize("js", [True, False])
def test_main_control_is_large_enough_to_hit(open_page: OpenPage, js: bool) -> None:
    page = open_page(js=js, size=(390, 844))
    for selector in (
        ["#choose", "#image-file"] if js else ["#image-file", "form button[type=submit]"]
    ):
        box = page.locator(selector).bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44


def test_control_has_a_name_and_help_for_screen_readers(open_page: OpenPage) -> None:
    control = open_page().get_by_label("Choose photos")
    expect(control).to_have_accessible_description(
        "Or drop them anywhere, or paste. JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP, TIFF or PPM, "
        "up to 10 MB; a zip of them too. Nothing is kept."
    )


def test_still_page_for_those_who_ask_for_less_motion(open_page: OpenPage, photo: Photo) -> None:
    page = open_page(reduced_motion="reduce")
    page.set_input_files("#image-file", photo("red"))
    expect(page.locator("h1.sure")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_background(
    open_page: OpenPage, photo: Photo, scheme: str
) -> None:
    page = open_page(color_scheme=scheme, reduced_motion="reduce")
    page.set_input_files("#image-file", photo("red"))
    expect(page.locator("h1.sure")).to_be_visible()
    page.locator("#image-error").evaluate("e => { e.textContent = 'Wrong.'; }")
    parts = "h1 #note .verdict .share dt .help #choose a.name .error"
    for selector in parts.split():
        assert page.locator(selector).first.evaluate(_CONTRAST) >= 4.5, selector


# WCAG 2.2 contrast ratio of an element's colour on the nearest painted background.
_CONTRAST = """
(element) => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = (text) => channels(text).slice(0, 3)
    .map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  let ground = element;
  const painted = (e) => channels(getComputedStyle(e).backgroundColor)[3] !== 0;
  while (ground.parentElement && !painted(ground)) ground = ground.parentElement;
  const pair = [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor]
    .map(luminance).sort((a, b) => b - a);
  return (pair[0] + 0.05) / (pair[1] + 0.05);
}
"""
