"""axe-core finds nothing to complain about in any state, and targets can be hit (WCAG 2.2 AA)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from shopwindow.bundle import bundled_model_path

OpenPage = Callable[..., Page]
Photo = Callable[..., Path]
EXAMPLES = bundled_model_path().parent / "examples" / "fashion"

_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Controls that a pointer must hit, smaller than 24 px on a side; links in a sentence are exempt,
# and so is what lies over or inside a label that is large enough.
_SMALL = """
[...document.querySelectorAll('a, button, select, summary, label, [role=option], [role=combobox]')]
  .filter((e) => e.checkVisibility() && !e.closest('p') && !e.matches('.skip'))
  .map((e) => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])
  .filter(([, box]) => Math.min(box.width, box.height) < 24).map(([text]) => text)
"""


def check(page: Page, state: str) -> None:
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": _RULES}})
    assert found.violations_count == 0, f"{state}: {found.generate_report()}"
    assert page.evaluate(_SMALL) == [], state


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("light", {"size": (1280, 800)}),
        ("dark", {"size": (390, 844), "has_touch": True, "is_mobile": True}),
    ],
)
def test_every_state_is_accessible(
    open_page: OpenPage, photo: Photo, bundled_url: str, scheme: str, options: dict[str, object]
) -> None:
    page = open_page(color_scheme=scheme, reduced_motion="reduce", **options)
    check(page, "empty")
    page.set_input_files("#image-file", photo("red"))
    expect(page.locator("h1.sure")).to_be_visible()
    check(page, "answer")
    page.get_by_label("Why?").check()
    check(page, "why")
    page.set_input_files("#image-file", photo((200, 0, 200)))
    expect(page.locator("h1.family")).to_be_visible()
    check(page, "family")
    page.set_input_files("#image-file", Path(__file__))
    expect(page.get_by_role("alert")).to_be_visible()
    check(page, "error")
    page.set_input_files("#image-file", [photo("red"), photo("blue"), Path(__file__)])
    expect(page.locator("#status")).to_contain_text("All 3 photos are answered.")
    check(page, "many")
    page.goto(page.url + "about")
    check(page, "about")
    page.goto(bundled_url)
    check(page, "examples")


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("dark", {"size": (1280, 800)}),
        ("light", {"size": (390, 844), "has_touch": True, "is_mobile": True}),
    ],
)
def test_every_state_of_feedback_is_accessible(
    open_page: OpenPage, photo: Photo, bundled_url: str, scheme: str, options: dict[str, object]
) -> None:
    page = open_page(base=bundled_url, color_scheme=scheme, reduced_motion="reduce", **options)
    page.set_input_files("#image-file", photo("red"))
    wrong = page.get_by_role("button", name=re.compile(r"Wrong\?|What is it\?"))
    wrong.click()
    search = page.get_by_role("combobox")
    expect(page.get_by_role("option").first).to_be_visible()
    check(page, "list")
    search.fill("shoe")
    expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("3 labels")
    check(page, "found")
    search.fill("teapot")
    expect(page.get_by_role("option")).to_have_count(0)
    check(page, "nothing found")
    page.get_by_role("button", name="None of these").click()
    page.get_by_label("Keep the photo too").check()
    expect(page.locator("#opinion")).to_contain_text("the photo itself until")
    check(page, "noted")
    page.set_input_files("#image-file", [EXAMPLES / "t-shirt.webp", EXAMPLES / "watch.webp"])
    expect(page.locator("#status")).to_contain_text("All 2 photos are answered.")
    page.locator(".tile").first.get_by_role("button", name="Right?").click()
    expect(page.locator(".tile").first).to_contain_text("Noted")
    check(page, "grid")
    page.goto(f"{bundled_url}/?example=sneaker")  # as the server sends it, without its script
    check(page, "form")
    page.get_by_label("Or it is").select_option("Sports Shoes")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Thank you")
    check(page, "taken")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Feedback withdrawn")
    check(page, "taken back")


@pytest.mark.parametrize("js", [True, False])
def test_answer_is_announced(open_page: OpenPage, photo: Photo, js: bool) -> None:
    """By the live region where the page stays, by its title and heading where it is a new one."""
    page = open_page(js=js)
    page.set_input_files("#image-file", photo("red"))
    if js:
        expect(page.get_by_role("status")).to_contain_text("red. Almost certain")
    else:
        page.get_by_role("button", name="Find out").click()
        expect(page).to_have_title("red · Colours")
        expect(page.get_by_role("heading", level=1)).to_have_text("red")
