"""Decoding big photos with fewer pixels changes next to no answer of the bundled model."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shopwindow.bundle import bundled_model_path
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.preprocess import preprocess
from shopwindow.inference.predictor import Predictor, load_predictor

pytestmark = pytest.mark.slow

LEAST = 0.995
Images = NDArray[np.uint8]


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def fashion(request: pytest.FixtureRequest) -> Predictor:
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    return load_predictor(bundled_model_path(), engine=request.param)


def enlarged(path: Path, factor: float) -> bytes:
    photo = Image.open(path)
    size = round(photo.width * factor), round(photo.height * factor)
    buffer = io.BytesIO()
    photo.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def decoded(photos: Iterable[bytes]) -> tuple[Images, Images]:
    """Return each photo at the size of the model, decoded in full and as a server does."""
    predictor = load_predictor(bundled_model_path())
    rule = predictor.bundle.info.rule
    pairs = [(preprocess(decode_image(one), rule), predictor.prepare(one)) for one in photos]
    full, shrunk = zip(*pairs, strict=True)
    return np.stack(full), np.stack(shrunk)


@pytest.fixture(scope="module")
def phones(phone_photos: Path) -> tuple[Images, Images]:
    """Of some 500 x 700 pixels, and for a few of 12 million, as phones take them."""
    paths = sorted(phone_photos.rglob("*.jpg"))
    return decoded(
        (
            *(enlarged(path, 3.6) for path in paths[::3]),
            *(enlarged(path, 20.83) for path in paths[5::500]),
        )
    )


def agreement(fashion: Predictor, pairs: tuple[Images, Images]) -> float:
    """Return on which share of photos the first answer is that of the full decode."""
    main = fashion.bundle.info.main.name
    full, shrunk = (fashion.probabilities(images)[main].argmax(1) for images in pairs)
    return float((full == shrunk).mean())


def test_first_answer_is_that_of_the_full_decode_on_99_and_a_half_per_cent_of_catalogue_photos(
    fashion: Predictor, large_photos: Path
) -> None:
    pairs = decoded(path.read_bytes() for path in sorted(large_photos.rglob("*.jpg")))
    assert len(pairs[0]) >= 70
    assert agreement(fashion, pairs) >= LEAST


def test_first_answer_is_that_of_the_full_decode_on_99_and_a_half_per_cent_of_phone_photos(
    fashion: Predictor, phones: tuple[Images, Images]
) -> None:
    """A thousand of them: of two hundred, one more or less decides, and is chance."""
    assert len(phones[0]) >= 1000
    assert agreement(fashion, phones) >= LEAST
