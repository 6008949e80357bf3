"""Decoding big photos with fewer pixels changes next to no answer of the bundled model."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shopwindow.bundle import bundled_model_path
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.preprocess import preprocess
from shopwindow.inference.predictor import Predictor, load_predictor


@pytest.fixture(scope="module")
def fashion() -> Predictor:
    return load_predictor(bundled_model_path())


def enlarged(path: Path, factor: float) -> bytes:
    photo = Image.open(path)
    size = round(photo.width * factor), round(photo.height * factor)
    buffer = io.BytesIO()
    photo.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def count_agreeing(fashion: Predictor, photos: Iterable[bytes]) -> tuple[int, int]:
    """Return on how many of how many photos the first answer is that of the full decode."""
    full, shrunk = [], []
    rule = fashion.bundle.info.rule
    for photo in photos:
        full.append(preprocess(decode_image(photo), rule))
        shrunk.append(fashion.prepare(photo))
    main = fashion.bundle.info.main.name
    first = [fashion.probabilities(np.stack(images))[main].argmax(1) for images in (full, shrunk)]
    return int((first[0] == first[1]).sum()), len(full)


def test_first_answer_is_that_of_the_full_decode_on_99_and_a_half_per_cent_of_catalogue_photos(
    fashion: Predictor, large_photos: Path
) -> None:
    agreeing, photos = count_agreeing(
        fashion, (path.read_bytes() for path in sorted(large_photos.rglob("*.jpg")))
    )
    assert photos >= 70
    assert agreeing >= 0.995 * photos


def test_first_answer_is_that_of_the_full_decode_on_99_and_a_half_per_cent_of_phone_photos(
    fashion: Predictor, phone_photos: Path
) -> None:
    """Of some 500 x 700 pixels, and for a few of 12 million, as phones take them."""
    paths = sorted(phone_photos.rglob("*.jpg"))
    agreeing, photos = count_agreeing(
        fashion,
        (
            *(enlarged(path, 3.6) for path in paths[::16]),
            *(enlarged(path, 20.83) for path in paths[5::500]),
        ),
    )
    assert photos >= 200
    assert agreeing >= 0.995 * photos
