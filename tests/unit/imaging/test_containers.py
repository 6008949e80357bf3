"""What reaches Pillow of a file, and that it changes no pixel."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from heic_files import WRITTEN_FORMATS
from shopwindow.errors import ImageError
from shopwindow.imaging import containers, tiff
from shopwindow.imaging.decode import decode_image


def noise(mode: str = "RGB") -> Image.Image:
    return Image.effect_noise((24, 16), 80).convert(mode)


def saved(image: Image.Image, format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def test_jpeg_metadata_are_dropped_and_pixels_kept() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(noise(), "JPEG", exif=exif, icc_profile=b"profile" * 9, comment=b"secret")
    stripped, orientation = containers.strip_jpeg(data)
    assert orientation == 6
    for dropped in (b"Exif", b"profile", b"secret"):
        assert dropped in data
        assert dropped not in stripped
    np.testing.assert_array_equal(pixels(stripped), pixels(data))


def test_adobes_segment_stays_in_a_jpeg() -> None:
    assert b"Adobe" in containers.strip_jpeg(saved(noise("CMYK"), "JPEG"))[0]


def test_junk_between_jpeg_segments_is_dropped() -> None:
    data = saved(noise(), "JPEG")
    stripped, _ = containers.strip_jpeg(data[:2] + b"junk\xff\x00\xff\xff" + data[2:])
    np.testing.assert_array_equal(pixels(stripped), pixels(data))


@pytest.mark.parametrize(
    "tail", [b"", b"\xff", b"\xff\xe1", b"\xff\xe1\xff\xff", b"\xff\xe1\x00\x00"]
)
def test_a_jpeg_that_ends_in_its_header_ends_the_walk(tail: bytes) -> None:
    stripped, orientation = containers.strip_jpeg(b"\xff\xd8" + tail)
    assert len(stripped) <= 6
    assert orientation == 1


def test_scans_are_counted_to_the_end_of_the_image() -> None:
    one, ten = saved(noise(), "JPEG"), saved(noise(), "JPEG", progressive=True)
    assert containers.count_jpeg_scans(one) == 1
    assert containers.count_jpeg_scans(ten) == 10
    assert containers.count_jpeg_scans(one + ten) == 1


def test_an_animated_png_keeps_its_default_image_only() -> None:
    data = saved(noise(), "PNG", save_all=True, append_images=[noise(), noise()])
    stripped = containers.strip_png(data)
    assert b"acTL" not in stripped
    assert b"fdAT" not in stripped
    np.testing.assert_array_equal(pixels(stripped), pixels(data))


def test_an_animated_png_without_frames_neither_fails_nor_warns() -> None:
    data = saved(noise(), "PNG", save_all=True, append_images=[noise()])
    at = data.index(b"acTL")
    chunk = b"acTL" + struct.pack(">II", 0, 0)
    broken = data[:at] + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[at + 16 :]
    np.testing.assert_array_equal(decode_image(broken), pixels(data))


def test_what_follows_the_end_of_a_png_is_not_counted() -> None:
    data = saved(noise(), "PNG")
    np.testing.assert_array_equal(decode_image(data + bytes(1_000_000)), decode_image(data))


def test_a_png_without_animation_is_passed_on_untouched() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "b")
    data = saved(noise(), "PNG", pnginfo=info)
    assert containers.strip_png(data) is data


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg", "packbits"])
@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_keeps_its_pixels_and_loses_the_rest(compression: str | None, big: bool) -> None:
    data = saved(
        noise(), "TIFF", compression=compression, big_tiff=big, description="secret", dpi=(9, 9)
    )
    stripped, orientation = tiff.strip_tiff(data)
    with Image.open(io.BytesIO(stripped)) as image:
        assert 270 not in image.tag_v2  # ImageDescription
        assert image.tag_v2.keys() <= tiff.PIXEL_TAGS
    assert orientation == 1
    np.testing.assert_array_equal(pixels(stripped), pixels(data))


def test_a_tiff_of_many_pages_keeps_the_first() -> None:
    data = saved(noise(), "TIFF", save_all=True, append_images=[noise()])
    with Image.open(io.BytesIO(tiff.strip_tiff(data)[0])) as image:
        assert image.n_frames == 1


def test_broken_tiff_tags_neither_fail_nor_warn() -> None:
    data = bytearray(saved(noise(), "TIFF", description="x" * 40))
    at = data.index(struct.pack("<HHI", 270, 2, 41))
    data[at + 4 : at + 12] = struct.pack("<II", 2**31, 2**31)  # 2 GB, far outside the file
    assert decode_image(bytes(data)).shape == (16, 24, 3)


@pytest.mark.parametrize("values", [2, 50])
@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_tag_with_too_many_values_is_read_by_its_first(values: int, big: bool) -> None:
    image = noise()
    data = bytearray(saved(image, "TIFF", compression=None, big_tiff=big))
    at = data.index(struct.pack("<HH", 277, 3))  # SamplesPerPixel: 3
    repeated = struct.pack("<H", 3) * values
    content = struct.pack("<Q" if big else "<I", len(data))
    if len(repeated) <= len(content):
        content = repeated.ljust(len(content), b"\x00")
    count = struct.pack("<Q" if big else "<I", values)
    data[at + 4 : at + 4 + len(count) + len(content)] = count + content
    np.testing.assert_array_equal(decode_image(bytes(data) + repeated), pixels(saved(image, "PNG")))


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_directory_outside_the_file_ends_the_walk(big: bool) -> None:
    head = b"II+\x00\x08\x00\x00\x00" + b"\xff" * 8 if big else b"II*\x00" + b"\xff" * 4
    assert tiff.strip_tiff(head)[1] == 1


@pytest.mark.parametrize(
    "options",
    [{"format": name} for name in WRITTEN_FORMATS] + [{"format": "TIFF", "big_tiff": True}],
)
def test_a_file_cut_in_its_first_half_is_refused_without_a_warning(
    options: dict[str, object],
) -> None:
    data = saved(noise(), str(options.pop("format")), **options)
    for length in [*range(1, 64), *range(64, len(data) // 2, 1 + len(data) // 800)]:
        with pytest.raises(ImageError) as refused:
            decode_image(data[:length])
        assert not isinstance(refused.value.__cause__, Warning), length


def test_a_gif_keeps_its_transparency_and_loses_its_comments() -> None:
    image = noise("P")
    image.info["transparency"] = image.getpixel((0, 0))
    data = saved(image, "GIF", comment=b"secret" * 100)
    stripped, _ = containers.strip_gif(data)
    assert b"secret" in data
    assert b"secret" not in stripped
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(stripped)) as after:
        assert "transparency" in before.info
        np.testing.assert_array_equal(before.convert("RGBA"), after.convert("RGBA"))


@pytest.mark.parametrize("size", [(1, 1), (24, 16), (300, 200)])
def test_the_size_of_a_gif_is_read_without_a_decoder(
    size: tuple[int, int], image_bytes: Callable[..., bytes]
) -> None:
    assert containers.strip_gif(image_bytes("red", size, "GIF"))[1] == size


def test_a_tiff_entry_that_points_outside_the_file_is_left_out() -> None:
    data = bytearray(saved(noise(), "TIFF"))
    at = data.index(struct.pack("<HHI", 258, 3, 3))  # BitsPerSample, needed for the pixels
    data[at + 8 : at + 12] = struct.pack("<I", len(data))
    stripped, _ = tiff.strip_tiff(bytes(data))
    assert struct.pack("<HHI", 258, 3, 3) not in stripped[len(data) :]


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"GIF89a\x05\x00\x05\x00\x00\x00\x00\x21\xff"])
def test_a_gif_without_a_frame_has_no_size(data: bytes) -> None:
    assert containers.strip_gif(data)[1] is None
