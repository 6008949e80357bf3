"""The level of folders that holds the labels."""

from __future__ import annotations

import pytest

from shopwindow.data.class_folders import Part, find_parts
from shopwindow.data.parts import held_out_role, role_of


def pictures(*folders: str) -> list[str]:
    return [f"{folder}/{number}.jpg" for folder in folders for number in (1, 2)]


def within(parts: str, labels: str = "cat dog owl") -> list[str]:
    return pictures(*(f"{part}/{label}" for part in parts.split() for label in labels.split()))


@pytest.mark.parametrize(
    ("images", "parts"),
    [
        (within("training_set test_set"), {"training_set/": "train", "test_set/": "test"}),
        (
            within("Train valid TEST", "cat dog"),
            {"Train/": "train", "valid/": "valid", "TEST/": "test"},
        ),
        (within("lern pruef"), {"lern/": "", "pruef/": ""}),
        (within("fold1 fold2 fold3 fold4", "cat dog"), {f"fold{n}/": "" for n in (1, 2, 3, 4)}),
        # Each part in a wrapping of its own, and one without labels
        (
            [*within("seg_train/seg_train seg_test/seg_test"), *pictures("seg_pred/seg_pred")],
            {"seg_train/seg_train/": "train", "seg_test/seg_test/": "test", "seg_pred/": ""},
        ),
        # Not quite the same labels
        ([*within("a b"), *pictures("b/fox")], {"a/": "", "b/": ""}),
        ([*within("train"), *pictures("test/cat")], {"train/": "train", "test/": "test"}),
        # A test part whose images lie flat has no labels
        ([*within("train"), *pictures("test")], {"train/": "train", "test/": "test"}),
        # Wrapped, several deep
        (within("a/b/c/train a/b/c/test"), {"a/b/c/train/": "train", "a/b/c/test/": "test"}),
        (
            within("2019/train 2019/test 2020/train 2020/test"),
            {
                "2019/train/": "train",
                "2019/test/": "test",
                "2020/train/": "train",
                "2020/test/": "test",
            },
        ),
    ],
)
def test_folders_with_the_same_names_below_are_parts(
    images: list[str], parts: dict[str, str]
) -> None:
    assert {part.folder: part.role for part in find_parts(images)} == parts


@pytest.mark.parametrize(
    ("images", "folder"),
    [
        (pictures("cat", "dog"), ""),
        (pictures("archive/shapes/cat", "archive/shapes/dog"), "archive/shapes/"),
        (["cover.jpg", *pictures("shapes/cat", "shapes/dog")], "shapes/"),
        (pictures("cat/images", "dog/images"), ""),
        (pictures("cat/cat", "dog/dog"), ""),
        (pictures("cat/2019", "cat/2020", "dog/2019"), ""),
        (within("cat dog owl", "front back"), ""),
        (pictures("animals/cat", "animals/dog", "cars/bus", "cars/van"), ""),
        ([*pictures("cat", "dog", "cat", "dog"), *within("cat dog", "more extra")[::2]], ""),
        (pictures("trainers", "sandals"), ""),
        (pictures("cat"), ""),
        (pictures("photos/cat"), "photos/"),
        ([], ""),
    ],
)
def test_other_folders_are_labels(images: list[str], folder: str) -> None:
    assert find_parts(images) == [Part(folder, "")]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("training_set", "train"),
        ("TrainingData", "train"),
        ("trainset", "train"),
        ("seg_train", "train"),
        ("val2017", "valid"),
        ("test-00000-of-00002", "test"),
        ("images_test", "test"),
        ("fold1", ""),
        ("trainers", None),
        ("contest", None),
        ("cat", None),
    ],
)
def test_name_says_what_a_part_is_for(name: str, role: str | None) -> None:
    assert role_of(name) == role


def test_part_judges_only_where_another_is_learned_from() -> None:
    assert held_out_role(["train", "test"]) == "test"
    assert held_out_role(["train", "valid", "test"]) == "valid"
    assert held_out_role(["test"]) is None
    assert held_out_role(["train"]) is None
    assert held_out_role([]) is None
