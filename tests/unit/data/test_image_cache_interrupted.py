"""Builds that are killed, run out of room, or race each other, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shopwindow.data.cache import open_cache
from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.spec import DataSpec
from shopwindow.imaging.preprocess import ResizeRule

BUILD = """
import os, resource, signal, sys
from dataclasses import replace
from pathlib import Path
from shopwindow.data.cache import open_cache
from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.spec import DataSpec
from shopwindow.errors import ShopwindowError
from shopwindow.imaging.preprocess import ResizeRule

class Interrupting:
    "Reads like the source that it wraps, until it comes to image 250."
    def __init__(self, source, number):
        self.root, self.stamp, self.source, self.number = source.root, source.stamp, source, number
    def read_bytes(self, reference):
        if reference.endswith("250.png"):
            os.kill(os.getpid(), self.number)
        return self.source.read_bytes(reference)

shop, cache_dir, how = sys.argv[1:]
catalogue = read_catalogue(DataSpec(Path(shop)))
if how in ("SIGKILL", "SIGINT"):
    catalogue = replace(catalogue, source=Interrupting(catalogue.source, getattr(signal, how)))
elif how == "disk full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
elif how == "race":
    print("ready", flush=True)
    sys.stdin.readline()
try:
    open_cache(catalogue, ResizeRule(16, 12), Path(cache_dir), progress=False)
except ShopwindowError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def shop(tmp_path: Path, write_pictures: Callable[..., None]) -> Path:
    write_pictures(tmp_path / "shop", *(f"Heels/{number:03}.png" for number in range(400)))
    return tmp_path / "shop"


@pytest.fixture
def expected(shop: Path, tmp_path: Path, rule: ResizeRule) -> np.ndarray:
    """The images, built without any interruption."""
    cache = open_cache(
        read_catalogue(DataSpec(shop)), rule, tmp_path / "undisturbed", progress=False
    )
    return cache.images_nhwc


def build(shop: Path, cache_dir: Path, how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BUILD, str(shop), str(cache_dir), how]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_killed_build_is_never_used(
    shop: Path, tmp_path: Path, rule: ResizeRule, expected: np.ndarray
) -> None:
    cache_dir = tmp_path / "cache"
    assert build(shop, cache_dir, "SIGKILL").returncode == -signal.SIGKILL
    (left,) = cache_dir.iterdir()
    assert left.name.startswith(".building-")
    cache = open_cache(read_catalogue(DataSpec(shop)), rule, cache_dir, progress=False)
    np.testing.assert_array_equal(cache.images_nhwc, expected)


def test_what_a_killed_build_left_is_removed_a_day_later(
    shop: Path, tmp_path: Path, rule: ResizeRule
) -> None:
    cache_dir = tmp_path / "cache"
    build(shop, cache_dir, "SIGKILL")
    (left,) = cache_dir.iterdir()
    open_cache(read_catalogue(DataSpec(shop)), ResizeRule(8, 8), cache_dir, progress=False)
    assert left.exists(), "it may be another process that is still building"
    two_days_ago = time.time() - 48 * 3600
    os.utime(left, (two_days_ago, two_days_ago))
    open_cache(read_catalogue(DataSpec(shop)), rule, cache_dir, progress=False)
    assert not left.exists()


def test_cache_that_nothing_opened_for_three_months_is_removed_when_another_is_built(
    shop: Path, tmp_path: Path, rule: ResizeRule
) -> None:
    cache_dir = tmp_path / "cache"
    catalogue = read_catalogue(DataSpec(shop))
    forgotten, used = (
        open_cache(catalogue, ResizeRule(side, side), cache_dir, progress=False).folder
        for side in (8, 9)
    )
    others = {cache_dir / name for name in ("photos", ".building-site", 32 * "d")}
    for folder in others:
        folder.mkdir()
        (folder / "somebody else's").write_text("")
    long_ago = time.time() - 91 * 24 * 3600
    for folder in cache_dir.iterdir():
        os.utime(folder, (long_ago, long_ago))
    open_cache(catalogue, ResizeRule(9, 9), cache_dir, progress=False)
    assert forgotten.exists(), "room is made when a cache is built, not when one is opened"
    new = open_cache(catalogue, rule, cache_dir, progress=False).folder
    assert set(cache_dir.iterdir()) == {used, new, *others}


def test_build_that_is_interrupted_by_ctrl_c_leaves_nothing(shop: Path, tmp_path: Path) -> None:
    result = build(shop, tmp_path / "cache", "SIGINT")
    assert "KeyboardInterrupt" in result.stderr
    assert list((tmp_path / "cache").iterdir()) == []


def test_full_disk_is_a_sentence_and_leaves_nothing(shop: Path, tmp_path: Path) -> None:
    result = build(shop, tmp_path / "cache", "disk full")
    assert result.returncode == 1
    assert "cannot be written to" in result.stderr
    assert "Traceback" not in result.stderr
    assert list((tmp_path / "cache").iterdir()) == []


def test_processes_that_build_at_once_end_with_one_whole_cache(
    shop: Path, tmp_path: Path, rule: ResizeRule, expected: np.ndarray
) -> None:
    cache_dir = tmp_path / "cache"
    command = [sys.executable, "-c", BUILD, str(shop), str(cache_dir), "race"]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.communicate("go\n", timeout=120)
    assert [process.returncode for process in processes] == [0, 0, 0]
    (folder,) = cache_dir.iterdir()
    cache = open_cache(read_catalogue(DataSpec(shop)), rule, cache_dir, progress=False)
    assert cache.folder == folder
    np.testing.assert_array_equal(cache.images_nhwc, expected)
