"""Images with more than 8 bits per channel are scaled, never clipped."""

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shopwindow.imaging.decode import decode_image

RAMP_16 = np.array([[0, 128, 257, 32896, 65407, 65535]], np.uint16)
RAMP_8 = [0, 0, 1, 128, 255, 255]  # 65535 / 255 = 257


def saved(values: NDArray[np.generic], format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format_, **options)
    return buffer.getvalue()


def grey(data: bytes) -> list[int]:
    pixels = decode_image(data)
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()
    return [int(value) for value in pixels[0, :, 0]]


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_sixteen_bit_grey_spans_black_to_white(format_: str) -> None:
    assert grey(saved(RAMP_16, format_)) == pytest.approx(RAMP_8, abs=1)


def test_sixteen_bit_grey_in_big_endian_order_is_the_same() -> None:
    big = saved(RAMP_16.astype(">u2"), "TIFF")
    assert grey(big) == pytest.approx(RAMP_8, abs=1)


def test_sixteen_bit_grey_whose_zero_is_white_is_turned_round() -> None:
    data = bytearray(saved(RAMP_16, "TIFF"))
    entry = data.index(struct.pack("<HHI", 262, 3, 1))  # PhotometricInterpretation
    data[entry + 8] = 0  # WhiteIsZero
    assert grey(bytes(data)) == pytest.approx([255 - value for value in RAMP_8], abs=1)


def test_the_transparent_value_of_sixteen_bit_grey_is_white() -> None:
    data = saved(np.array([[1000, 1001]], np.uint16), "PNG", transparency=1000)
    assert grey(data) == [255, 4]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_the_transparent_colour_of_sixteen_bit_rgb_is_white() -> None:
    """Pillow cannot write such a file, so it is written by hand: red, transparent, and blue."""
    red, blue = struct.pack(">HHH", 0xFFFF, 0x0102, 0), struct.pack(">HHH", 0, 0, 0xFFFF)
    data = b"\x89PNG\r\n\x1a\n"
    data += chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    data += chunk(b"tRNS", red) + chunk(b"IDAT", zlib.compress(b"\x00" + red + blue))
    data += chunk(b"IEND", b"")
    assert decode_image(data).tolist() == [[[255, 255, 255], [0, 0, 255]]]


@pytest.mark.parametrize(
    ("highest", "expected"),
    [(1.0, [0, 128, 255]), (255.0, [0, 128, 255]), (65535.0, [0, 128, 255])],
)
def test_floats_take_the_smallest_usual_range(highest: float, expected: list[int]) -> None:
    values = np.array([[0, highest / 2, highest]], np.float32)
    assert grey(saved(values, "TIFF")) == pytest.approx(expected, abs=1)


def test_floats_beyond_any_usual_range_are_stretched() -> None:
    values = np.array([[-1e6, 0, 1e6]], np.float32)
    assert grey(saved(values, "TIFF")) == pytest.approx([0, 128, 255], abs=1)


def test_floats_that_are_not_numbers_are_black() -> None:
    values = np.array([[np.nan, 1.0, np.inf]], np.float32)
    assert grey(saved(values, "TIFF")) == [0, 255, 0]


def test_thirty_two_bit_integers_with_sixteen_bit_values_are_scaled() -> None:
    values = np.array([[0, 32768, 65535]], np.int32)
    assert grey(saved(values, "TIFF")) == [0, 128, 255]


def test_a_plain_deep_image_does_not_divide_by_zero() -> None:
    assert grey(saved(np.full((1, 2), -5.0, np.float32), "TIFF")) == [0, 0]
