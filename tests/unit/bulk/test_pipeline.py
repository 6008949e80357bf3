import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shopwindow.bulk.inputs import Input
from shopwindow.bulk.pipeline import predict_inputs
from shopwindow.bulk.rows import Row
from shopwindow.inference.predictor import Predictor


@pytest.fixture
def folder(tmp_path: Path, image_bytes: Callable[..., bytes]) -> Path:
    for name, colour in {"a.png": "red", "b.jpg": "blue", "c.webp": "lime"}.items():
        (tmp_path / name).write_bytes(image_bytes(colour))
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def as_inputs(folder: Path, *names: str) -> list[Input]:
    return [Input(str(folder / name)) for name in names]


def labels(rows: Iterator[Row]) -> list[str | None]:
    return [row.prediction and row.prediction.label for row in rows]  # type: ignore[misc]


def test_every_input_gets_its_row_in_order(predictor: Predictor, folder: Path) -> None:
    inputs = as_inputs(folder, "b.jpg", "notes.txt", "missing.png", "a.png")
    rows = list(predict_inputs(predictor, inputs))
    assert [row.path for row in rows] == [item.path for item in inputs]
    assert labels(iter(rows)) == ["blue", None, None, "red"]
    assert rows[1].error is not None
    assert "expected JPEG, PNG" in rows[1].error
    assert rows[2].error == "There is no such file."


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64])
def test_the_batch_size_changes_no_answer(
    predictor: Predictor, folder: Path, batch_size: int
) -> None:
    inputs = as_inputs(folder, "a.png", "b.jpg", "c.webp") * 7
    rows = predict_inputs(predictor, inputs, batch_size=batch_size)
    assert labels(rows) == ["red", "blue", "green"] * 7


def test_only_bad_files_give_only_rows_without_a_prediction(
    predictor: Predictor, folder: Path
) -> None:
    rows = predict_inputs(predictor, as_inputs(folder, "notes.txt") * 3, batch_size=2)
    assert labels(rows) == [None] * 3


def test_damaged_photos_get_a_row_that_names_their_format(
    predictor: Predictor, tmp_path: Path
) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (row,) = predict_inputs(predictor, as_inputs(tmp_path, "IMG_1.HEIC"))
    assert row.error is not None
    assert "HEIC" in row.error


def test_top_is_passed_on(predictor: Predictor, folder: Path) -> None:
    (row,) = predict_inputs(predictor, as_inputs(folder, "b.jpg"), top=2)
    assert row.prediction is not None
    assert len(row.prediction.top) == 2


def test_folders_pipes_and_huge_files_get_a_row_with_the_reason(
    predictor: Predictor, tmp_path: Path
) -> None:
    pipe, huge = tmp_path / "pipe.jpg", tmp_path / "huge.jpg"
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate(200_000_001)  # a hole: takes no space on the disk
    inputs = [Input(name) for name in (str(tmp_path), str(pipe), str(huge), "a\0b.png", "")]
    assert [row.error for row in predict_inputs(predictor, inputs)] == [
        "This is a folder: expected an image file.",
        "This is not a regular file: expected an image file.",
        "This file is larger than 200 MB: send a smaller version.",
        "This is not a valid file name.",
        "The cell is empty: expected the path of an image.",
    ]


def test_only_two_batches_are_read_ahead(predictor: Predictor, folder: Path) -> None:
    """A million files must not be in memory at once: those further on are not even opened."""
    late = folder / "late.png"
    inputs = as_inputs(folder, *["a.png"] * 40, "late.png")
    rows = predict_inputs(predictor, inputs, batch_size=4)
    first = next(rows)
    late.write_bytes((folder / "b.jpg").read_bytes())
    *_, last = rows
    assert first.prediction is not None
    assert last.prediction is not None
    assert last.prediction.label == "blue"


def test_no_inputs_give_no_rows(predictor: Predictor) -> None:
    assert list(predict_inputs(predictor, [])) == []


@pytest.mark.parametrize("arguments", [{"top": 0}, {"batch_size": 0}])
def test_senseless_numbers_are_refused_at_once(
    predictor: Predictor, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        predict_inputs(predictor, [], **arguments)


def test_a_row_is_either_a_prediction_or_an_error() -> None:
    with pytest.raises(ValueError, match="got both or neither"):
        Row("a.jpg")


def test_stopping_early_ends_the_decoding_threads(predictor: Predictor, folder: Path) -> None:
    rows = predict_inputs(predictor, as_inputs(folder, "a.png") * 50, batch_size=4)
    next(rows)
    del rows
    assert [thread.name for thread in threading.enumerate() if "decode" in thread.name] == []
