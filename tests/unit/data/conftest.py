"""Small image folders, made on the spot."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shopwindow.imaging.preprocess import ResizeRule


@pytest.fixture
def rule() -> ResizeRule:
    return ResizeRule(16, 12)


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """Return a function that paints a picture of coarse squares; another seed, another picture."""

    def paint(seed: int, size: tuple[int, int] = (60, 80)) -> Image.Image:
        squares = np.random.default_rng(seed).integers(0, 256, (8, 6, 3), dtype=np.uint8)
        return Image.fromarray(squares).resize(size, Image.Resampling.BICUBIC)

    return paint


@pytest.fixture
def write_pictures(picture: Callable[..., Image.Image]) -> Callable[..., None]:
    """Return a function that writes different pictures under the given names."""

    def write(folder: Path, *names: str, first_seed: int = 0) -> None:
        for seed, name in enumerate(names, start=first_seed):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(seed).save(path)

    return write


@pytest.fixture
def picture_bytes(picture: Callable[..., Image.Image]) -> Callable[[int], bytes]:
    def encode(seed: int) -> bytes:
        buffer = io.BytesIO()
        picture(seed).save(buffer, "PNG")
        return buffer.getvalue()

    return encode
