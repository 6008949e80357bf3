"""A photo is made smaller in the browser before it travels."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Request, expect
from visitor import check_answer

OpenPage = Callable[..., Page]

# Runs the module on the file in the page's own control, and returns what it made.
_SHRINK = """
async (leastPx) => {
  const { shrink } = await import(document.getElementById('main').dataset.shrink);
  const small = await shrink(document.getElementById('image-file').files[0], leastPx);
  const bytes = Array.from(new Uint8Array(await small.arrayBuffer()));
  return [small.name, small.type, bytes];
}
"""


def scene(width: int, height: int) -> Image.Image:
    """Return a picture with some grain, red in its upper left and green in its lower right."""
    random = np.random.default_rng(2)
    y, x = np.mgrid[0:height, 0:width]
    red = 230 * (1 - (x + y) / (width + height))
    green = 230 * (x + y) / (width + height)
    grain = random.integers(0, 25, (height, width))
    return Image.fromarray(np.stack([red + grain, green + grain, grain], -1).astype(np.uint8))


def shrink(page: Page, path: Path, least_px: int) -> tuple[str, str, bytes]:
    # The control alone, without the page's own answer to its change.
    page.evaluate("document.getElementById('image-file').addEventListener('change', (e) => "
                  "e.stopImmediatePropagation(), {capture: true})")  # fmt: skip
    page.set_input_files("#image-file", path)
    name, media_type, content = page.evaluate(_SHRINK, least_px)
    return name, media_type, bytes(content)


def test_phone_photo_travels_upright_in_some_50_kb(open_page: OpenPage, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned to the right, to be seen upright
    path = tmp_path / "photo.jpg"
    scene(4032, 3024).save(path, exif=exif, quality=92)
    assert path.stat().st_size > 2_000_000
    _, media_type, content = shrink(open_page(), path, 480)
    assert media_type == "image/jpeg"
    assert len(content) < 80_000
    small = Image.open(io.BytesIO(content))
    assert small.size == (480, 640)
    pixels = np.asarray(small).astype(int)
    # Stored upper left is seen in the upper right.
    assert pixels[:40, -40:, 0].mean() > 200
    assert pixels[-40:, :40, 1].mean() > 200


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_what_is_small_or_cannot_be_decoded_travels_as_it_is(
    open_page: OpenPage, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"photo.{suffix}"
    scene(*((90, 60) if suffix == "png" else (900, 600))).save(path)
    name, _, content = shrink(open_page(), path, 480)
    assert name == path.name
    assert content == path.read_bytes()


def test_transparent_picture_lies_on_white(open_page: OpenPage, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    picture = scene(900, 600).convert("RGBA")
    picture.putalpha(0)
    picture.save(path)
    _, media_type, content = shrink(open_page(), path, 100)
    assert media_type == "image/jpeg"
    assert np.asarray(Image.open(io.BytesIO(content))).min() > 250


def test_page_sends_the_small_photo_and_shows_its_answer(
    open_page: OpenPage, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    random = np.random.default_rng(4)
    pixels = random.integers(0, 40, (600, 450, 3), np.uint8)
    pixels[..., 0] += 210
    Image.fromarray(pixels).save(path)
    assert path.stat().st_size > 300_000
    page = open_page()
    requests: list[Request] = []
    page.on("requestfinished", lambda request: requests.append(request))
    page.set_input_files("#image-file", path)
    check_answer(page, "red")
    expect(page.locator("#preview")).to_be_visible()
    (sent,) = (request for request in requests if request.method == "POST")
    assert int(sent.all_headers()["content-length"]) < 50_000
