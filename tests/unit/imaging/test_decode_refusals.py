"""What is refused, how, and before what is spent on it."""

import contextlib
import io
import pickle
import struct
import time
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from heic_files import PLAIN, WRITTEN_FORMATS
from shopwindow.errors import (
    ImageError,
    OversizedImageError,
    UnreadableImageError,
    UnsupportedImageError,
)
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.limits import ImageLimits
from shopwindow.settings import HIGHEST_MAX_PIXELS


@pytest.mark.parametrize("data", [b"hello", pickle.dumps([1]), b"\x89PN", b"\x00" * 100])
def test_what_is_no_image_is_refused_naming_the_accepted_formats(data: bytes) -> None:
    with pytest.raises(UnsupportedImageError, match="expected JPEG, PNG, WEBP, HEIC, AVIF, GIF"):
        decode_image(data)


def test_empty_file_is_called_just_that() -> None:
    with pytest.raises(UnsupportedImageError, match=r"^This file is empty\. Choose another one"):
        decode_image(b"")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  ", "QuickTime film"),
        (b"MM\x00+\x00\x08\x00\x00", "BigTIFF in big-endian order"),
        (b"\x00\x00\x00\x14ftypisom\x00\x00\x02\x00mp41", "MP4 film"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04", "ZIP"),
        (b"PK\x05\x06" + bytes(18), "ZIP"),
    ],
)
def test_a_known_format_that_is_not_accepted_is_named(data: bytes, name: str) -> None:
    with pytest.raises(UnsupportedImageError, match=f"of the format {name}: expected JPEG"):
        decode_image(data)


@pytest.mark.parametrize("format_", WRITTEN_FORMATS)
def test_more_pixels_than_the_limit_are_refused_with_both_figures(
    format_: str, image_bytes: Callable[..., bytes]
) -> None:
    data = image_bytes("red", (300, 200), format_)
    assert decode_image(data, limits=ImageLimits(max_pixels=60_000)).shape == (200, 300, 3)
    with pytest.raises(OversizedImageError, match=r"300 x 200 pixels; at most 0\.059999 million"):
        decode_image(data, limits=ImageLimits(max_pixels=59_999))


@pytest.mark.parametrize("format_", WRITTEN_FORMATS)
def test_half_an_image_is_unreadable(format_: str, image_bytes: Callable[..., bytes]) -> None:
    data = image_bytes("red", (300, 200), format_)
    with pytest.raises(UnreadableImageError, match=f"This {format_} image is damaged, incomplete"):
        decode_image(data[: len(data) // 2])


def huge(format_: str) -> bytes:
    """A tiny file whose header claims 60,000 x 60,000 pixels (WebP can say 16,384 at most)."""
    if format_ == "PNG":
        ihdr = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
        return (
            b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"
            + ihdr
            + struct.pack(">I", zlib.crc32(ihdr))
            + bytes(4)
            + b"IDAT"
        )
    if format_ == "JPEG":
        sof = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 60_000, 60_000)
        return (
            b"\xff\xd8"
            + sof
            + b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xda\x00\x08"
            + bytes(6)
        )
    if format_ == "GIF":
        return b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b"," + bytes(9)
    if format_ == "BMP":
        head = struct.pack("<IiiHHI", 40, 60_000, 60_000, 1, 24, 0) + bytes(20)
        return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head
    if format_ == "WEBP":
        side = (16_383).to_bytes(3, "little")
        return b"RIFF\x16\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x10\x00\x00\x00" + side + side
    if format_ == "PPM":
        return b"P6 60000 60000 255\n"
    if format_ == "AVIF":
        buffer = io.BytesIO()
        Image.new("RGB", (40, 40)).save(buffer, "AVIF")
        side = struct.pack(">II", 60_000, 60_000)
        return buffer.getvalue().replace(struct.pack(">II", 40, 40), side)
    entries = [(256, 4, 60_000), (257, 4, 60_000), (258, 3, 8), (259, 3, 1), (262, 3, 1)]
    entries += [(273, 4, 8), (277, 3, 1), (278, 4, 60_000), (279, 4, 8)]
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(entries)) + table + bytes(4)


@pytest.mark.parametrize("format_", WRITTEN_FORMATS)
def test_a_tiny_file_that_claims_a_huge_size_is_refused_from_its_header(format_: str) -> None:
    data = huge(format_)
    assert len(data) < 400
    with pytest.raises(OversizedImageError, match="at most 50 million"):
        decode_image(data)


def test_a_huge_first_frame_on_a_small_gif_canvas_is_refused() -> None:
    frame = b"," + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0)
    with pytest.raises(OversizedImageError, match="60,000 x 60,000"):
        decode_image(b"GIF89a" + struct.pack("<HHBBB", 5, 5, 0, 0, 0) + frame)


def test_a_jpeg_with_hundreds_of_scans_is_refused_unread() -> None:
    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    assert decode_image(data).shape == (64, 64, 3)
    with pytest.raises(UnreadableImageError, match="scans; at most 100 are accepted"):
        decode_image(data[:-2] + last_scan * 150 + b"\xff\xd9")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def _tiff_of_strips(count: int) -> bytes:
    """A TIFF of 8 x `count` pixels in as many strips, which all lie in the same byte."""
    at = 8 + 2 + 9 * 12 + 4
    entries = [
        (256, 4, 1, 8), (257, 4, 1, count), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, count, at), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, count, at + 4 * count),
    ]  # fmt: skip
    directory = struct.pack("<H", 9) + b"".join(struct.pack("<HHII", *one) for one in entries)
    numbers = struct.pack("<I", 8) * count + struct.pack("<I", 1) * count
    return b"II*\x00\x08\x00\x00\x00" + directory + bytes(4) + numbers


@pytest.mark.parametrize(
    ("format_", "cut"),
    [
        ("JPEG", lambda start, rest: start[:2] + b"\xff" * 10_000_000 + rest),
        ("JPEG", lambda start, rest: start[:2] + b"\xff\x01" * 5_000_000 + rest),
        ("JPEG", lambda start, rest: start[:2] + b"\xff\xe0\x00\x02" * 2_500_000 + rest),
        ("JPEG", lambda start, rest: start[:2] + b"\xff\xfe\x00\x02" * 2_500_000 + rest),
        ("JPEG", lambda start, rest: start[:2] + rest[:-2] + b"\xff\x01" * 5_000_000),
        ("JPEG", lambda start, rest: start[:2] + rest[:-2] + b"\xff\xfe\x00\x02" * 2_500_000),
        ("GIF", lambda start, rest: start + b"\x00" * 10_000_000 + rest),
        ("GIF", lambda start, rest: start + b"!\xfe" + b"\x01a" * 5_000_000 + b"\x00" + rest),
        ("GIF", lambda start, rest: start + b"!\xfe\x00" * 3_000_000 + rest),
        ("GIF", lambda start, rest: start + b"!\xf9\x04\x00\x00\x00\x00\x00" * 1_250_000 + rest),
        ("PNG", lambda start, rest: start + _chunk(b"prIv", b"") * 800_000 + rest),
        ("PNG", lambda start, rest: start + _chunk(b"tEXt", b"a\x00b") * 600_000 + rest),
        ("PNG", lambda start, rest: start + _chunk(b"IDAT", b"") * 800_000 + rest),
        ("TIFF", lambda start, rest: _tiff_of_strips(1_200_000)),
        ("TIFF", lambda start, rest: _tiff_of_strips(65_536)),
    ],
)
def test_a_file_cut_into_millions_of_pieces_is_done_with_in_two_seconds(
    format_: str, cut: Callable[[bytes, bytes], bytes], image_bytes: Callable[..., bytes]
) -> None:
    sound = image_bytes("red", (9, 9), format_)
    header_bytes = {"JPEG": 2, "PNG": 33, "GIF": 13 + 3 * 2 ** ((sound[10] & 7) + 1), "TIFF": 8}[
        format_
    ]
    data = cut(sound[:header_bytes], sound[header_bytes:])
    start = time.process_time()  # what other programs do at the time does not count
    with contextlib.suppress(ImageError):
        decode_image(data)
    assert time.process_time() - start < 2


def test_an_image_one_pixel_wide_and_millions_high_is_refused() -> None:
    header = struct.pack(">IIBBBBB", 1, 49_000_000, 1, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"")
    with pytest.raises(OversizedImageError, match="longest side accepted is 100,000"):
        decode_image(data)


def test_a_tiff_tile_far_larger_than_the_image_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("L", (16, 16)).save(buffer, "TIFF", compression="tiff_adobe_deflate")
    data, order = buffer.getvalue(), "<"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    old = data[directory + 2 : directory + 2 + 12 * count]
    entries = {old[at : at + 2]: old[at : at + 12] for at in range(0, len(old), 12)}
    for tag, value in ((322, 60_000), (323, 60_000), (324, 8), (325, 8)):
        entry = struct.pack("<HHII", tag, 4, 1, value)
        entries[entry[:2]] = entry
    table = b"".join(sorted(entries.values(), key=lambda e: int.from_bytes(e[:2], "little")))
    bomb = data[:4] + struct.pack("<I", len(data)) + data[8:]
    bomb += struct.pack("<H", len(entries)) + table + bytes(4)
    with pytest.raises(OversizedImageError, match="60,000 x 60,000"):
        decode_image(bomb)


def test_pillows_globals_are_left_alone(image_bytes: Callable[..., bytes]) -> None:
    decode_image(image_bytes())
    assert Image.MAX_IMAGE_PIXELS == 1024**3 // 12  # as Pillow has it
    assert Image.MAX_IMAGE_PIXELS > HIGHEST_MAX_PIXELS
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("limit", [0, -1, HIGHEST_MAX_PIXELS + 1])
def test_a_limit_that_could_not_be_kept_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="max_pixels: expected 1 to 89,000,000"):
        ImageLimits(max_pixels=limit)


def samples() -> list[bytes]:
    pixels = Image.effect_mandelbrot((24, 16), (-2, -1, 1, 1), 20).convert("RGBA")
    made = [PLAIN]
    for format_ in WRITTEN_FORMATS:
        for options in ({}, {"compression": "tiff_lzw"}, {"progressive": True}):
            buffer = io.BytesIO()
            mode = "RGB" if format_ in {"JPEG", "BMP", "GIF", "PPM"} else "RGBA"
            pixels.convert(mode).save(buffer, format_, **options)
            made.append(buffer.getvalue())
    return made


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.sampled_from(samples()),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    st.integers(0, 2000),
)
def test_damaged_files_give_pixels_or_one_of_our_errors(
    data: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    damaged = bytearray(data)
    for position, value in changes:
        damaged[position % len(damaged)] = value
    with contextlib.suppress(ImageError):
        pixels = decode_image(
            bytes(damaged[: max(cut, 10)]), limits=ImageLimits(max_pixels=1_000_000)
        )
        assert pixels.shape[2] == 3
