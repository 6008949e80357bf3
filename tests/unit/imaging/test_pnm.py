"""PPM, PGM and PBM: all six kinds, any number of levels, in no time."""

from __future__ import annotations

import time

import numpy as np
import pytest

from shopwindow.errors import OversizedImageError, UnreadableImageError
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.formats import identify
from shopwindow.imaging.limits import ImageLimits

RED, GREY, WHITE, BLACK = [255, 0, 0], [128] * 3, [255] * 3, [0] * 3


@pytest.mark.parametrize(
    ("data", "row"),
    [
        (b"P6 2 1 255\n\xff\x00\x00\x80\x80\x80", [RED, GREY]),
        (b"P6\n# made by hand\n2 # wide\n1\n255\n\xff\x00\x00\x80\x80\x80", [RED, GREY]),
        (b"P6 1 1 100 \x64\x00\x00", [RED]),
        (b"P6 1 1 65535\n\xff\xff\x00\x00\x00\x00", [RED]),
        (b"P5 2 1 255\n\x80\xff", [GREY, WHITE]),
        (b"P5 2 1 4095\n\x08\x08\x00\x10", [GREY, [1] * 3]),
        (b"P4 3 1\n\x40", [WHITE, BLACK, WHITE]),
        (b"P3 2 1 255\n255 0 0 # red\n128 128 128\n", [RED, GREY]),
        (b"P2\t2 1\r\n15\n15 0", [WHITE, BLACK]),
        (b"P1 3 1\n010", [WHITE, BLACK, WHITE]),
        (b"P1 3 1\n0 1 0\n", [WHITE, BLACK, WHITE]),
    ],
)
def test_all_kinds_become_rgb(data: bytes, row: list[list[int]]) -> None:
    assert identify(data) == "PPM"
    assert decode_image(data).tolist() == [row]


@pytest.mark.parametrize(
    "data",
    [
        b"P6 2 1 255\n\xff\x00\x00",
        b"P6 2 1",
        b"P6 2 1 0\n" + bytes(6),
        b"P6 2 1 99999\n" + bytes(12),
        b"P6 0 1 255\n",
        b"P4 9 2\n\x00\x00",
        b"P3 1 1 255\n1 2",
        b"P3 1 1 255\n1 x 3",
        b"P2 1 1 255\n-1",
        b"P1 2 1\n0x",
        b"P6 " + b"#\n" * 3000,
        b"P2 1 1 255\n" + b"1" * 100_000,
    ],
)
def test_what_is_damaged_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImageError):
        decode_image(data)


def test_size_is_checked_before_anything_is_read() -> None:
    with pytest.raises(OversizedImageError, match="60,000 x 60,000"):
        decode_image(b"P3 60000 60000 255\n")
    with pytest.raises(OversizedImageError, match="2 x 1"):
        decode_image(b"P6 2 1 255\n" + bytes(6), limits=ImageLimits(max_pixels=1))


def test_other_numbers_of_levels_take_no_time() -> None:
    """Pillow takes a second for every half million of them."""
    began = time.thread_time()
    pixels = decode_image(b"P6 2000 1000 100\n" + bytes([50]) * 6_000_000)
    assert time.thread_time() - began < 1
    np.testing.assert_array_equal(np.unique(pixels), [128])


@pytest.mark.parametrize("text", [b"P1-notes", b"P8 1 1", b"P60 x", b"Plain text"])
def test_text_that_begins_alike_is_none(text: bytes) -> None:
    with pytest.raises(Exception, match=r"known format|damaged"):
        decode_image(text)
