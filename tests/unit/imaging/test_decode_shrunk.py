"""Large images come out smaller where that is enough, and look the same."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from shopwindow.errors import OversizedImageError
from shopwindow.imaging import limits
from shopwindow.imaging.decode import decode_image


def scene(height: int, width: int) -> Image.Image:
    """Return a smooth picture without symmetry, so that every shift and turn shows."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * x / width, 255 * y / height
    blue = 127 + 127 * np.sin(9 * x / width) * np.cos(7 * y / height)
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def saved(image: Image.Image, format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def resized(image: Image.Image, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BOX)).astype(int)


@pytest.mark.parametrize(
    ("least_px", "shape"),
    [
        (None, (240, 320, 3)),
        ((240, 320), (240, 320, 3)),
        ((121, 1), (240, 320, 3)),
        ((120, 160), (120, 160, 3)),
        ((61, 80), (120, 160, 3)),
        ((60, 80), (60, 80, 3)),
        ((30, 40), (30, 40, 3)),
        ((1, 1), (30, 40, 3)),  # an eighth is the least that a JPEG can give
        ((500, 500), (240, 320, 3)),  # nothing is enlarged
    ],
)
def test_jpeg_has_no_fewer_pixels_than_are_enough(
    least_px: tuple[int, int] | None, shape: tuple[int, ...]
) -> None:
    data = saved(scene(240, 320), "JPEG", quality=95)
    pixels = decode_image(data, least_px=least_px)
    assert pixels.shape == shape
    np.testing.assert_allclose(pixels, resized(scene(240, 320), shape), atol=12)


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM"])
def test_other_formats_shrink_by_any_whole_number(format_: str) -> None:
    pixels = decode_image(saved(scene(240, 320), format_, quality=95), least_px=(48, 64))
    assert pixels.shape == (48, 64, 3)
    tolerance = 30 if format_ == "GIF" else 12
    np.testing.assert_allclose(pixels, resized(scene(240, 320), (48, 64)), atol=tolerance)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_shrunk_photo_stands_upright_like_the_full_one(orientation: int, format_: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(scene(160, 320), format_, exif=exif)
    full = Image.fromarray(decode_image(data))
    pixels = decode_image(data, least_px=(40, 40))
    assert pixels.shape[:2] == ((80, 40) if orientation >= 5 else (40, 80))
    np.testing.assert_allclose(pixels, resized(full, pixels.shape), atol=8)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "AVIF"])
def test_sides_that_do_not_divide_shift_nothing(format_: str) -> None:
    """8 x 40 + 1 pixels shrink to 40, and not to 41 of which the last is nearly nothing."""
    data = saved(scene(321, 401), format_, quality=95)
    pixels = decode_image(data, least_px=(40, 50))
    assert pixels.shape == (40, 50, 3)
    inner = (slice(1, -1), slice(1, -1))
    expected = np.asarray(scene(321, 401).resize((50, 40), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(pixels[inner] - expected[inner]).mean() < 1.5


@pytest.mark.parametrize("mode", ["I", "F", "I;16", "LA", "P", "RGBA", "1"])
def test_strips_of_an_image_are_converted_like_the_whole(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = np.asarray(scene(90, 60).convert("L")).astype(np.int32)
    if mode in {"I", "F", "I;16"}:
        kind = {"I": np.int32, "F": np.float32, "I;16": np.uint16}[mode]
        image = Image.fromarray((grey * 257).astype(kind))
    else:
        image = scene(90, 60).convert(mode)
        if mode in {"LA", "RGBA"}:
            image.putalpha(Image.fromarray(grey.astype(np.uint8)))
    data = saved(image, "TIFF" if mode in {"I", "F"} else "PNG")
    full = resized(Image.fromarray(decode_image(data)), (30, 20))
    monkeypatch.setattr("shopwindow.imaging.colour._STRIP_PIXELS", 360)  # six rows of sixty pixels
    np.testing.assert_allclose(decode_image(data, least_px=(30, 20)), full, atol=1)


def test_image_that_does_not_fit_into_memory_is_refused_with_what_would(
    image_bytes: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """WebP needs 16 bytes for a pixel, PNG 4: libwebp decodes onto canvases of its own."""
    monkeypatch.setattr("shopwindow.imaging.limits.MAX_DECODE_BYTES", 1_000_000)
    assert decode_image(image_bytes("red", (400, 300), "PNG")).shape == (300, 400, 3)
    with pytest.raises(OversizedImageError, match=r"This WEBP image has 400 x 300 pixels; at most"):
        decode_image(image_bytes("red", (400, 300), "WEBP"))


def test_large_images_wait_for_one_another_and_small_ones_do_not(
    image_bytes: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMALL_BYTES", 100_000)
    with ThreadPoolExecutor(1) as pool:
        with limits.room_for(200_000):  # as if another large image were being decoded
            assert decode_image(image_bytes("red", (40, 40))).shape == (40, 40, 3)
            large = pool.submit(decode_image, image_bytes("red", (400, 400)))
            with pytest.raises(TimeoutError):
                large.result(timeout=0.2)
        assert large.result(timeout=60).shape == (400, 400, 3)
