"""Which formats are accepted and how many frames, told from the content before anything else."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import pytest
from PIL import Image

from heic_files import WRITTEN_FORMATS
from shopwindow.errors import ImageError, OversizedImageError, UnsupportedImageError
from shopwindow.imaging.decode import decode_image, has_more_frames
from shopwindow.imaging.limits import ImageLimits
from shopwindow.settings import ACCEPTED_FORMATS

SEVERAL = ("GIF", "PNG", "TIFF", "WEBP")


def of_frames(format_: str, count: int, **options: object) -> bytes:
    """Return an animation, or a document, of so many different frames."""
    frames = [Image.effect_noise((20, 16), 20 + 9 * number).convert("L") for number in range(count)]
    buffer = io.BytesIO()
    frames[0].save(buffer, format_, save_all=True, append_images=frames[1:], **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format_", WRITTEN_FORMATS)
def test_format_that_is_not_on_the_list_is_refused_by_its_content(
    format_: str, image_bytes: Callable[..., bytes]
) -> None:
    data = image_bytes("red", (30, 20), format_)
    others = tuple(name for name in ACCEPTED_FORMATS if name != format_)
    assert decode_image(data, limits=ImageLimits(formats=(format_,))).shape == (20, 30, 3)
    with pytest.raises(UnsupportedImageError) as caught:
        decode_image(data, limits=ImageLimits(formats=others))
    found = f"This is a file of the format {format_}: expected {', '.join(others)}."
    assert str(caught.value) == found


@pytest.mark.parametrize("format_", [*SEVERAL, "AVIF"])
@pytest.mark.parametrize("count", [2, 5])
def test_more_frames_than_the_limit_are_refused_and_as_many_are_not(
    format_: str, count: int
) -> None:
    data = of_frames(format_, count)
    for most in (0, count, count + 1):
        assert decode_image(data, limits=ImageLimits(max_frames=most)).shape == (16, 20, 3)
    with pytest.raises(OversizedImageError, match=r"more than .+ (frame|page)s?\. Send a s"):
        decode_image(data, limits=ImageLimits(max_frames=count - 1))


@pytest.mark.parametrize("format_", WRITTEN_FORMATS)
def test_single_picture_has_one_frame(format_: str, image_bytes: Callable[..., bytes]) -> None:
    for size in ((40, 40), (300, 200)):
        data = image_bytes("red", size, format_)
        assert decode_image(data, limits=ImageLimits(max_frames=1)).shape[:2] == size[::-1]


def test_gif_with_its_own_colours_in_each_frame_is_counted_right() -> None:
    area = (-2, -1, 1, 1)
    frames = [Image.effect_mandelbrot((30, 30), area, 90 + n).convert("P") for n in range(2)]
    frames[1].putpalette([255 - value for value in frames[1].getpalette() or ()])
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], loop=0, comment=b",,;")
    assert has_more_frames("GIF", buffer.getvalue(), 1)
    assert not has_more_frames("GIF", buffer.getvalue(), 2)


@pytest.mark.parametrize("big", [False, True])
def test_pages_of_a_tiff_are_counted_in_both_kinds(big: bool) -> None:
    data = of_frames("TIFF", 3, big_tiff=big)
    assert has_more_frames("TIFF", data, 2)
    assert not has_more_frames("TIFF", data, 3)


def test_tiff_whose_pages_go_in_a_circle_ends() -> None:
    page = struct.pack("<H", 0) + struct.pack("<I", 8)
    assert not has_more_frames("TIFF", b"II*\x00" + struct.pack("<I", 8) + page, 1)
    two = struct.pack("<HI", 0, 14) + struct.pack("<HI", 0, 8)
    data = b"II*\x00" + struct.pack("<I", 8) + two
    assert has_more_frames("TIFF", data, 1)
    assert not has_more_frames("TIFF", data, 2)


def test_pictures_that_a_phone_appends_are_no_frames() -> None:
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (4, 4), "blue")
    buffer = io.BytesIO()
    red.save(buffer, "MPO", save_all=True, append_images=[blue])
    assert decode_image(buffer.getvalue(), limits=ImageLimits(max_frames=1)).shape == (8, 8, 3)


@pytest.mark.parametrize("format_", SEVERAL)
def test_damaged_file_is_counted_to_where_it_can_be(format_: str) -> None:
    data = of_frames(format_, 3)
    for cut in range(0, len(data), 7):
        has_more_frames(format_, data[:cut], 2)  # whatever it says, it says so
        has_more_frames(format_, data[:cut] + bytes(40), 2)
        has_more_frames(format_, data[:cut] + b"\xff" * 40, 2)


def test_millions_of_blocks_in_a_gif_are_one_of_our_errors() -> None:
    data = b"GIF89a" + struct.pack("<HHBBB", 5, 5, 0, 0, 0) + b"!\xfe" + b"\x01a" * 500_000
    with pytest.raises(ImageError):
        decode_image(data, limits=ImageLimits(max_frames=1))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"formats": ()}, "formats: expected some of JPEG, PNG"),
        ({"formats": ("JXL",)}, "formats: expected some of JPEG, PNG"),
        ({"max_frames": -1}, "max_frames: expected at least 0, got -1"),
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ImageLimits(**wrong)  # type: ignore[arg-type]
