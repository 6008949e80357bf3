"""Photos come out upright, and broken metadata never spoil a sound picture."""

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.tiff import read_orientation

CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
UPRIGHT = CORNERS.repeat(16, 0).repeat(32, 1)  # (32, 64, 3)

# Which visible side the first stored row and the first stored column are (EXIF 2.32, table 6).
FIRST_ROW_AND_COLUMN = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def photo(orientation: int, format_: str) -> bytes:
    sides = FIRST_ROW_AND_COLUMN[orientation]
    stored = UPRIGHT.transpose(1, 0, 2) if orientation >= 5 else UPRIGHT
    for axis, side in enumerate(sides):
        if side in {"right", "bottom"}:
            stored = np.flip(stored, axis)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(buffer, format_, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", FIRST_ROW_AND_COLUMN)
def test_every_orientation_comes_out_upright(orientation: int, format_: str) -> None:
    pixels = decode_image(photo(orientation, format_))
    assert pixels.shape == UPRIGHT.shape
    np.testing.assert_allclose(pixels[8::16, 16::32], CORNERS, atol=12)


def exif_block(value: int, *, order: str = "<", kind: int = 3, count: int = 1) -> bytes:
    head = {"<": b"II*\x00", ">": b"MM\x00*"}[order] + struct.pack(order + "I", 8)
    size = {1: "Bxxx", 3: "Hxx", 4: "I"}[kind]
    entry = struct.pack(order + "HHI" + size, 0x0112, kind, 1, value)
    return b"Exif\x00\x00" + head + struct.pack(order + "H", count) + entry


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [1, 3, 4])
def test_orientation_is_read_in_both_byte_orders_and_any_integer_type(
    order: str, kind: int
) -> None:
    assert read_orientation(exif_block(6, order=order, kind=kind)) == 6


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\x00\x00",
        b"Exif\x00\x00II*\x00",
        b"Exif\x00\x00II*\x00\xff\xff\xff\xff",
        b"not EXIF at all",
        exif_block(0),
        exif_block(9),
        exif_block(6)[:-6],
        exif_block(6).replace(b"\x12\x01", b"\x13\x01"),
    ],
)
def test_exif_without_a_usable_orientation_means_upright(block: bytes) -> None:
    assert read_orientation(block) == 1


def test_a_broken_entry_count_does_not_hide_the_orientation() -> None:
    assert read_orientation(exif_block(8, count=60000)) == 8


def test_broken_exif_neither_fails_nor_warns(image_bytes: Callable[..., bytes]) -> None:
    """Pillow alone warns here, and these tests turn warnings into errors."""
    broken = exif_block(1, count=200).replace(b"\x12\x01", b"\x1a\x01")  # a bad resolution
    jpeg = image_bytes("red", (8, 8), "JPEG", exif=broken)
    assert decode_image(jpeg).shape == (8, 8, 3)
