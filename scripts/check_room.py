"""Stop with a sentence where a disk has no room for an environment, before anything is installed.

    python scripts/check_room.py .venv-dev 7400 3600

The numbers are MB of 1,000,000 bytes, as measured on Linux: of the environment, and of the
downloads that pip keeps in TMPDIR until all is installed. On other systems, where no CUDA comes
with PyTorch, it is a fraction of that, and nothing is checked.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path


def check_room(environment: Path, installed_mb: int, downloads_mb: int) -> str | None:
    """Return what is missing, or None.

    Args:
        environment: Its folder, which need not exist; what is in it counts as free, for it is
            replaced.
        installed_mb: What it will take.
        downloads_mb: What pip keeps in the folder for temporary files.
    """
    disk = next(parent for parent in (environment, *environment.parents) if parent.exists())
    downloads = Path(tempfile.gettempdir())  # as pip looks for it
    needed = {disk: installed_mb - _taken_mb(environment)}
    if disk.stat().st_dev == downloads.stat().st_dev:
        needed[disk] += downloads_mb
    else:
        needed[downloads] = downloads_mb
    for folder, needed_mb in needed.items():
        free_mb = shutil.disk_usage(folder).free // 1_000_000
        if free_mb < needed_mb:
            elsewhere = "set TMPDIR" if folder == downloads else "work"
            return (
                f"expected {needed_mb:,} MB of free disk in {folder} to make {environment.name}, "
                f"found {free_mb:,} MB; make room, or {elsewhere} where there is more"
            )
    return None


def _taken_mb(folder: Path) -> int:
    files = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_blocks * 512 for file in files) // 1_000_000


if __name__ == "__main__" and sys.platform == "linux":
    missing = check_room(Path(os.path.realpath(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]))
    if missing:
        sys.exit(f"shopwindow: {missing}")
