"""The command line as people run it: another process, with its exit code and both outputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import Completed, Run
from PIL import Image


@pytest.fixture
def run_shopwindow(tmp_path: Path) -> Run:
    """Run `python -m shopwindow ARGUMENTS` in an empty folder."""

    def run(*arguments: str | Path, **options: Any) -> Completed:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("SHOPWINDOW_")
        }
        environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache")} | options.pop("env", {})
        return subprocess.run(
            [sys.executable, "-m", "shopwindow", *map(str, arguments)],
            cwd=options.pop("cwd", tmp_path),
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            **options,
        )

    return run


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
