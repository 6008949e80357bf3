"""A photo is made smaller in the browser before it travels."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

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
  const reader = new FileReader();
  const read = new Promise((done) => { reader.onload = done; });
  reader.readAsDataURL(small);
  await read;
  return [small.name, small.type, reader.result.split(',')[1]];
}
"""


@cache
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
    return name, media_type, base64.b64decode(content)


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


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "gif", "webp", "avif"])
def test_what_is_small_or_may_hide_damage_travels_as_it_is(
    open_page: OpenPage, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"photo.{suffix}"
    scene(*((90, 60) if suffix == "png" else (900, 600))).save(path, quality=95)
    name, _, content = shrink(open_page(), path, 480)
    assert name == path.name
    assert content == path.read_bytes()


def cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


def without_a_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def padded(content: bytes) -> bytes:
    """As a download that stopped half-way, into a file that had its size from the start."""
    return cut(content, 0.5).ljust(len(content), b"\0")


DAMAGED = {
    "three quarters of a JPEG": (".jpg", lambda blob: cut(blob, 0.75), {}),
    "half a JPEG": (".jpg", lambda blob: cut(blob, 0.5), {}),
    "half a JPEG, and nothing": (".jpg", padded, {}),
    "half a progressive JPEG": (".jpg", lambda blob: cut(blob, 0.5), {"progressive": True}),
    "a JPEG without its last bytes": (".jpg", lambda blob: blob[:-2], {}),
    "half a PNG": (".png", lambda blob: cut(blob, 0.5), {}),
    "a PNG but for its last bytes": (".png", lambda blob: blob[:-20], {}),
    "a PNG with another bit": (".png", without_a_bit, {}),
    "half a WebP": (".webp", lambda blob: cut(blob, 0.5), {"quality": 95}),
    "half a GIF": (".gif", lambda blob: cut(blob, 0.5), {}),
    "half a BMP": (".bmp", lambda blob: cut(blob, 0.5), {}),
}


# Every run tries one of each format.
EACH_FORMAT = {"half a JPEG", "half a PNG", "half a WebP", "half a GIF", "half a BMP"}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in EACH_FORMAT else pytest.mark.slow) for kind in DAMAGED],
)
def test_damaged_picture_gets_the_same_answer_from_the_page_and_the_api(
    open_page: OpenPage, feedback_url: str, tmp_path: Path, kind: str
) -> None:
    suffix, damage, options = DAMAGED[kind]
    path = tmp_path / f"photo{suffix}"
    scene(1600, 1200).save(path, **options)
    path.write_bytes(damage(path.read_bytes()))
    assert path.stat().st_size > 100_000
    page = open_page(base=feedback_url)
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request))
    page.set_input_files("#image-file", path)
    expect(page.locator("main:not([data-state=busy])")).to_be_visible()
    (request,) = (request for request in sent if request.method == "POST")
    reply = request.response()
    assert reply
    assert int(request.all_headers()["content-length"]) == path.stat().st_size  # as it is
    if reply.ok:
        expect(page.locator("main")).to_have_attribute("data-state", "done")
        return
    assert reply.status == 422
    expect(page.get_by_role("alert")).to_have_text(reply.json()["detail"])
    expect(page.locator("#opinion")).to_be_hidden()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_what_a_phone_puts_behind_a_photo_does_not_make_it_damaged(
    open_page: OpenPage, tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "photo.jpg"
    scene(900, 600).save(path, quality=95, **options)
    path.write_bytes(path.read_bytes() + b"\xff\xd8\0\0ftypmp42" + bytes(50_000))
    _, media_type, content = shrink(open_page(), path, 100)
    assert media_type == "image/jpeg"
    assert Image.open(io.BytesIO(content)).size == (150, 100)


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
