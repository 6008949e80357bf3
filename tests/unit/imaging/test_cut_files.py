"""A file that did not arrive whole is refused, or nothing of its picture is missing."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from heic_files import GRID
from shopwindow.errors import ImageError
from shopwindow.imaging.decode import decode_image


def saved(format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((60, 40), 90).convert("RGB").save(buffer, format_, **options)
    return buffer.getvalue()


FILES = {
    "JPEG": saved("JPEG"),
    "progressive JPEG": saved("JPEG", progressive=True),
    "PNG": saved("PNG"),
    "WebP": saved("WEBP"),
    "lossless WebP": saved("WEBP", lossless=True),
    "GIF": saved("GIF"),
    "BMP": saved("BMP"),
    "TIFF": saved("TIFF"),
    "packed TIFF": saved("TIFF", compression="tiff_lzw"),
    "AVIF": saved("AVIF"),
    "HEIC": GRID,
    "PPM": saved("PPM"),
}


@pytest.mark.parametrize("name", FILES)
def test_cut_file_is_refused_or_whole(name: str) -> None:
    data = FILES[name]
    whole = decode_image(data)
    answered = []
    for length in [*range(12, len(data) - 200, 23), *range(max(12, len(data) - 200), len(data))]:
        try:
            pixels = decode_image(data[:length])
        except ImageError:
            continue
        np.testing.assert_array_equal(pixels, whole, err_msg=f"{length} of {len(data)} bytes")
        answered.append(length)
    assert all(length > len(data) - 30 for length in answered), "only what ends a file may lack"
