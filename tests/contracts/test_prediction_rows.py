"""The rows that `shopwindow predict` writes, in each format."""

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shopwindow.bulk.inputs import Input
from shopwindow.bulk.job import JobSpec
from shopwindow.bulk.local import InlineRunner, start_local
from shopwindow.bulk.manifest import Shard
from shopwindow.bulk.predict import RunTotals, predict_to_file, predict_to_stream
from shopwindow.bulk.rows import format_of
from shopwindow.bulk.run_summary import summarise
from shopwindow.bundle import read_bundle
from shopwindow.errors import MissingExtraError, UsageError

Write = Callable[..., RunTotals]

COLUMNS = ["path", "label", "confidence", "sure", "top", "attributes", "error", "prediction_set"]


@pytest.fixture
def inputs(tmp_path: Path, image_bytes: Callable[..., bytes]) -> list[Path]:
    """A red image, a file that is none, and one of a colour between two."""
    paths = [tmp_path / name for name in ("red.png", "text.png", 'müsli, "dark".png')]
    paths[0].write_bytes(image_bytes((255, 0, 0), (6, 8)))
    paths[1].write_text("hello")
    paths[2].write_bytes(image_bytes((120, 120, 0), (6, 8)))
    return paths


@pytest.fixture
def write(colour_bundle: Path) -> Write:
    """Predict into a file, in this process."""

    def predict(paths: list[Path], output: Path, *, top: int = 5) -> RunTotals:
        job = JobSpec(read_bundle(colour_bundle), format_of(output, None), "onnxruntime", top)
        return predict_to_file(job, [Input(str(path)) for path in paths], output, start_local(1))

    return predict


def test_csv_has_the_promised_columns_and_json_in_two_cells(
    write: Write, inputs: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "rows.csv"
    written = write(inputs, output, top=2)
    with output.open(newline="", encoding="utf-8-sig") as file:
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
    write: Write, inputs: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "rows.jsonl"
    write(inputs, output)
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [list(row) for row in rows] == [COLUMNS] * 3
    assert rows[0]["error"] is None
    assert [rows[1][column] for column in COLUMNS[1:-2]] == [None] * 5
    assert [row["prediction_set"] for row in rows] == [None] * 3  # the bundle promises nothing
    assert rows[2]["path"] == str(inputs[2])
    assert rows[2]["sure"] is False
    assert len(rows[2]["top"]) == 5


def test_parquet_has_typed_columns(write: Write, inputs: list[Path], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    output = tmp_path / "rows.parquet"
    written = write(inputs, output)
    table = parquet.read_table(output)
    rows = table.to_pylist()
    assert table.column_names == COLUMNS
    assert (written.rows, written.failed) == (3, 1)
    assert [row["label"] for row in rows] == ["red", None, "black"]
    assert rows[0]["sure"] is True
    assert rows[0]["top"][0] == {"label": "red", "confidence": rows[0]["confidence"]}
    assert dict(rows[0]["attributes"])["brightness"]["label"] == "dark"
    assert rows[1]["top"] is None


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.parquet"])
def test_prediction_sets_are_in_each_format(
    sets_bundle: Path, inputs: list[Path], tmp_path: Path, name: str
) -> None:
    job = JobSpec(read_bundle(sets_bundle), format_of(tmp_path / name, None), "onnxruntime", 1)
    predict_to_file(job, [Input(str(path)) for path in inputs], tmp_path / name, start_local(1))
    if name.endswith(".csv"):
        with (tmp_path / name).open(newline="", encoding="utf-8-sig") as file:
            cells = [row["prediction_set"] for row in csv.DictReader(file)]
        found = [json.loads(cell) if cell else None for cell in cells]
    elif name.endswith(".jsonl"):
        lines = (tmp_path / name).read_text("utf-8").splitlines()
        found = [json.loads(line)["prediction_set"] for line in lines]
    else:
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
        found = parquet.read_table(tmp_path / name).column("prediction_set").to_pylist()
    assert found == [["red"], None, ["black", "red", "green"]]


@pytest.mark.parametrize("fmt", ["csv", "jsonl", "parquet"])
def test_output_of_a_version_without_prediction_sets_is_summarised_and_replaced(
    write: Write, inputs: list[Path], tmp_path: Path, fmt: str
) -> None:
    new, old = tmp_path / f"new.{fmt}", tmp_path / f"old.{fmt}"
    write(inputs, new)
    if fmt == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
        parquet.write_table(parquet.read_table(new).drop_columns("prediction_set"), old)
    elif fmt == "csv":
        lines = new.read_text("utf-8-sig").splitlines()
        cut = [lines[0].removesuffix(",prediction_set"), *(line[:-1] for line in lines[1:])]
        old.write_text("\n".join(cut) + "\n", "utf-8")
    else:
        rows = [json.loads(line) for line in new.read_text("utf-8").splitlines()]
        cut = [json.dumps(dict(list(row.items())[:-1])) for row in rows]
        old.write_text("\n".join(cut) + "\n", "utf-8")
    assert summarise(old).least_sure == summarise(new).least_sure
    write(inputs, old)
    assert old.read_bytes() == new.read_bytes()


def test_parquet_of_many_rows_keeps_them_all(
    write: Write, inputs: list[Path], tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    write(inputs * 200, tmp_path / "rows.parquet")
    found = parquet.read_table(tmp_path / "rows.parquet", columns=["path"]).column("path")
    assert found.to_pylist() == [str(path) for path in inputs] * 200


def test_without_pyarrow_parquet_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[parquet\]'"):
        format_of(tmp_path / "rows.parquet", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "start"), [("a.csv", "path,label"), ("a.jsonl", '{"path"'), ("a", "path,label")]
)
def test_the_format_follows_the_name_of_the_file(
    write: Write, inputs: list[Path], tmp_path: Path, name: str, start: str
) -> None:
    write(inputs, tmp_path / name)
    assert (tmp_path / name).read_text("utf-8-sig").startswith(start)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.zip", "a.parquet.GZ"])
@pytest.mark.parametrize("fmt", [None, "csv"])
def test_a_name_that_promises_compression_is_refused(name: str, fmt: str | None) -> None:
    with pytest.raises(UsageError, match="only Parquet is compressed"):
        format_of(Path(name), fmt)


@pytest.mark.parametrize("name", ["a.json", "a.TSV", "a.xlsx"])
def test_a_name_that_promises_another_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"ends in \.csv, \.jsonl or \.parquet, found \.[a-z]+;"):
        format_of(tmp_path / name, None)
    assert format_of(tmp_path / name, "csv") == "csv", "who asks for a format knows"


def test_rows_go_to_a_stream_in_order(
    colour_bundle: Path, inputs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.BytesIO()
    job = JobSpec(read_bundle(colour_bundle), "csv", "onnxruntime")
    paths = [Input(str(path)) for path in inputs * 100]
    written = predict_to_stream(job, paths, stream, start_local(2))
    rows = list(csv.DictReader(io.StringIO(stream.getvalue().decode("utf-8"))))
    assert [row["label"] for row in rows] == ["red", "", "black"] * 100
    assert (written.rows, written.failed) == (300, 100)
    assert capsys.readouterr().err == ""  # no bar where stderr is not a terminal


def test_parquet_to_stdout_is_refused() -> None:
    with pytest.raises(UsageError, match="name a file with --output"):
        format_of(None, "parquet")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="expected csv, jsonl or parquet, got 'xlsx'"):
        format_of(None, "xlsx")


class _Interrupted(InlineRunner):
    """Somebody presses Ctrl-C in the second shard."""

    def submit(self, shard: Shard, inputs: list[Input]) -> None:
        if shard.number == 1:
            raise KeyboardInterrupt
        super().submit(shard, inputs)


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.parquet"])
def test_ctrl_c_leaves_the_old_file_and_the_next_run_goes_on(
    write: Write, colour_bundle: Path, inputs: list[Path], tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    write(inputs[:1], folder / name)
    before = (folder / name).read_bytes()
    job = JobSpec(read_bundle(colour_bundle), format_of(folder / name, None), "onnxruntime")
    many = inputs * 100
    with pytest.raises(KeyboardInterrupt):
        predict_to_file(
            job,
            [Input(str(path)) for path in many],
            folder / name,
            lambda job, _: _Interrupted(job),
        )
    assert (folder / name).read_bytes() == before
    assert {path.name for path in folder.iterdir()} == {name, f"{name}.partial"}
    assert write(many, folder / name) == RunTotals(300, 100)
    write(many, tmp_path / name)
    assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()
    assert [path.name for path in folder.iterdir()] == [name]


def test_a_place_that_cannot_be_written_to_is_refused_before_predicting(
    write: Write, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"Cannot write .*: No such file or directory"):
        write([], tmp_path / "missing" / "rows.csv")
    with pytest.raises(UsageError, match="this is a folder"):
        write([], tmp_path)


def test_file_names_that_are_no_utf8_do_not_stop_the_run(write: Write, tmp_path: Path) -> None:
    odd = Path(b"\xff\xfe.png".decode("utf-8", "surrogateescape"))
    write([odd], tmp_path / "rows.csv")
    assert "\ufffd\ufffd.png" in (tmp_path / "rows.csv").read_text("utf-8")
