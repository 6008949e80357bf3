"""What the tests of promotion share: photos to paint, and the type of their maker of bundles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from shopwindow.bundle import Bundle

PAINTS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}

MakeBundle = Callable[..., Bundle]


def write_photo(path: Path, paint: tuple[int, int, int], number: int) -> None:
    """A plain photo with a white square that wanders, so that no two are duplicates."""
    image = Image.new("RGB", (12, 16), paint)
    image.paste((255, 255, 255), (number % 10, 0, number % 10 + 2, 1 + number))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
