"""What the page costs a visitor: bytes, jumps, and the wait for an answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Response, expect

OpenPage = Callable[..., Page]
Photo = Callable[..., Path]

_JUMPS = """
() => new Promise((resolve) => {
  let sum = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => { sum += entry.value; }))
    .observe({type: 'layout-shift', buffered: true});
  requestAnimationFrame(() => setTimeout(() => resolve(sum), 50));
})
"""


def test_page_with_everything_on_it_is_under_60_kb(open_page: OpenPage, bundled_url: str) -> None:
    page = open_page("/health/live", base=bundled_url)  # a window to listen to, with nothing in it
    page.goto("about:blank", wait_until="networkidle")
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response))
    page.goto(bundled_url, wait_until="networkidle")
    sizes = {response.url.rpartition("/")[2]: len(response.body()) for response in responses}
    assert len(sizes) >= 9  # page, style, script and six examples; an icon that a tab would show
    assert sum(sizes.values()) < 60_000, sizes


@pytest.mark.parametrize("size", [(390, 844), (1280, 800)])
def test_nothing_jumps_while_the_page_loads_and_answers(
    open_page: OpenPage, photo: Photo, bundled_url: str, size: tuple[int, int]
) -> None:
    page = open_page(base=bundled_url, size=size)
    # All that the page asks for is here, and was painted: what moves from now on is the answer.
    page.wait_for_load_state("networkidle")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    # A slow machine may paint the buttons while they are still coming in.
    loaded = page.evaluate(_JUMPS)
    assert loaded < 0.02
    page.set_input_files("#image-file", photo("red"))
    expect(page.locator("main")).to_have_attribute("data-state", "done")
    assert page.evaluate(_JUMPS) == loaded
