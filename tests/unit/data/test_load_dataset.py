from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopwindow.data.dataset import Dataset, load_dataset
from shopwindow.errors import DataError, UsageError
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.preprocess import ResizeRule, preprocess


@pytest.fixture
def shop(tmp_path: Path, write_pictures: Callable[..., None]) -> Path:
    """Images 0 to 8: Shirts (4), Heels (3), Belts (2); image 3 is truncated."""
    folder = tmp_path / "shop"
    write_pictures(folder, *(f"{number}.jpg" for number in range(9)))
    whole = (folder / "3.jpg").read_bytes()
    (folder / "3.jpg").write_bytes(whole[: len(whole) // 2])
    labels = ["Shirts"] * 4 + ["Heels"] * 3 + ["Belts"] * 2
    colours = ["red", "", "blue", "red", "red", "blue", "", "red", "green"]
    lines = [f"{number},{labels[number]},{colours[number]}" for number in range(9)]
    (folder / "labels.csv").write_text("\n".join(["id,label,colour", *lines]))
    return folder


@pytest.fixture
def load(shop: Path, tmp_path: Path, rule: ResizeRule) -> Callable[..., Dataset]:
    def load(**options: Any) -> Dataset:
        options = {"cache_dir": tmp_path / "cache", "progress": False, **options}
        return load_dataset(shop, rule=rule, **options)

    return load


def test_labels_become_positions_in_sorted_vocabularies(load: Callable[..., Dataset]) -> None:
    dataset = load(also=["colour"], min_images=1)
    assert dataset.references == tuple(f"{number}.jpg" for number in (0, 1, 2, 4, 5, 6, 7, 8))
    assert dataset.label_columns == ("label", "colour")
    assert dataset.vocabularies == {
        "label": ("Belts", "Heels", "Shirts"),
        "colour": ("blue", "green", "red"),
    }
    assert dataset.codes["label"].tolist() == [2, 2, 2, 1, 1, 1, 0, 0]
    assert dataset.codes["colour"].tolist() == [2, -1, 0, 2, 0, -1, 2, 1]
    assert all(codes.dtype == np.int64 for codes in dataset.codes.values())


def test_labels_with_too_few_readable_images_are_left_out_one_by_one(
    load: Callable[..., Dataset],
) -> None:
    dataset = load(min_images=3, also=["colour"])
    assert dataset.vocabularies["label"] == ("Heels", "Shirts")
    assert dataset.vocabularies["colour"] == ("blue", "red"), "green was on a belt only"
    too_few = "label with too few images: 'Belts' has 2 of 3"
    assert [(row.where, row.reference, row.reason) for row in dataset.dropped[1:]] == [
        ("row 9", "7.jpg", too_few),
        ("row 10", "8.jpg", too_few),
    ]


def test_unreadable_image_does_not_count_for_its_label(load: Callable[..., Dataset]) -> None:
    with pytest.raises(DataError, match=r"8 × label with too few images.*'Shirts' has 3 of 4"):
        load(min_images=4)


def test_unreadable_image_is_left_out_with_its_reason(load: Callable[..., Dataset]) -> None:
    (dropped,) = load(min_images=1).dropped
    assert (dropped.where, dropped.reference) == ("row 5", "3.jpg")
    assert dropped.kind == "unreadable image"
    assert "JPEG" in dropped.reason


def test_two_images_make_a_label_by_default(
    tmp_path: Path, write_pictures: Callable[..., None], rule: ResizeRule
) -> None:
    write_pictures(tmp_path / "shop", "one/0.jpg", "two/1.jpg", "two/2.jpg")
    dataset = load_dataset(
        tmp_path / "shop", rule=rule, cache_dir=tmp_path / "cache", progress=False
    )
    assert dataset.vocabularies == {"label": ("two",)}
    (dropped,) = dataset.dropped
    assert dropped.reason == "label with too few images: 'one' has 1 of 2"


def test_images_and_bytes_belong_to_their_references(
    load: Callable[..., Dataset], shop: Path, rule: ResizeRule
) -> None:
    dataset = load(min_images=1)
    images = dataset.images([5, 0, 5])
    assert images.shape == (3, 16, 12, 3)
    for image, name in zip(images, ("6.jpg", "0.jpg", "6.jpg"), strict=True):
        expected = preprocess(decode_image((shop / name).read_bytes()), rule)
        np.testing.assert_array_equal(image, expected)
    assert dataset.read_bytes(5) == (shop / "6.jpg").read_bytes()


def test_images_are_a_copy_that_may_be_changed(load: Callable[..., Dataset]) -> None:
    dataset = load(min_images=1)
    images = dataset.images(np.array([1]))
    assert type(images) is np.ndarray
    images[:] = 0
    assert dataset.images([1]).any()
    assert dataset.images([]).shape == (0, 16, 12, 3)


def test_duplicates_are_told_over_what_is_left(load: Callable[..., Dataset], shop: Path) -> None:
    (shop / "2.jpg").write_bytes((shop / "8.jpg").read_bytes())
    groups = load(min_images=1).duplicate_groups()
    assert groups[2] == groups[7]
    assert len(set(groups.tolist())) == 7
    groups = load(min_images=3).duplicate_groups()
    assert sorted(groups.tolist()) == list(range(6))


def test_notes_are_fit_for_a_terminal(load: Callable[..., Dataset], shop: Path) -> None:
    (shop / "\x1b[2J.txt").write_text("no image")
    assert load(min_images=1).notes == (r"1 file is not an image, and is not used: \x1b[2J.txt",)


def test_min_images_of_zero_is_refused(load: Callable[..., Dataset]) -> None:
    with pytest.raises(UsageError, match="expected 1 or more, got 0"):
        load(min_images=0)
