"""What each accepted format and pixel mode becomes."""

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from heic_files import WRITTEN_FORMATS
from shopwindow.imaging.decode import decode_image

WHITE, BLACK = [255, 255, 255], [0, 0, 0]


def saved(image: Image.Image, format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format_", WRITTEN_FORMATS)
def test_each_accepted_format_decodes_to_rgb(
    format_: str, image_bytes: Callable[..., bytes]
) -> None:
    pixels = decode_image(image_bytes((250, 10, 20), (30, 20), format_))
    assert pixels.shape == (20, 30, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels.reshape(-1, 3).mean(0), (250, 10, 20), atol=6)


def test_the_result_can_be_written_to(image_bytes: Callable[..., bytes]) -> None:
    assert decode_image(image_bytes()).flags.writeable


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_white_whatever_colour_they_hide(mode: str) -> None:
    hidden = (0, 0, 0, 0) if mode == "RGBA" else (0, 0)
    pixels = decode_image(saved(Image.new(mode, (4, 4), hidden), "PNG"))
    assert (pixels == 255).all()


def test_half_transparent_red_is_pink() -> None:
    pixels = decode_image(saved(Image.new("RGBA", (2, 2), (255, 0, 0, 128)), "PNG"))
    np.testing.assert_allclose(pixels[0, 0], (255, 127, 127), atol=1)


def test_a_transparent_palette_entry_is_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    for format_ in ("PNG", "GIF"):
        pixels = decode_image(saved(image, format_, transparency=0))
        assert pixels.tolist() == [[WHITE, [0, 0, 255]]], format_


def test_a_palette_with_graded_transparency_is_blended() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    pixels = decode_image(saved(image, "PNG", transparency=bytes([128, 255])))
    np.testing.assert_allclose(pixels, [[[255, 127, 127], [0, 0, 255]]], atol=1)


@pytest.mark.parametrize(
    ("mode", "stored", "expected"),
    [("RGBA", (128, 0, 0, 128), (255, 127, 127)), ("LA", (64, 128), (191, 191, 191))],
)
def test_premultiplied_alpha_is_not_applied_twice(
    mode: str, stored: tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    data = bytearray(saved(Image.new(mode, (2, 2), stored), "TIFF"))
    entry = data.index(struct.pack("<HHI", 338, 3, 1))  # ExtraSamples
    data[entry + 8] = 1  # "associated alpha": the colours were multiplied with it already
    np.testing.assert_allclose(decode_image(bytes(data))[0, 0], expected, atol=1)


def test_one_bit_images_are_black_and_white() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    for format_ in ("PNG", "TIFF", "BMP"):
        assert decode_image(saved(image, format_)).tolist() == [[BLACK, WHITE]], format_


def test_cmyk_jpeg_from_adobe_is_not_inverted() -> None:
    """Pillow, like Photoshop, stores CMYK JPEGs inverted and marks them as Adobe's."""
    cyan = decode_image(saved(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG"))
    np.testing.assert_allclose(cyan[4, 4], (0, 255, 255), atol=4)


def test_cmyk_tiff_is_not_inverted() -> None:
    cyan = decode_image(saved(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "TIFF"))
    assert cyan[4, 4].tolist() == [0, 255, 255]


@pytest.mark.parametrize("mode", ["LAB", "YCbCr"])
def test_other_colour_spaces_become_rgb(mode: str) -> None:
    neutral = {"LAB": (255, 128, 128), "YCbCr": (255, 128, 128)}[mode]
    image = Image.new(mode, (4, 4), neutral)
    if mode == "LAB":  # Pillow holds a and b as signed bytes
        image = Image.frombytes("LAB", (4, 4), bytes([255, 0, 0] * 16))
    np.testing.assert_allclose(decode_image(saved(image, "TIFF"))[0, 0], WHITE, atol=2)


def test_only_the_first_frame_is_used() -> None:
    red, blue = Image.new("RGB", (5, 5), "red"), Image.new("RGB", (5, 5), "blue")
    for format_ in ("GIF", "WEBP", "TIFF", "PNG", "AVIF"):
        data = saved(red, format_, save_all=True, append_images=[blue])
        np.testing.assert_allclose(decode_image(data)[0, 0], (255, 0, 0), atol=6)


def test_photos_with_a_second_picture_inside_are_read_as_the_first() -> None:
    """Phones append a gain map or a depth map to the JPEG (a "multi-picture object")."""
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (4, 4), "blue")
    pixels = decode_image(saved(red, "MPO", save_all=True, append_images=[blue]))
    assert pixels.shape == (8, 8, 3)
    np.testing.assert_allclose(pixels[4, 4], (254, 0, 0), atol=4)
