"""Cells that allow several labels, labels in other words, and images that belong together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopwindow.data.dataset import Dataset, load_dataset
from shopwindow.data.label_sets import (
    allowed_labels,
    likeliest_allowed,
    meaning_of_bars,
    name_twins,
    number_labels,
    read_label_map,
    split_cell,
)
from shopwindow.data.split import connected_groups, split_images
from shopwindow.errors import DataError, UsageError
from shopwindow.imaging.preprocess import ResizeRule

Load = Callable[..., Dataset]


@pytest.fixture
def load(tmp_path: Path, write_pictures: Callable[..., None], rule: ResizeRule) -> Load:
    def load(labels: list[str], groups: list[str] | None = None, **options: Any) -> Dataset:
        write_pictures(tmp_path, *(f"{number:02}.png" for number in range(len(labels))))
        groups = groups or [""] * len(labels)
        rows = [f"{n:02}.png,{label},{groups[n]}" for n, label in enumerate(labels)]
        (tmp_path / "labels.csv").write_text("\n".join(["file,label,sender", *rows]))
        options = {"min_images": 1, "cache_dir": tmp_path / ".cache", "progress": False} | options
        return load_dataset(tmp_path, rule=rule, **options)

    return load


def test_cell_with_bars_allows_each_of_its_labels() -> None:
    assert split_cell("Tshirts|Tops") == ("Tops", "Tshirts")
    assert split_cell(" Tops | |Tops") == ("Tops",)
    assert split_cell("") == ()


def test_sets_get_codes_above_those_of_the_labels() -> None:
    codes, sets = number_labels([("b",), ("a", "c"), None, (), ("a", "c")], ["a", "b", "c"])
    assert codes.tolist() == [1, 4, -1, 3, 4]
    assert sets.tolist() == [[False, False, False], [True, False, True]]
    assert allowed_labels(codes, sets).tolist() == [
        [False, True, False],
        [True, False, True],
        [False] * 3,
        [False] * 3,
        [True, False, True],
    ]


def test_answer_is_judged_by_the_likeliest_of_the_allowed_labels() -> None:
    codes, sets = number_labels([("a", "c"), ("a", "c"), ("b",), (), None], ["a", "b", "c"])
    shares = np.array([[0.1, 0.2, 0.7], [0.3, 0.5, 0.2]] + [[0.6, 0.3, 0.1]] * 3)
    for answers in (shares, np.log(shares) - 5):  # export asks about logits, of any sign
        assert likeliest_allowed(answers, codes, sets).tolist() == [2, 0, 1, -1, -1]


def test_data_set_numbers_sets_and_counts_only_single_labels(load: Load) -> None:
    dataset = load(["red", "red", "blue", "blue", "red|blue", "green|red", "green"], min_images=2)
    assert dataset.vocabularies["label"] == ("blue", "red")
    assert dataset.codes["label"].tolist() == [1, 1, 0, 0, 2, 1]
    assert dataset.sets["label"].tolist() == [[True, True]]
    assert [row.reason for row in dataset.dropped] == [
        "label with too few images: 'green' has 1 of 2"
    ]


def test_label_map_translates_leaves_out_and_names_what_it_lacks(load: Load) -> None:
    label_map = {"top": ("blue", "red"), "shoe": ("black",), "sky": (), "other": None}
    labels = ["top", "shoe", "sky", "other", "hat"]
    known = {"label": ("blue", "red")}
    dataset = load(labels, label_map=label_map, vocabularies=known)
    assert dataset.vocabularies == {"label": ("blue", "red")}
    assert allowed_labels(dataset.codes["label"], dataset.sets["label"]).tolist() == [
        [True, True],
        [False, False],
    ]
    assert [row.reason for row in dataset.dropped] == [
        "label that the model does not have: 'black'",
        "label that the label map leaves out: 'other'",
        "label that the label map does not name: 'hat'",
    ]


def test_cell_says_that_an_image_shows_none_of_the_labels(load: Load) -> None:
    dataset = load(["red", "blue", "(none of these)"], label_map={"red": ("red",), "blue": None})
    assert dataset.vocabularies == {"label": ("red",)}
    allowed = allowed_labels(dataset.codes["label"], dataset.sets["label"])
    assert allowed.tolist() == [[True], [False]]


def test_images_of_one_group_stay_on_one_side(load: Load) -> None:
    senders = [str(number % 5) for number in range(30)]
    dataset = load(["a", "b"] * 15, senders, group_column="sender")
    for seed in range(5):
        split = split_images(dataset, seed=seed)
        sides = [{senders[index] for index in part} for part in (split.train, split.valid)]
        assert not sides[0] & sides[1]
        assert len(split.valid) > 0


def test_images_without_a_group_are_on_their_own(load: Load) -> None:
    dataset = load(["a"] * 4, ["x", "", "x", ""], group_column="sender")
    assert dataset.label_columns == ("label",)
    assert dataset.groups.tolist() == [0, 1, 0, 2]


def test_groups_that_share_an_image_become_one() -> None:
    first, second = np.array([0, 0, 1, 2, 3]), np.array([5, 6, 6, 7, 5])
    groups = connected_groups(first, second)
    assert groups[0] == groups[1] == groups[2] == groups[4] != groups[3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "expected a JSON object"),
        ('{"a": "b"}', "expected a list of labels or null for 'a', found 'b'"),
        ('{"a": [1]}', "expected a list of labels or null for 'a'"),
    ],
)
def test_label_map_that_is_none_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "map.json"
    path.write_text(text)
    with pytest.raises(DataError, match=words.replace("[", r"\[")):
        read_label_map(path)


def test_label_map_is_read(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text('{"top": ["red", "blue"], "sky": [], "other": null}')
    assert read_label_map(path) == {"top": ("blue", "red"), "sky": (), "other": None}


def test_labels_in_two_spellings_are_named() -> None:
    (said,) = name_twins(["Bar", "Caf\u00e9", "T-Shirt", "caf\u00e9", "t shirt"])
    assert "Caf\u00e9 / caf\u00e9; T-Shirt / t shirt" in said
    assert name_twins(["Bar", "Barn"]) == []


@pytest.mark.parametrize(
    ("cells", "bars"),
    [
        (["Apparel", "Apparel|Shirts", "Toys"], "path"),
        (["Apparel|Men|Shirts", "Apparel|Women|Shirts"], "path"),
        (["Tops|Tshirts", "Tops", "Tshirts"], "any"),
        (["cat|dog", "dog|owl", "cat"], "any"),
        (["cat", "dog"], "any"),
        ([], "any"),
    ],
)
def test_meaning_of_bars_is_told_from_the_cells(cells: list[str], bars: str) -> None:
    assert meaning_of_bars(cells) == bars


def test_path_is_one_label_and_this_is_said(load: Load) -> None:
    labels = ["Apparel", "Apparel|Shirts", "Apparel | Shirts", "Apparel|Shoes", "Toys"]
    dataset = load(labels)
    assert dataset.vocabularies["label"] == ("Apparel", "Apparel|Shirts", "Apparel|Shoes", "Toys")
    assert dataset.notes == (
        "3 cells of label have a bar, such as Apparel|Shirts: each is read as one label "
        "(--bars any: any part of it would be right)",
    )
    assert dataset.is_whole


def test_label_that_vanishes_into_others_is_told(load: Load) -> None:
    dataset = load(["Apparel", "Apparel|Shirts", "Toys"], bars="any")
    assert dataset.vocabularies["label"] == ("Apparel", "Toys")
    assert dataset.notes == (
        "1 cell of label has a bar, such as Apparel|Shirts: any of these labels is right "
        "(--bars path: all of it is one label)",
        "1 label is lost: Shirts (never alone in its cell)",
    )
    assert not dataset.is_whole


def test_bars_mean_what_they_meant_for_given_labels(load: Load) -> None:
    labels = ["cat|dog", "owl"]
    dataset = load(labels, vocabularies={"label": ["cat", "dog", "owl"]})
    assert dataset.cell_names("label") == ["cat", "dog", "owl", "cat|dog"]
    assert load(labels, vocabularies={"label": ["cat|dog", "owl"]}).codes["label"].tolist() == [
        0,
        1,
    ]


def test_several_labels_at_once_are_refused(load: Load) -> None:
    with pytest.raises(UsageError, match="--bars several: a model of shopwindow gives one label"):
        load(["cat|dog", "owl"], bars="several")
    with pytest.raises(UsageError, match="--bars: expected any or path, got 'all'"):
        load(["cat|dog", "owl"], bars="all")


def test_labels_without_enough_images_are_told_with_the_reason(load: Load, tmp_path: Path) -> None:
    load(["cat", "cat", "dog"])
    rows = (tmp_path / "labels.csv").read_text()
    (tmp_path / "labels.csv").write_text(f"{rows}\ngone.png,owl,\n")
    dataset = load_again(tmp_path)
    assert dataset.lost_labels == ("dog", "owl")
    assert dataset.notes == ("2 labels are lost: dog (1 of 2 images), owl (no usable image)",)


def load_again(folder: Path) -> Dataset:
    rule = ResizeRule(16, 12)
    return load_dataset(folder, rule=rule, cache_dir=folder / ".cache", progress=False)
