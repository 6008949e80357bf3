from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shopwindow.data.cache import default_cache_dir, open_cache
from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.labelled_images import LabelledImages
from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.preprocess import ResizeRule, preprocess


@pytest.fixture
def shop(tmp_path: Path, write_pictures: Callable[..., None]) -> Path:
    """A class folder with 300 images: more than two chunks."""
    write_pictures(tmp_path / "shop", *(f"Heels/{number:03}.jpg" for number in range(300)))
    return tmp_path / "shop"


@pytest.fixture
def catalogue(shop: Path) -> LabelledImages:
    return read_catalogue(DataSpec(shop))


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_every_image_is_what_decode_and_preprocess_give(
    catalogue: LabelledImages, rule: ResizeRule, cache_dir: Path
) -> None:
    cache = open_cache(catalogue, rule, cache_dir, progress=False)
    expected = [
        preprocess(decode_image(catalogue.read_bytes(index)), rule)
        for index in range(len(catalogue))
    ]
    assert cache.failures == {}
    np.testing.assert_array_equal(cache.images_nhwc, np.stack(expected))


def test_images_are_mapped_into_memory_and_cannot_be_changed(
    catalogue: LabelledImages, rule: ResizeRule, cache_dir: Path
) -> None:
    cache = open_cache(catalogue, rule, cache_dir, progress=False)
    assert isinstance(cache.images_nhwc, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        cache.images_nhwc[0] = 0


def test_second_open_decodes_nothing(
    catalogue: LabelledImages,
    rule: ResizeRule,
    cache_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = open_cache(catalogue, rule, cache_dir)
    assert "300/300" in capsys.readouterr().err
    built = (first.folder / "images.npy").stat().st_ino
    second = open_cache(catalogue, rule, cache_dir)
    assert capsys.readouterr().err == ""
    assert (second.folder / "images.npy").stat().st_ino == built


def test_progress_can_be_silenced(
    catalogue: LabelledImages,
    rule: ResizeRule,
    cache_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    open_cache(catalogue, rule, cache_dir, progress=False)
    assert capsys.readouterr() == ("", "")


def test_changed_file_is_decoded_again(
    shop: Path,
    rule: ResizeRule,
    cache_dir: Path,
    write_pictures: Callable[..., None],
) -> None:
    before = (
        open_cache(read_catalogue(DataSpec(shop)), rule, cache_dir, progress=False)
        .images_nhwc[7]
        .copy()
    )
    write_pictures(shop, "Heels/007.jpg", first_seed=999)
    after = open_cache(read_catalogue(DataSpec(shop)), rule, cache_dir, progress=False).images_nhwc[
        7
    ]
    assert (before != after).any()


@pytest.mark.parametrize(
    "other", [ResizeRule(12, 16), ResizeRule(16, 12, "squish"), ResizeRule(16, 16)]
)
def test_another_resize_rule_has_a_cache_of_its_own(
    catalogue: LabelledImages, rule: ResizeRule, cache_dir: Path, other: ResizeRule
) -> None:
    first = open_cache(catalogue, rule, cache_dir, progress=False)
    second = open_cache(catalogue, other, cache_dir, progress=False)
    assert first.folder != second.folder
    assert second.images_nhwc.shape == (300, other.height_px, other.width_px, 3)


def test_images_that_cannot_be_decoded_are_told_with_their_reason(
    shop: Path, rule: ResizeRule, cache_dir: Path
) -> None:
    whole = (shop / "Heels" / "005.jpg").read_bytes()
    (shop / "Heels" / "005.jpg").write_bytes(whole[: len(whole) // 2])
    (shop / "Heels" / "200.jpg").write_bytes(b"")
    (shop / "Heels" / "299.jpg").write_text("no image")
    for _ in ("built", "opened again"):
        cache = open_cache(read_catalogue(DataSpec(shop)), rule, cache_dir, progress=False)
        assert sorted(cache.failures) == [5, 200, 299]
        assert "damaged" in cache.failures[5]
        assert "is empty" in cache.failures[200]
        assert not cache.images_nhwc[[5, 200, 299]].any()


def test_image_that_is_gone_by_now_is_a_failure_and_no_crash(
    shop: Path, rule: ResizeRule, cache_dir: Path
) -> None:
    catalogue = read_catalogue(DataSpec(shop))
    (shop / "Heels" / "000.jpg").unlink()
    cache = open_cache(catalogue, rule, cache_dir, progress=False)
    assert cache.failures == {0: "The file cannot be read: No such file or directory."}


@pytest.mark.parametrize("damage", ["truncated", "no failures file", "other shape"])
def test_damaged_cache_is_built_again(
    catalogue: LabelledImages, rule: ResizeRule, cache_dir: Path, damage: str
) -> None:
    cache = open_cache(catalogue, rule, cache_dir, progress=False)
    expected, folder = cache.images_nhwc.copy(), cache.folder
    if damage == "truncated":
        with (folder / "images.npy").open("r+b") as file:
            file.truncate(5_000)
    elif damage == "no failures file":
        (folder / "failures.json").unlink()
    else:
        np.save(folder / "images.npy", expected[:10])
    cache = open_cache(catalogue, rule, cache_dir, progress=False)
    np.testing.assert_array_equal(cache.images_nhwc, expected)


def test_cache_folder_that_cannot_be_made_is_a_sentence(
    catalogue: LabelledImages, rule: ResizeRule, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Set SHOPWINDOW_CACHE_DIR"):
        open_cache(catalogue, rule, tmp_path / "file" / "cache", progress=False)


def test_default_folder_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHOPWINDOW_CACHE_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache_dir() == tmp_path / "own"
    monkeypatch.delenv("SHOPWINDOW_CACHE_DIR")
    assert default_cache_dir() == tmp_path / "xdg" / "shopwindow"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_dir() == tmp_path / "home" / ".cache" / "shopwindow"
