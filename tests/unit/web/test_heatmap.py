"""The map as a picture: warm where it spoke for the answer, clear where it did not."""

from __future__ import annotations

import base64
import io
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from shopwindow.imaging.preprocess import ResizeMethod, ResizeRule
from shopwindow.web.heatmap import FIT, heatmap_uri


def opacity(uri: str | None) -> np.ndarray:
    assert uri is not None
    content = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))[:, :, 3]


def test_map_is_opaque_where_the_evidence_is_and_clear_elsewhere() -> None:
    activation = np.full((5, 4), -3, np.float32)
    activation[1, 2] = 8
    found = opacity(heatmap_uri(activation, ResizeRule(80, 60)))
    assert found.shape == (80, 60)
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert (row // 16, column // 15) == (1, 2)
    assert found.max() > 150
    assert found[60:].max() == 0


def test_map_lies_in_the_middle_where_the_rule_crops_the_middle() -> None:
    rule = ResizeRule(32, 32, "shorter-side", scaled_px=(64, 64))
    found = opacity(heatmap_uri(np.ones((2, 2), np.float32), rule))
    assert found.shape == (64, 64)
    assert found[20:44, 20:44].min() > 150
    assert found[:14].max() == found[:, :14].max() == 0


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_there_is_no_map_without_evidence_for_the_answer(value: float) -> None:
    assert heatmap_uri(np.full((5, 4), value, np.float32), ResizeRule(80, 60)) is None


def test_every_resize_rule_can_be_undone_on_the_page() -> None:
    assert set(FIT) == set(get_args(ResizeMethod))
