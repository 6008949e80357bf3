"""`kill -9` at any moment, and the same command again: no row is lost, doubled or made twice."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
from command_line import Run, run_until

pytestmark = pytest.mark.slow

ROWS = 1500

Moment = Callable[[Path], bool]


@pytest.fixture
def photo_list(colour_photos: Path) -> Path:
    """A table of 1,500 photos, among them some that are not there: 12 shards."""
    photos = sorted(path.relative_to(colour_photos) for path in colour_photos.glob("*/*.png"))
    lines = [str(photos[n % 40]) if n % 100 else f"gone-{n}.png" for n in range(ROWS)]
    path = colour_photos / "list.csv"
    path.write_text("image\n" + "\n".join(lines) + "\n")
    return path


def finished_parts(folder: Path) -> dict[str, int]:
    """Return when each part that counts was written (ns)."""
    with contextlib.suppress(FileNotFoundError):
        lines = (folder / "_done.jsonl").read_text().splitlines()
        names = [json.loads(line)["shard"] for line in lines if line.endswith("}")]
        return {name: (folder / f"{name}.csv").stat().st_mtime_ns for name in names}
    return {}


MOMENTS: dict[str, Moment] = {
    "while the inputs are listed": lambda folder: (folder / "_inputs").exists(),
    "when the manifest is there": lambda folder: (folder / "_manifest.json").exists(),
    "after the first part": lambda folder: len(finished_parts(folder)) >= 1,
    "after some more": lambda folder: len(finished_parts(folder)) >= 4,
    "shortly before the end": lambda folder: len(finished_parts(folder)) >= 9,
}


def test_killed_at_several_moments_a_run_ends_with_every_row_once(
    run_shopwindow: Run, colour_bundle: Path, photo_list: Path, tmp_path: Path
) -> None:
    options = (str(photo_list), "--model", str(colour_bundle), "--workers", "2", "--output")
    assert run_shopwindow("predict", *options, "clean.csv").returncode == 1

    folder = tmp_path / "killed.csv.partial"
    earlier: dict[str, int] = {}
    for what, has_come in MOMENTS.items():
        run = subprocess.Popen(
            [sys.executable, "-m", "shopwindow", "predict", *options, "killed.csv"],
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        run_until(run, partial(has_come, folder))
        workers = psutil.Process(run.pid).children()
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        # Those who worked for it stop as well, and do not slow down the next run.
        _, left = psutil.wait_procs(workers, timeout=30)
        assert not left, what
        assert not (tmp_path / "killed.csv").exists(), what
        parts = finished_parts(folder)
        assert earlier.items() <= parts.items(), f"a finished part was written again: {what}"
        earlier = parts

    last = run_shopwindow("predict", *options, "killed.csv")
    assert last.returncode == 1  # 15 photos are not there, counted over all runs
    assert f"15 of {ROWS:,} inputs could not be predicted" in last.stderr
    assert f"Resuming: {128 * len(earlier):,} of {ROWS:,} rows are already written." in last.stderr
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "clean.csv").read_bytes()
    with (tmp_path / "killed.csv").open(newline="", encoding="utf-8-sig") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    expected = photo_list.read_text().split()[1:]
    assert paths == [f"{photo_list.parent}/{name}" for name in expected]
    assert not folder.exists()
