import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shopwindow.bulk.inputs import Input, list_inputs
from shopwindow.bulk.job import JobSpec
from shopwindow.bulk.local import start_local
from shopwindow.bulk.predict import predict_to_file
from shopwindow.bulk.rows import Row, RowFormat, encode_rows
from shopwindow.bulk.run_summary import format_summary, summarise, write_summary_page
from shopwindow.bundle import read_bundle
from shopwindow.errors import UsageError
from shopwindow.inference.prediction import LabelScore, Prediction

arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def output(tmp_path: Path, colour_bundle: Path, image_bytes: Callable[..., bytes]) -> Path:
    """Answers for 3 plain images each of two colours, 4 between two, and 2 that are missing."""
    colours = [*["red"] * 3, *["blue"] * 3, *[(110 + n, 120, 0) for n in range(4)]]
    for number, colour in enumerate(colours):
        (tmp_path / f"{number}.png").write_bytes(image_bytes(colour))
    names = [*(f"{number}.png" for number in range(10)), "gone.png", "<b>.png"]
    inputs = [Input(str(tmp_path / name)) for name in names]
    job = JobSpec(read_bundle(colour_bundle), "parquet", "onnxruntime")
    predict_to_file(job, inputs, tmp_path / "out.parquet", start_local(1))
    return tmp_path / "out.parquet"


@pytest.mark.parametrize("fmt", ["csv", "jsonl"])
def test_all_formats_are_counted_alike(
    output: Path, tmp_path: Path, colour_bundle: Path, fmt: RowFormat
) -> None:
    inputs = [Input(path) for path in arrow.parquet.read_table(output)["path"].to_pylist()]
    job = JobSpec(read_bundle(colour_bundle), fmt, "onnxruntime")
    predict_to_file(job, inputs, tmp_path / f"out.{fmt}", start_local(1))
    expected, found = summarise(output), summarise(tmp_path / f"out.{fmt}")
    found.name = expected.name
    assert format_summary(found) == format_summary(expected)
    assert found.least_sure == expected.least_sure


def test_names_like_formulas_are_text_in_the_file_and_come_back(
    tmp_path: Path,
    colour_bundle: Path,
    image_bytes: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["=cmd|' _C calc'!A0.jpg", "@SUM(1+1).jpg", "Schöne Schuhe.jpg", "-1.jpg"]
    for name in names:
        Path(name).write_bytes(image_bytes("red"))
    job = JobSpec(read_bundle(colour_bundle), "csv", "onnxruntime")
    predict_to_file(job, map(Input, names), Path("out.csv"), start_local(1))
    raw = Path("out.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfpath,"), "by which Excel knows UTF-8"
    rows = list(csv.DictReader(raw.decode("utf-8-sig").splitlines()))
    assert [row["path"][0] for row in rows] == ["'", "'", "S", "'"]
    assert [unsure.path for unsure in summarise(Path("out.csv")).least_sure] == names
    assert [str(one) for one in list_inputs(["out.csv"])] == names


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"image,label\na.jpg,red\n", "the columns image, label"),
        (b"", "found nothing"),
        (b'{"a": 1}\n', "the columns a"),
        (b"\x89PNG\r\n\x1a\n\0", "other content: .* decode"),
        (b"path,label,confidence,sure,top,attributes,error\na,b\n", "other content: "),
        (b"PAR1 and no more", "a damaged Parquet file"),
    ],
)
def test_a_file_that_predict_did_not_write_is_refused_in_one_sentence(
    tmp_path: Path, content: bytes, found: str
) -> None:
    (tmp_path / "mix.csv").write_bytes(content)
    with pytest.raises(UsageError, match=found) as caught:
        summarise(tmp_path / "mix.csv")
    assert "magic" not in str(caught.value)


@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet"])
def test_a_file_that_predict_did_not_write_is_not_replaced(
    tmp_path: Path, colour_bundle: Path, image_bytes: Callable[..., bytes], name: str
) -> None:
    (tmp_path / "a.png").write_bytes(image_bytes("red"))
    output, inputs = tmp_path / name, [Input(str(tmp_path / "a.png"))]
    arrow.parquet.write_table(arrow.table({"image": ["a.png"]}), tmp_path / "labels.parquet")
    (tmp_path / "labels.csv").write_text("image,label\na.png,red\n")
    job = JobSpec(read_bundle(colour_bundle), "csv", "onnxruntime")
    with pytest.raises(UsageError, match="did not write the file that is there"):
        predict_to_file(job, inputs, output, start_local(1))
    output.unlink()
    for fmt in ("csv", "jsonl", "parquet", "csv"):  # its own of any kind, and again
        predict_to_file(replace(job, fmt=fmt), inputs, output, start_local(1))


def test_every_row_is_counted_once(output: Path) -> None:
    summary = summarise(output)
    assert (summary.images, summary.sure) == (10, 6)
    assert summary.labels["blue"] == summary.sure_labels["blue"] == 3
    assert summary.labels.total() == summary.histogram.sum() == 10
    assert summary.histogram[-1] == 6
    assert dict(summary.errors) == {"There is no such file.": 2}


def test_the_least_sure_come_first_and_are_as_many_as_wanted(output: Path) -> None:
    everything = [unsure.confidence for unsure in summarise(output).least_sure]
    assert everything == sorted(everything)
    assert len(everything) == 10
    few = summarise(output, least_sure=3).least_sure
    assert [unsure.confidence for unsure in few] == everything[:3]
    assert all(unsure.second_confidence <= unsure.confidence for unsure in few)


def test_a_folder_of_parts_is_read_as_one(output: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "parts.parquet"
    folder.mkdir()
    (folder / "_manifest.json").write_text("{}")
    table = parquet.read_table(output)
    for number, start in enumerate(range(0, 12, 5)):
        parquet.write_table(table.slice(start, 5), folder / f"part-{number:06}.parquet")
    whole, parts = summarise(output), summarise(folder)
    assert parts.labels == whole.labels
    assert [unsure.path for unsure in parts.least_sure] == [
        unsure.path for unsure in whole.least_sure
    ]


def test_the_terminal_shows_labels_and_a_histogram(output: Path) -> None:
    said = format_summary(summarise(output))
    assert said.startswith("out.parquet: 12 inputs, ")
    assert re.search(r"sure +6   60\.0 %", said)
    assert re.search(r"failed +2   There is no such file\. \(2\)", said)
    assert re.search(r"^  blue +3 +30\.0 % +0$", said, re.MULTILINE)
    assert re.search(r"95 % +6  █{40}$", said, re.MULTILINE)


def test_the_page_holds_its_pictures_and_loads_nothing(output: Path, tmp_path: Path) -> None:
    (tmp_path / "6.png").unlink()  # since it was predicted
    page = write_summary_page(summarise(output, least_sure=5), tmp_path / "new" / "page.html")
    text = page.read_text("utf-8")
    assert text.count('src="data:image/jpeg;base64,') == 4
    assert "There is no such file." in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "<script" not in text


def test_pictures_in_the_cells_of_a_table_are_found_again(
    tmp_path: Path, colour_bundle: Path, image_bytes: Callable[..., bytes]
) -> None:
    from pyarrow import parquet

    table = tmp_path / "shop.parquet"
    parquet.write_table(arrow.table({"raw": [image_bytes("red"), image_bytes("blue")]}), table)
    inputs = [Input(str(table), "raw", row) for row in range(2)]
    job = JobSpec(read_bundle(colour_bundle), "parquet", "onnxruntime")
    predict_to_file(job, inputs, tmp_path / "out.parquet", start_local(1))
    page = write_summary_page(summarise(tmp_path / "out.parquet"), tmp_path / "page.html")
    assert page.read_text("utf-8").count('src="data:image/jpeg;base64,') == 2


def test_parquet_of_other_columns_is_refused_naming_those_it_lacks(tmp_path: Path) -> None:
    from pyarrow import parquet

    parquet.write_table(arrow.table({"path": ["a"]}), tmp_path / "out.parquet")
    with pytest.raises(UsageError, match="found no columns attributes, confidence, error"):
        summarise(tmp_path / "out.parquet")


def test_of_equally_unsure_predictions_the_first_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "parts.parquet"
    folder.mkdir()
    for part in range(3):  # each part is read as one block; the later two are alike, and less sure
        best = LabelScore("red", 0.5 if part == 0 else 0.3)
        prediction = Prediction(best.label, best.confidence, False, (best,))
        rows = [Row(f"{part}-{number}.png", prediction) for number in range(4)]
        (folder / f"part-{part}.parquet").write_bytes(encode_rows(rows, "parquet"))
    least = summarise(folder, least_sure=6).least_sure
    expected = [*(f"1-{number}.png" for number in range(4)), "2-0.png", "2-1.png"]
    assert [unsure.path for unsure in least] == expected
