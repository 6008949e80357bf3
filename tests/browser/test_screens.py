"""The pictures of docs/screens: every state of the page, by day and by night, phone and desktop.

They are taken on every run, so that they can be taken; `SCREENS=docs/screens pytest tests/browser`
keeps them. The photo on them is drawn here, as nobody's data belongs into the repository.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from live_server import running_server
from shopwindow.bundle import bundled_model_path

OpenPage = Callable[..., Page]

SNEAKER = """
<svg xmlns="http://www.w3.org/2000/svg" viewBox="20 200 560 420" width="560" height="420">
  <defs><linearGradient id="u" x2="0" y2="1"><stop stop-color="#3e6fd1"/>
    <stop offset="1" stop-color="#274c9b"/></linearGradient></defs>
  <path fill="#fff" d="M0 0h600v800H0z"/>
  <ellipse cx="305" cy="522" rx="262" ry="13" fill="#e8e8e8"/>
  <path fill="url(#u)" d="M62 470c-8-60-4-118 16-158 22-14 48-8 60 10 14 22 40 34 66 24 14-6 24-16
    34-28l16-10c50 34 84 84 132 110 36 20 92 24 128 44 18 10 24 22 24 34z"/>
  <path fill="#15295a" d="M62 470c-6-46-5-92 4-128 26 8 44 28 52 58 6 26 8 48 8 70z"/>
  <path fill="#fff" d="M150 470c22-58 66-92 122-104l22 22c-50 14-86 40-104 82zM226 470c18-38 48-62
    86-72l24 18c-36 10-62 26-76 54z"/>
  <path fill="none" stroke="#fff" stroke-width="9" stroke-linecap="round"
    d="M262 330l-36 26m62-4l-34
    28m62-2l-34 28m62-2l-32 26m62-6l-28 24"/>
  <path fill="#15295a" d="M440 432c40 8 80 14 104 38H412c2-16 12-30 28-38z"/>
  <path fill="#f4f2ec" d="M56 468h484c6 20 0 44-20 48H80c-22-2-30-26-24-48z"/>
  <path fill="#c8e02a" d="M64 504h472c-4 8-10 12-18 12H80c-8-1-13-5-16-12z"/>
  <path fill="none" stroke="#d5d1c6" stroke-width="4" d="M60 486h480"/>
</svg>
"""


# Between red and green, so that the little model of the tests cannot make up its mind.
PEAR = """
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 420 560" width="420" height="560">
  <path fill="#7f8300" d="M0 0h420v560H0z"/>
  <ellipse cx="214" cy="452" rx="120" ry="16" fill="#6b6e00"/>
  <path fill="#b5a816" d="M210 128c44 0 54 44 60 92 6 44 56 70 56 134 0 66-52 104-116 104S94 420 94
    354c0-64 50-90 56-134 6-48 16-92 60-92z"/>
  <path fill="#c9bb2a" d="M176 236c10-10 18 0 16 16-4 34-44 54-48 100-2 18-20 16-20-2 0-56
    40-72 52-114z"/>
  <path fill="none" stroke="#4e3b12" stroke-width="11" stroke-linecap="round" d="M212 132c0-24 6-42
    22-58"/>
</svg>
"""


@pytest.fixture(scope="module")
def window(colour_bundle: Path) -> Iterator[str]:
    """The bundled model where there is one, as the pictures are to show what people get."""
    bundled = bundled_model_path()
    with running_server(bundled if bundled.is_file() else colour_bundle) as url:
        yield url


@pytest.fixture(scope="module")
def draw(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that turns a drawing into a picture file."""

    def draw(svg: str) -> Path:
        path = tmp_path_factory.mktemp("drawn") / "picture.png"
        page = browser.new_page()
        page.set_content(f"<style>body {{ margin: 0 }} svg {{ display: block }}</style>{svg}")
        page.locator("svg").screenshot(path=path)
        page.close()
        return path

    return draw


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "size"), [("phone", (390, 844)), ("desktop", (1440, 900))])
def test_every_state_can_be_pictured(
    open_page: OpenPage, url: str, window: str, draw: Callable[[str], Path], tmp_path: Path,
    device: str, size: tuple[int, int], scheme: str,
) -> None:  # fmt: skip
    folder = Path(os.environ.get("SCREENS") or tmp_path)
    page = open_page(base=window, size=size, color_scheme=scheme, reduced_motion="reduce")

    def picture(state: str) -> None:
        path = folder / f"{state}-{device}-{scheme}.png"
        page.screenshot(path=path, animations="disabled")
        # Large enough to show something, small enough to be in the repository.
        assert 5_000 < path.stat().st_size < 300_000

    picture("empty")
    page.set_input_files("#image-file", draw(SNEAKER))
    expect(page.locator("main[data-state=done] #preview")).to_be_visible()
    picture("result")
    page.set_input_files("#image-file", Path(__file__))
    expect(page.locator("#image-error")).to_be_visible()
    picture("error")
    page.goto(f"{window}/about")
    picture("about")
    page.goto(url)
    page.set_input_files("#image-file", draw(PEAR))
    expect(page.locator("h1.unsure")).to_be_visible()
    picture("not-sure")
