"""Labels of a model: numbered lines, what files name themselves, and contradictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shopwindow.errors import TrainingError, UsageError
from shopwindow.importing.labels import (
    FoundLabels,
    read_labels,
    require_as_many,
    settle_labels,
    stated_labels,
)

ANIMALS = ("owl", "dog", "cat")
NAMES = FoundLabels("names", ANIMALS)


def write(folder: Path, text: str) -> Path:
    path = folder / "labels.txt"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "0 owl\n1 dog\n2 cat\n",
        "0: owl\n1: dog\n2: cat",
        "0,owl\r\n1,dog\r\n2,cat\r\n",
        "0\towl\n1\tdog\n2\tcat\n",
        "1. owl\n2. dog\n3. cat\n",
        "\ufeff0=owl\n1=dog\n2=cat\n\n",
        "2 cat\n0 owl\n1 dog\n",
        '{"0": "owl", "2": "cat", "1": "dog"}',
        '["owl", "dog", "cat"]',
    ],
)
def test_numbers_before_all_labels_are_their_order_and_no_part_of_them(
    tmp_path: Path, text: str
) -> None:
    assert read_labels(write(tmp_path, text)).labels == ANIMALS


def test_numbers_that_were_left_out_are_noted(tmp_path: Path) -> None:
    note = read_labels(write(tmp_path, "2 cat\n0 owl\n1 dog\n")).note
    assert note is not None
    assert "numbered from 0 to 2 and were put in that order" in note
    assert note.endswith("the labels are owl, dog, cat.")


@pytest.mark.parametrize(
    "labels",
    [
        ("3 Doors", "4 Doors", "5 Doors"),
        ("0 Doors", "1 Doors"),
        ("3 Doors", "5 Wheels"),
        ("0 owl", "1 dog", "cat"),
        ("0", "1", "2"),
        ("0.5 mm", "1.0 cm"),
        ("0,5 mm", "1,0 cm"),
        ("0-2 years", "1-3 months"),
        ("3M", "7up"),
    ],
)
def test_numbers_that_belong_to_labels_stay(tmp_path: Path, labels: tuple[str, ...]) -> None:
    found = read_labels(write(tmp_path, "\n".join(labels)))
    assert found == FoundLabels("--labels", labels)


def test_line_numbers_with_a_gap_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"numbered from 0 .* found 0, 1, 3, without 2"):
        read_labels(write(tmp_path, "0: owl\n1: dog\n3: cat\n"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("names", "{0: 'owl', 1: 'dog', 2: 'cat'}"),
        ("names", "{2: 'cat', 0: 'owl', 1: 'dog'}"),
        ("classes", '["owl", "dog", "cat"]'),
        ("labels", "owl,dog,cat"),
        ("class_names", "owl\ndog\ncat\n"),
        ("id2label", '{"0": "owl", "1": "dog", "2": "cat"}'),
        ("model.label_names", "('owl', 'dog', 'cat')"),
        ("class_to_idx", {"cat": 2, "dog": 1, "owl": 0}),
        ("Labels", {1: "owl", 2: "dog", 3: "cat"}),
    ],
)
def test_labels_are_read_as_exporters_write_them(key: str, value: Any) -> None:
    assert stated_labels({"author": "a, b, c", key: value}) == [FoundLabels(key, ANIMALS)]


@pytest.mark.parametrize(
    "value",
    [
        "{0: 'LABEL_0', 1: 'LABEL_1'}",
        "['class0', 'class1']",
        "[__import__('os').getcwd(), 'b']",
        "{0: 'owl', 5: 'cat'}",
        "{" * 10_000,
        "[" * 3_000 + "]" * 3_000,
        "3",
        "",
        {"owl": [0], "cat": [1]},
    ],
)
def test_placeholders_and_what_is_no_list_say_nothing(value: Any) -> None:
    assert stated_labels({"names": value}) == []


def test_labels_of_the_file_are_taken_and_noted() -> None:
    labels, note = settle_labels([NAMES], None, "m.onnx")
    assert labels == ANIMALS
    assert note == "m.onnx names its labels itself (names): owl, dog, cat."


def test_another_spelling_of_the_same_labels_is_taken() -> None:
    given = FoundLabels("--labels", ("Owl", "DOG", "cat "))
    assert settle_labels([NAMES], given, "m.onnx")[0] == given.labels


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("cat", "dog", "owl"), "the same in another order: output 0 is 'cat' under '--labels'"),
        (("owl", "dog", "cow"), "output 2 is 'cow' under '--labels' and 'cat' under 'names'"),
        (("owl", "dog"), "2 under '--labels' and 3 under 'names'"),
    ],
)
def test_labels_that_contradict_the_file_are_refused(given: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settle_labels([NAMES], FoundLabels("--labels", given), "m.onnx")


def test_file_that_names_its_labels_twice_needs_the_option() -> None:
    other = FoundLabels("classes", ("cat", "dog", "owl"))
    with pytest.raises(UsageError, match="names its labels twice and not alike"):
        settle_labels([NAMES, other], None, "m.onnx")
    assert (
        settle_labels([NAMES, other], FoundLabels("--labels", other.labels), "m.onnx")[0]
        == other.labels
    )


def test_file_without_labels_asks_for_them() -> None:
    with pytest.raises(UsageError, match=r"expected --labels FILE.* m\.onnx does not name any"):
        settle_labels([], None, "m.onnx")


def test_other_number_of_labels_than_scores_says_where_they_came_from() -> None:
    with pytest.raises(TrainingError, match="answers with, 4, found 3 under 'names' in the file"):
        require_as_many(ANIMALS, 4, "m.onnx", [NAMES])
    with pytest.raises(TrainingError, match="first one for the background"):
        require_as_many(ANIMALS, 4, "m.onnx", [])
    with pytest.raises(TrainingError, match="expected two labels, as it answers with one number"):
        require_as_many(ANIMALS, 1, "m.onnx", [])
    require_as_many(("owl", "dog"), 1, "m.onnx", [])


def test_json_of_another_shape_is_no_list_of_labels(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps({"train": 1, "val": 7}))
    with pytest.raises(UsageError, match="expected 2 to 100,000 labels"):
        read_labels(path)
