import operator
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shopwindow.errors import UsageError
from shopwindow.inference.bulk import Row, list_inputs, predict_files
from shopwindow.inference.predictor import Predictor


@pytest.fixture
def folder(tmp_path: Path, image_bytes: Callable[..., bytes]) -> Path:
    for name, colour in {"b.jpg": "blue", "a.PNG": "red", "sub/c.webp": "lime"}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image_bytes(colour))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._b.jpg").write_bytes(b"what macOS leaves behind")
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / ".thumbnails" / "b.jpg").write_bytes(image_bytes("black"))
    return tmp_path


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_folder_is_walked_in_name_order_for_images_only(folder: Path) -> None:
    assert names(list_inputs([folder]), folder) == ["a.PNG", "b.jpg", "sub/c.webp"]


def test_files_named_by_themselves_are_always_tried_and_stay_in_order(folder: Path) -> None:
    given = [folder / "notes.txt", folder / "b.jpg", folder / "missing.png", folder / "b.jpg"]
    assert list_inputs(given) == given


def test_photos_of_a_kind_that_cannot_be_read_get_a_row_that_says_so(
    predictor: Predictor, tmp_path: Path
) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (row,) = predict_files(predictor, list_inputs([tmp_path]))
    assert row.error is not None
    assert "HEIC" in row.error


def test_a_folder_without_images_is_refused_naming_the_endings(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"No images found in .*: expected files ending in .*\.jpg"
    ):
        list_inputs([tmp_path])


def test_links_to_folders_are_not_followed(folder: Path) -> None:
    (folder / "sub" / "up").symlink_to(folder, target_is_directory=True)
    assert len(list_inputs([folder])) == 3


def test_every_input_gets_its_row_in_order(predictor: Predictor, folder: Path) -> None:
    inputs = [folder / name for name in ("b.jpg", "notes.txt", "missing.png", "a.PNG")]
    rows = list(predict_files(predictor, inputs))
    assert [row.path for row in rows] == inputs
    assert [row.prediction and row.prediction.label for row in rows] == ["blue", None, None, "red"]
    assert rows[1].error is not None
    assert "expected JPEG, PNG" in rows[1].error
    assert rows[2].error == "There is no such file."


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64])
def test_the_batch_size_changes_no_answer(
    predictor: Predictor, folder: Path, batch_size: int
) -> None:
    inputs = list_inputs([folder]) * 7
    rows = predict_files(predictor, inputs, batch_size=batch_size)
    labels = [row.prediction.label for row in rows if row.prediction]
    assert labels == ["red", "blue", "green"] * 7


def test_nothing_but_bad_files_is_no_problem(predictor: Predictor, folder: Path) -> None:
    rows = list(predict_files(predictor, [folder / "notes.txt"] * 3, batch_size=2))
    assert [row.prediction for row in rows] == [None] * 3


def test_top_is_passed_on(predictor: Predictor, folder: Path) -> None:
    (row,) = predict_files(predictor, [folder / "b.jpg"], top=2)
    assert row.prediction is not None
    assert len(row.prediction.top) == 2


def test_a_folder_a_pipe_and_a_huge_file_get_rows_that_say_so(
    predictor: Predictor, tmp_path: Path
) -> None:
    pipe, huge = tmp_path / "pipe.jpg", tmp_path / "huge.jpg"
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate(200_000_001)  # a hole: takes no space on the disk
    errors = [row.error for row in predict_files(predictor, [tmp_path, pipe, huge])]
    assert errors == [
        "This is not a regular file: expected an image file.",
        "This is not a regular file: expected an image file.",
        "This file is larger than 200 MB: send a smaller version.",
    ]


def test_only_two_batches_are_read_ahead(predictor: Predictor, folder: Path) -> None:
    """A million files must not be in memory at once: those further on are not even opened."""
    late = folder / "late.png"
    inputs = [folder / "a.PNG"] * 40 + [late]
    rows = predict_files(predictor, inputs, batch_size=4)
    first = next(rows)
    late.write_bytes((folder / "b.jpg").read_bytes())
    *_, last = rows
    assert first.prediction is not None
    assert last.prediction is not None
    assert last.prediction.label == "blue"


def test_the_rows_to_come_are_known(predictor: Predictor, folder: Path) -> None:
    rows = predict_files(predictor, list_inputs([folder]))
    assert operator.length_hint(rows) == 3
    next(rows)
    assert operator.length_hint(rows) == 2


def test_no_inputs_give_no_rows(predictor: Predictor) -> None:
    assert list(predict_files(predictor, [])) == []


@pytest.mark.parametrize("arguments", [{"top": 0}, {"batch_size": 0}])
def test_senseless_numbers_are_refused_at_once(
    predictor: Predictor, arguments: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        predict_files(predictor, [], **arguments)


def test_a_row_is_either_a_prediction_or_an_error() -> None:
    with pytest.raises(ValueError, match="got both or neither"):
        Row(Path("a.jpg"))


def test_stopping_early_ends_the_decoding_threads(predictor: Predictor, folder: Path) -> None:
    import threading

    rows: Iterator[Row] = predict_files(predictor, list_inputs([folder]) * 50, batch_size=4)
    next(rows)
    del rows
    assert [thread.name for thread in threading.enumerate() if "decode" in thread.name] == []
