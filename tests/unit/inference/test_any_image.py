"""`Predictor.predict` takes what a Python program has for an image."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shopwindow.errors import UnreadableImageError, UnsupportedImageError
from shopwindow.inference.predictor import Predictor

ImageBytes = Callable[..., bytes]


def test_every_kind_of_image_gets_the_same_answer(
    predictor: Predictor, image_bytes: ImageBytes, tmp_path: Path
) -> None:
    blob = image_bytes("red", (60, 80))
    path = tmp_path / "photo.bin"
    path.write_bytes(blob)
    picture = Image.open(io.BytesIO(blob))
    pixels = np.asarray(picture.convert("RGB"))
    (expected,) = predictor.predict_bytes([blob])
    kinds = [path, str(path), blob, picture, pixels]
    assert [predictor.predict(image) for image in kinds] == [expected] * 5
    assert predictor.predict(kinds) == [expected] * 5
    assert predictor.predict(np.stack([pixels, pixels])) == [expected] * 2
    assert predictor.predict([]) == []


def test_a_photo_lies_as_its_camera_was_held(predictor: Predictor) -> None:
    photo = Image.new("RGB", (80, 60), "red")
    photo.paste("blue", (0, 0, 80, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees
    buffer = io.BytesIO()
    photo.save(buffer, "PNG", exif=exif)
    opened = Image.open(io.BytesIO(buffer.getvalue()))
    assert opened.size == (80, 60)
    from_pillow = predictor.predict(opened, explain=True)
    from_bytes = predictor.predict(buffer.getvalue(), explain=True)
    assert from_pillow == from_bytes
    assert from_pillow.activation is not None
    assert from_bytes.activation is not None
    np.testing.assert_array_equal(from_pillow.activation, from_bytes.activation)


def test_transparency_is_white_and_grey_is_a_colour(predictor: Predictor) -> None:
    clear = Image.new("RGBA", (60, 80), (255, 0, 0, 0))
    white = Image.new("RGB", (60, 80), "white")
    assert predictor.predict(clear) == predictor.predict(white)
    grey = np.full((80, 60), 255, np.uint8)
    assert predictor.predict(grey) == predictor.predict(white)


def test_the_only_image_raises_what_one_of_several_returns(
    predictor: Predictor, image_bytes: ImageBytes
) -> None:
    with pytest.raises(UnsupportedImageError):
        predictor.predict(b"no image")
    good, bad = predictor.predict([image_bytes("red"), b"no image"])
    assert not isinstance(good, Exception)
    assert isinstance(bad, UnsupportedImageError)
    cut = Image.open(io.BytesIO(image_bytes("red", (600, 800))[:200]))
    with pytest.raises(UnreadableImageError, match="Pillow image cannot be decoded"):
        predictor.predict(cut)


@pytest.mark.parametrize(
    ("image", "error", "said"),
    [
        (Path("no-such-file.jpg"), FileNotFoundError, "no-such-file"),
        (np.zeros((8, 6, 4), np.uint8), ValueError, r"found \(8, 6, 4\) of uint8"),
        (np.zeros((8, 6, 3)), ValueError, "of float64"),
        (np.zeros((0, 6, 3), np.uint8), ValueError, r"found \(0, 6, 3\)"),
        ([{"image": "photo.jpg"}], TypeError, "found builtins.dict"),
    ],
)
def test_what_is_no_image_is_named(
    predictor: Predictor, image: object, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        predictor.predict(image)  # type: ignore[call-overload]
