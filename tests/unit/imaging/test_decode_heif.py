"""HEIC and AVIF: photos of phones, in a container that may say other things than its frames."""

from __future__ import annotations

import io
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import heic_files
from heic_files import CLEAR, DEEP, GRID, PLAIN, TURNED, TWO
from shopwindow.errors import ImageError, OversizedImageError, UnreadableImageError
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.formats import identify
from shopwindow.imaging.frame_headers import av1_sizes
from shopwindow.imaging.heif_container import HeifContainer
from shopwindow.imaging.limits import ImageLimits

BLUE, RED = (20, 20, 220), (200, 30, 30)


def avif(size: tuple[int, int] = (96, 64), **options: object) -> bytes:
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (0, 0, size[0], size[1] // 2))
    buffer = io.BytesIO()
    image.save(buffer, "AVIF", **options)
    return buffer.getvalue()


def said(data: bytes, size: tuple[int, int]) -> bytes:
    """Return a container that claims another size for all of its pictures."""
    parts = data.split(b"ispe\0\0\0\0")
    claim = b"ispe\0\0\0\0" + struct.pack(">II", *size)
    return parts[0] + b"".join(claim + part[8:] for part in parts[1:])


@pytest.mark.parametrize(
    ("data", "shape"), [(PLAIN, (64, 96, 3)), (GRID, (128, 128, 3)), (TWO, (64, 96, 3))]
)
def test_heic_is_read_as_one_picture(data: bytes, shape: tuple[int, ...]) -> None:
    assert identify(data) == "HEIC"
    pixels = decode_image(data)
    assert pixels.shape == shape
    assert pixels.flags.writeable
    np.testing.assert_allclose(pixels[: shape[0] // 2 - 4].mean((0, 1)), BLUE, atol=5)
    np.testing.assert_allclose(pixels[shape[0] // 2 + 4 :].mean((0, 1)), RED, atol=5)


def test_photo_is_turned_once_though_its_exif_says_so_again() -> None:
    pixels = decode_image(TURNED)
    assert pixels.shape == (96, 64, 3)
    np.testing.assert_allclose(pixels[:, 40:].mean((0, 1)), BLUE, atol=5)


def test_deep_and_transparent_heic_is_scaled_and_laid_over_white() -> None:
    assert (decode_image(CLEAR) == 255).all()
    np.testing.assert_allclose(decode_image(DEEP)[:28].mean((0, 1)), (0, 0, 255), atol=4)
    np.testing.assert_allclose(decode_image(DEEP)[36:].mean((0, 1)), (255, 255, 255), atol=4)


def test_heic_shrinks_in_strips_to_what_is_enough() -> None:
    assert decode_image(GRID, least_px=(32, 40)).shape == (43, 43, 3)
    full = Image.fromarray(decode_image(GRID)).reduce(4)
    np.testing.assert_allclose(decode_image(GRID, least_px=(32, 32)), full, atol=1)


@pytest.mark.parametrize(
    ("brands", "format_"),
    [
        (b"heic\0\0\0\0mif1", "HEIC"),
        (b"mif1\0\0\0\0heic", "HEIC"),
        (b"mif1\0\0\0\0miaf", "HEIC"),
        (b"avif\0\0\0\0mif1", "AVIF"),
        (b"mif1\0\0\0\0avif", "AVIF"),
        (b"avis\0\0\0\0avif", "AVIF"),
    ],
)
def test_brands_say_which_of_the_two_it_is(brands: bytes, format_: str) -> None:
    assert identify(struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands) == format_


@pytest.mark.parametrize("data", [PLAIN, GRID, CLEAR, TURNED, avif()])
def test_every_cut_is_refused(data: bytes) -> None:
    """libheif and libavif would answer some with what is there of the picture."""
    for length in range(12, len(data)):
        with pytest.raises(ImageError):
            decode_image(data[:length])


@pytest.mark.parametrize("data", [PLAIN, avif()])
def test_limits_hold_from_the_header(data: bytes) -> None:
    with pytest.raises(OversizedImageError, match="96 x 64 pixels; at most"):
        decode_image(data, limits=ImageLimits(max_pixels=5_000))
    with pytest.raises(OversizedImageError, match="30,000 x 30,000 pixels"):
        decode_image(said(data, (30_000, 30_000)))
    two = (
        TWO
        if identify(data) == "HEIC"
        else avif(save_all=True, append_images=[Image.new("L", (96, 64))])
    )
    with pytest.raises(OversizedImageError, match="more than one frame"):
        decode_image(two, limits=ImageLimits(max_frames=1))


@pytest.mark.parametrize("data", [PLAIN, avif()])
def test_frame_that_is_larger_than_the_container_says_is_seen_before_it_is_decoded(
    data: bytes,
) -> None:
    """The library would decode all of it first, however little is left to show."""
    small = said(data, (16, 16))
    assert HeifContainer(small).frame_sizes() == [(96, 64)]
    with pytest.raises(OversizedImageError, match="96 x 64"):
        decode_image(small, limits=ImageLimits(max_pixels=2_000))


def test_grid_that_names_a_tile_a_thousand_times_is_refused_at_once() -> None:
    """Each is decoded anew."""
    start = GRID.index(b"dimg") - 4
    size, source, count = struct.unpack_from(">I4xHH", GRID, start)
    tiles = GRID[start + 12 : start + size]
    many = GRID[:start] + struct.pack(">I4sHH", 12 + 2 * 4000, b"dimg", source, 4000)
    many += tiles * (4000 // count) + GRID[start + size :]
    grown = len(many) - len(GRID)
    for box in (b"iref", b"meta"):
        at = many.index(box) - 4
        many = (
            many[:at]
            + struct.pack(">I", int.from_bytes(many[at : at + 4], "big") + grown)
            + many[at + 4 :]
        )
    began = time.perf_counter()
    with pytest.raises(ImageError):
        decode_image(many, limits=ImageLimits(max_pixels=100_000))
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("name", ["PLAIN", "TURNED", "CLEAR", "TWO"])
def test_what_is_no_picture_in_the_container_never_reaches_the_library(name: str) -> None:
    """An item whose name is no text made pi-heif 1.4 end the process."""
    data = getattr(heic_files, name)
    for at in range(data.index(b"iinf"), data.index(b"iprp")):
        for value in (0, 0xFF):
            broken = data[:at] + bytes([value]) + data[at + 1 :]
            try:
                decode_image(broken)
            except ImageError:
                continue


def test_broken_exif_in_an_avif_neither_fails_nor_warns() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    data = avif(exif=exif)
    broken = data.replace(struct.pack("<HHI", 0x011A, 5, 1), struct.pack("<HHI", 0x011A, 5, 9))
    assert broken != data or b"MM\0*" in data
    assert decode_image(broken).shape == (96, 64, 3)


def test_item_that_is_there_twice_is_refused() -> None:
    at = PLAIN.index(b"infe") - 4
    (size,) = struct.unpack_from(">I", PLAIN, at)
    twice = PLAIN[: at + size] + PLAIN[at : at + size] + PLAIN[at + size :]
    for box in (b"iinf", b"meta"):
        start = twice.index(box) - 4
        (length,) = struct.unpack_from(">I", twice, start)
        twice = twice[:start] + struct.pack(">I", length + size) + twice[start + 4 :]
    with pytest.raises(UnreadableImageError) as caught:
        decode_image(twice)
    assert "twice" in str(caught.value.__cause__)


def test_table_of_a_billion_places_is_refused_at_once() -> None:
    """Each of 20,000 items has 65,535 extents, which take no bytes in the table."""
    entries = struct.pack(">HHH", 1, 0, 65_535) * 20_000
    table = bytes(4) + struct.pack(">HH", 0, 20_000) + entries
    places = struct.pack(">I", 8 + len(table)) + b"iloc" + table
    meta = struct.pack(">I", 12 + len(places)) + b"meta" + bytes(4) + places
    start = int.from_bytes(PLAIN[:4], "big")
    began = time.process_time()
    with pytest.raises(UnreadableImageError) as caught:
        decode_image(PLAIN[:start] + meta)
    assert "too many parts" in str(caught.value.__cause__)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("size", [(1, 1), (96, 64), (333, 77)])
def test_av1_header_says_the_size(size: tuple[int, int]) -> None:
    assert HeifContainer(avif(size)).frame_sizes() == [size]
    several = avif(size, save_all=True, append_images=[Image.new("L", size)])
    assert HeifContainer(several).frame_sizes() == [size], "the long form of the header"


def test_av1_units_without_end_are_refused() -> None:
    with pytest.raises(ValueError, match="too many units"):
        av1_sizes(b"\x12\x00" * 20_000)


def test_many_threads_decode_at_once() -> None:
    expected = {
        name: decode_image(getattr(heic_files, name)) for name in ("GRID", "TURNED", "CLEAR")
    }
    with ThreadPoolExecutor(8) as pool:
        for name, pixels in expected.items():
            for found in pool.map(decode_image, [getattr(heic_files, name)] * 24):
                np.testing.assert_array_equal(found, pixels)
