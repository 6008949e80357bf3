"""The command line in an empty folder, and photos for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from command_line import Run, call_main
from PIL import Image


@pytest.fixture
def run_shopwindow(tmp_path: Path) -> Run:
    """Return a function that runs `shopwindow ARGUMENTS` in the test's own folder."""
    return partial(call_main, tmp_path)


@pytest.fixture
def colour_photos(tmp_path: Path) -> Path:
    """A folder with the folders `red` and `blue`, 20 different images in each."""
    folder = tmp_path / "photos"
    for label, colour in (("red", (220, 30, 30)), ("blue", (30, 30, 220))):
        (folder / label).mkdir(parents=True)
        for number in range(20):
            image = Image.new("RGB", (60, 80), colour)
            # A white square that wanders, so that no two are duplicates.
            image.paste((255, 255, 255), (2 * number, 3 * number, 2 * number + 15, 3 * number + 15))
            image.save(folder / label / f"{number:02}.png")
    return folder
