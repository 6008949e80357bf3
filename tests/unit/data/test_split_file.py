from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopwindow.data.dataset import Dataset, load_dataset
from shopwindow.data.split import Split, split_images
from shopwindow.errors import DataError
from shopwindow.imaging.preprocess import ResizeRule


@pytest.fixture
def shop(tmp_path: Path, write_pictures: Callable[..., None]) -> Path:
    write_pictures(tmp_path / "shop", *(f"{label}/{n}.png" for label in "ab" for n in range(10)))
    return tmp_path / "shop"


@pytest.fixture
def load(shop: Path, tmp_path: Path, rule: ResizeRule) -> Callable[[], Dataset]:
    def load() -> Dataset:
        options: dict[str, Any] = {"cache_dir": tmp_path / "cache", "progress": False}
        return load_dataset(shop, rule=rule, min_images=1, **options)

    return load


@pytest.fixture
def path(tmp_path: Path, load: Callable[[], Dataset]) -> Path:
    """A written split."""
    dataset = load()
    split_images(dataset, seed=7, valid_fraction=0.3).write(tmp_path / "split.json", dataset)
    return tmp_path / "split.json"


def test_split_comes_back_as_it_was_written(path: Path, load: Callable[[], Dataset]) -> None:
    dataset = load()
    written, read = split_images(dataset, seed=7, valid_fraction=0.3), Split.read(path, dataset)
    np.testing.assert_array_equal(read.train, written.train)
    np.testing.assert_array_equal(read.valid, written.valid)
    assert (read.method, read.seed, read.valid_fraction) == ("grouped", 7, 0.3)
    assert read.digest(dataset) == written.digest(dataset)


def test_images_are_named_in_the_file(path: Path) -> None:
    content = json.loads(path.read_text())
    assert sorted(content["train"] + content["valid"]) == [
        f"{label}/{n}.png" for label in "ab" for n in range(10)
    ]


def test_writing_leaves_no_other_file_and_replaces_the_old_one(
    path: Path, load: Callable[[], Dataset]
) -> None:
    dataset = load()
    split_images(dataset, seed=8).write(path, dataset)
    assert Split.read(path, dataset).seed == 8
    assert [one.name for one in path.parent.iterdir() if one.is_file()] == ["split.json"]


def test_image_that_is_gone_is_named(shop: Path, path: Path, load: Callable[[], Dataset]) -> None:
    (shop / "b" / "4.png").unlink()
    with pytest.raises(DataError, match=r"1 of 20 images .* the first is 'b/4\.png'"):
        Split.read(path, load())


def test_another_photo_under_the_same_name_is_named(
    shop: Path, path: Path, load: Callable[[], Dataset]
) -> None:
    before = Split.read(path, load())
    (shop / "b" / "4.png").write_bytes((shop / "b" / "3.png").read_bytes())
    with pytest.raises(DataError, match=r"1 of 20 files have other content .* is 'b/4\.png'"):
        Split.read(path, load())
    content = json.loads(path.read_text())
    del content["digests"]  # as an older version wrote it
    path.write_text(json.dumps(content))
    assert Split.read(path, load()).train.tolist() == before.train.tolist()


def test_image_that_is_new_is_named(
    shop: Path, path: Path, load: Callable[[], Dataset], write_pictures: Callable[..., None]
) -> None:
    write_pictures(shop, "a/new.png", first_seed=77)
    with pytest.raises(DataError, match=r"1 images are new, the first is 'a/new\.png'"):
        Split.read(path, load())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "not a split that shopwindow wrote"),
        ("[]", "not a split that shopwindow wrote"),
        ('{"format": 1, "train": 3}', "not a split that shopwindow wrote"),
        ('{"format": 2}', "split of format 2, expected 1"),
        ("\xff", "not a split that shopwindow wrote"),
    ],
)
def test_other_file_is_refused(
    path: Path, load: Callable[[], Dataset], content: str, sentence: str
) -> None:
    path.write_text(content, "latin-1")
    with pytest.raises(DataError, match=sentence):
        Split.read(path, load())


def test_image_on_both_sides_is_refused(path: Path, load: Callable[[], Dataset]) -> None:
    content = json.loads(path.read_text())
    content["valid"].append(content["train"][0])
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="names an image twice"):
        Split.read(path, load())


def test_file_that_is_not_there_is_a_sentence(path: Path, load: Callable[[], Dataset]) -> None:
    path.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        Split.read(path, load())
