"""The pictures of docs/screens: every state of the page, by day and by night, phone and desktop.

They are taken on every run, so that they can be taken; `SCREENS=docs/screens pytest tests/browser`
keeps them. The photos on them are drawings, as nobody's data belongs into the repository.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from visitor import save_picture

OpenPage = Callable[..., Page]
pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "src" / "shopwindow" / "models" / "examples" / "fashion"
PHONE = {"size": (390, 844), "has_touch": True, "is_mobile": True, "device_scale_factor": 1}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("device", "options"), [("phone", PHONE), ("desktop", {"size": (1280, 800)})]
)
def test_every_state_can_be_pictured(
    open_page: OpenPage, feedback_url: str, bundled_url: str, tmp_path: Path, device: str,
    options: dict[str, object], scheme: str, photo: Callable[..., Path],
) -> None:  # fmt: skip
    folder = Path(os.environ.get("SCREENS") or tmp_path)
    page = open_page(base=bundled_url, color_scheme=scheme, reduced_motion="reduce", **options)

    def picture(state: str) -> None:
        save_picture(page, folder / f"{state}-{device}-{scheme}.webp")

    def show_why() -> None:
        page.get_by_label("Why?").check()
        expect(page.get_by_text("It shows roughly where")).to_be_visible()
        picture("why")

    examples = sorted(EXAMPLES.glob("*.webp"))
    picture("empty")
    page.set_input_files("#image-file", EXAMPLES / "t-shirt.webp")
    expect(page.locator("main[data-state=done] #preview")).to_be_visible()
    expect(page.get_by_role("button", name="Wrong?")).to_be_visible()
    picture("answer")
    mapped = page.get_by_label("Why?").is_visible()
    if mapped:
        show_why()
    page.get_by_label("Why?").uncheck() if mapped else None
    page.get_by_role("button", name="Wrong?").click()
    expect(page.get_by_role("option").first).to_be_visible()
    picture("choosing")
    page.get_by_role("combobox").fill("sh")
    expect(page.get_by_role("dialog").get_by_role("status")).to_contain_text("labels")
    picture("searching")
    page.get_by_role("option", name="Sports Shoes").click()
    expect(page.locator("#opinion .noted")).to_be_visible()
    picture("corrected")
    page.get_by_label("Keep the photo too").check()
    expect(page.locator("#opinion")).to_contain_text("the photo itself until")
    picture("kept")
    page.get_by_role("button", name="Undo").click()
    page.set_input_files("#image-file", Path(__file__))
    expect(page.locator("#image-error")).to_be_visible()
    picture("error")
    page.set_input_files("#image-file", [*examples, Path(__file__)])
    expect(page.locator("#verdict")).to_have_text("All answered")
    picture("many")
    page.locator(".tile").nth(0).get_by_role("button", name="What is it?").click()
    page.get_by_role("option", name="Sports Shoes").click()
    page.locator(".tile").nth(2).get_by_role("button", name="Right?").click()
    expect(page.locator(".tile .noted")).to_have_count(2)
    page.locator("#many").evaluate("e => e.scrollIntoView()")
    picture("many-corrected")
    page.goto(f"{bundled_url}/about")
    picture("about")
    # What the model above may not have: doubts about a drawing, and a map.
    page.goto(feedback_url)
    page.set_input_files("#image-file", photo((200, 0, 200)))
    expect(page.locator("h1.family")).to_be_visible()
    picture("family")
    page.set_input_files("#image-file", photo((128, 128, 128)))
    expect(page.locator("h1.unknown")).to_be_visible()
    picture("unknown")
    page.goto(f"{bundled_url}/?example=t-shirt")  # as the server sends it, without its script
    page.locator("#feedback").evaluate("e => e.scrollIntoView({block: 'end'})")
    picture("form")
    page.get_by_label("Or it is").select_option("Sports Shoes")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Thank you")
    picture("thanks")
    if not mapped:
        page.goto(bundled_url)
        page.set_input_files("#image-file", EXAMPLES / "t-shirt.webp")
        expect(page.locator("h1.sure")).to_be_visible()
        show_why()
