"""The map over the photo: on demand, in the right place, and only where the bundle has one."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from colour_bundle import colour_graph, colour_info, write_colour_bundle
from live_server import running_server

OpenPage = Callable[..., Page]


@pytest.fixture
def corner(tmp_path: Path) -> Path:
    """A square photo whose upper left is blue: the model sees it with white above and below."""
    pixels = np.full((200, 200, 3), (0, 60, 0), np.uint8)
    pixels[:150, :120] = (0, 0, 255)
    path = tmp_path / "corner.png"
    Image.fromarray(pixels).save(path)
    return path


def seen(page: Page) -> np.ndarray:
    picture = page.locator("#preview").screenshot(animations="disabled")
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


@pytest.mark.parametrize("js", [True, False])
def test_map_lies_on_the_evidence_for_the_answer(
    open_page: OpenPage, corner: Path, js: bool
) -> None:
    page = open_page(js=js, reduced_motion="reduce")
    why = page.get_by_label("Why?")
    expect(why).to_be_hidden()
    page.set_input_files("#image-file", corner)
    if not js:
        page.get_by_role("button", name="Find out").click()
    expect(page.locator("#label")).to_have_text("blue")
    expect(page.get_by_text("It shows roughly where")).to_be_hidden()
    expect(page.locator("#heat")).to_have_css("opacity", "0")
    why.check()
    expect(page.get_by_text("It shows roughly where")).to_be_visible()
    expect(page.locator("#heat")).to_have_css("opacity", "1")
    mapped = seen(page)
    page.locator("#heat").evaluate("e => { e.style.visibility = 'hidden'; }")
    plain = seen(page)
    changed = np.abs(mapped - plain).sum(axis=2)
    blue = (plain[:, :, 2] > 200) & (plain[:, :, 0] < 60)
    assert blue.any()
    assert changed[blue].mean() > 60
    assert changed[blue].sum() > 0.85 * changed.sum()


def test_bundle_without_a_map_has_no_such_control(
    open_page: OpenPage, corner: Path, tmp_path: Path
) -> None:
    data = colour_info().as_json() | {"activation_map": False}
    graph = colour_graph()
    del graph.output[2]
    bundle = write_colour_bundle(tmp_path / "old.onnx", metadata=json.dumps(data), graph=graph)
    with running_server(bundle) as url:
        page = open_page(base=url)
        page.set_input_files("#image-file", corner)
        expect(page.locator("main")).to_have_attribute("data-state", "done")
        expect(page.get_by_label("Why?")).to_be_hidden()
