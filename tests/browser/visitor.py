"""What a visitor does and sees, in the words of the tests."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

# Builds the event that the browser itself would send for a file dragged or pasted in.
_HAND_IN = """
([event, name, type, content, target]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  if (name) data.items.add(new File([bytes], name, {type}));
  const init = {bubbles: true, cancelable: true};
  (document.getElementById(target) ?? document.body).dispatchEvent(event === 'paste'
    ? new ClipboardEvent(event, {...init, clipboardData: data})
    : new DragEvent(event, {...init, dataTransfer: data}));
}
"""


def hand_in(page: Page, event: str, path: Path | None, target: str = "") -> None:
    content = base64.b64encode(path.read_bytes()).decode() if path else ""
    page.evaluate(_HAND_IN, [event, path.name if path else "", "image/png", content, target])


def check_answer(page: Page, label: str) -> None:
    expect(page.locator("h1.sure")).to_have_text(label)
    expect(page.locator("#verdict")).to_contain_text("Almost certain")
    expect(page.locator("#note")).to_have_text(
        "In tests, more than 99 in 100 answers like this were right."
    )
    expect(page.locator("#preview")).to_be_visible()
    expect(page.locator("#bars li")).to_have_count(5)
    expect(page.locator("#bars li").first).to_contain_text(label)
    expect(page.locator("#chips")).to_contain_text("Brightness")
    expect(page.locator("#directory")).to_be_hidden()
    expect(page.locator("#image-error")).to_be_hidden()


def drop_files(page: Page, *paths: Path) -> None:
    """Drop real files or folders on the page, as from a file manager."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 60, "data": data})


def check_grid(page: Page, answers: list[str], *, failed: int = 0) -> None:
    """Check that all photos are answered, in this order; what failed comes after them."""
    expect(page.locator(".tile")).to_have_count(len(answers) + failed)
    expect(page.locator(".tile.waiting")).to_have_count(0)
    expect(page.locator(".tile:not(.bad) .of")).to_have_text(answers)
    expect(page.locator(".tile.bad")).to_have_count(failed)
    if failed:
        expect(page.locator(".tile").last).to_have_class(re.compile("bad"))
    expect(page.locator("h1")).to_have_text(f"{len(answers) + failed} photos")


def save_picture(page: Page, path: Path) -> None:
    """Keep what a page shows as a picture for docs/screens."""
    screen = Image.open(io.BytesIO(page.screenshot(animations="disabled")))
    screen.convert("RGB").save(path, quality=85, method=6)
    # Large enough to show something, small enough to be in the repository.
    assert 4_000 < path.stat().st_size < 130_000
