"""The rows that `shopwindow predict` writes, in each format."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shopwindow.errors import MissingExtraError, UsageError
from shopwindow.inference.bulk import Row, predict_files, write_rows
from shopwindow.inference.predictor import Predictor

COLUMNS = ["path", "label", "confidence", "sure", "top", "attributes", "error"]


@pytest.fixture
def inputs(tmp_path: Path, image_bytes: Callable[..., bytes]) -> list[Path]:
    """A red image, a file that is none, and one of a colour between two."""
    paths = [tmp_path / name for name in ("red.png", "text.png", 'müsli, "dark".png')]
    paths[0].write_bytes(image_bytes((255, 0, 0), (6, 8)))
    paths[1].write_text("hello")
    paths[2].write_bytes(image_bytes((120, 120, 0), (6, 8)))
    return paths


def test_csv_has_the_promised_columns_and_json_in_two_cells(
    predictor: Predictor, inputs: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "rows.csv"
    written = write_rows(predict_files(predictor, inputs, top=2), output, "csv")
    with output.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert reader.fieldnames == COLUMNS
    assert (written.rows, written.failed) == (3, 1)
    assert [row["path"] for row in rows] == [str(path) for path in inputs]
    assert [row["label"] for row in rows] == ["red", "", "black"]
    assert [row["sure"] for row in rows] == ["true", "", "false"]
    assert float(rows[0]["confidence"]) > 0.99
    top = json.loads(rows[0]["top"])
    assert [score["label"] for score in top] == ["red", "black"]
    assert top[0]["confidence"] == float(rows[0]["confidence"])
    assert json.loads(rows[0]["attributes"])["brightness"]["label"] == "dark"
    assert rows[0]["error"] == ""
    assert "expected JPEG, PNG" in rows[1]["error"]
    assert rows[1]["top"] == rows[1]["attributes"] == rows[1]["confidence"] == ""


def test_json_lines_have_the_same_keys_with_nulls(
    predictor: Predictor, inputs: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "rows.jsonl"
    write_rows(predict_files(predictor, inputs), output, "jsonl")
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [list(row) for row in rows] == [COLUMNS] * 3
    assert rows[0]["error"] is None
    assert [rows[1][column] for column in COLUMNS[1:-1]] == [None] * 5
    assert rows[2]["path"] == str(inputs[2])
    assert rows[2]["sure"] is False
    assert len(rows[2]["top"]) == 5


def test_parquet_has_typed_columns(
    predictor: Predictor, inputs: list[Path], tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    output = tmp_path / "rows.parquet"
    written = write_rows(predict_files(predictor, inputs), output, "parquet")
    table = parquet.read_table(output)
    rows = table.to_pylist()
    assert table.column_names == COLUMNS
    assert (written.rows, written.failed) == (3, 1)
    assert [row["label"] for row in rows] == ["red", None, "black"]
    assert rows[0]["sure"] is True
    assert rows[0]["top"][0] == {"label": "red", "confidence": rows[0]["confidence"]}
    assert dict(rows[0]["attributes"])["brightness"]["label"] == "dark"
    assert rows[1]["top"] is None


def test_parquet_of_many_rows_keeps_them_all(
    predictor: Predictor, inputs: list[Path], tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    row = next(predict_files(predictor, inputs[:1]))
    write_rows([row] * 9000, tmp_path / "rows.parquet")
    assert parquet.read_metadata(tmp_path / "rows.parquet").num_rows == 9000


def test_without_pyarrow_parquet_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'shopwindow\[parquet\]'"):
        write_rows([], tmp_path / "rows.parquet", "parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "start"), [("a.csv", "path,label"), ("a.jsonl", '{"path"'), ("a", "path,label")]
)
def test_the_format_follows_the_name_of_the_file(
    predictor: Predictor, inputs: list[Path], tmp_path: Path, name: str, start: str
) -> None:
    write_rows(predict_files(predictor, inputs), tmp_path / name)
    assert (tmp_path / name).read_text("utf-8").startswith(start)


def test_rows_go_to_stdout_without_a_file(
    predictor: Predictor, inputs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(predict_files(predictor, inputs), None)
    out, err = capsys.readouterr()
    assert [row["label"] for row in csv.DictReader(io.StringIO(out))] == ["red", "", "black"]
    assert err == ""  # no bar where stderr is not a terminal


def test_parquet_to_stdout_is_refused() -> None:
    with pytest.raises(UsageError, match="name a file with --output"):
        write_rows([], None, "parquet")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="expected csv, jsonl or parquet, got 'xlsx'"):
        write_rows([], None, "xlsx")  # type: ignore[arg-type]


def interrupted(rows: Iterator[Row]) -> Iterator[Row]:
    yield next(rows)
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.parquet"])
def test_ctrl_c_leaves_the_old_file_and_nothing_half_written(
    predictor: Predictor, inputs: list[Path], tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / name).write_text("from last time")
    with pytest.raises(KeyboardInterrupt):
        write_rows(interrupted(predict_files(predictor, inputs)), folder / name)
    assert (folder / name).read_text() == "from last time"
    assert [path.name for path in folder.iterdir()] == [name]


def test_a_place_that_cannot_be_written_to_is_refused_before_predicting(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot write .*: No such file or directory"):
        write_rows(iter([]), tmp_path / "missing" / "rows.csv")
    with pytest.raises(UsageError, match="this is a folder"):
        write_rows(iter([]), tmp_path)


def test_file_names_that_are_no_utf8_do_not_stop_the_run(
    predictor: Predictor, tmp_path: Path
) -> None:
    odd = Path(b"\xff\xfe.png".decode("utf-8", "surrogateescape"))
    write_rows(predict_files(predictor, [odd]), tmp_path / "rows.csv")
    assert "\ufffd\ufffd.png" in (tmp_path / "rows.csv").read_text("utf-8")
