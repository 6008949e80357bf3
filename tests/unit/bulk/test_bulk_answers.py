import re
from collections.abc import Callable
from pathlib import Path

import pytest

from shopwindow.bulk.inputs import Input
from shopwindow.bulk.run import predict_to_file, start_local
from shopwindow.bulk.summary import format_answers, read_answers, write_answers_page
from shopwindow.bulk.work import Work
from shopwindow.bundle import read_bundle
from shopwindow.errors import UsageError

arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")


@pytest.fixture
def output(tmp_path: Path, colour_bundle: Path, image_bytes: Callable[..., bytes]) -> Path:
    """Answers for 3 plain images each of two colours, 4 between two, and 2 that are missing."""
    colours = [*["red"] * 3, *["blue"] * 3, *[(110 + n, 120, 0) for n in range(4)]]
    for number, colour in enumerate(colours):
        (tmp_path / f"{number}.png").write_bytes(image_bytes(colour))
    names = [*(f"{number}.png" for number in range(10)), "gone.png", "<b>.png"]
    inputs = [Input(str(tmp_path / name)) for name in names]
    work = Work(read_bundle(colour_bundle), "parquet", "onnxruntime")
    predict_to_file(work, inputs, tmp_path / "out.parquet", start_local(1))
    return tmp_path / "out.parquet"


def test_every_row_is_counted_once(output: Path) -> None:
    answers = read_answers(output)
    assert (answers.images, answers.sure) == (10, 6)
    assert answers.labels["blue"] == answers.sure_labels["blue"] == 3
    assert answers.labels.total() == answers.histogram.sum() == 10
    assert answers.histogram[-1] == 6
    assert dict(answers.errors) == {"There is no such file.": 2}


def test_the_least_sure_come_first_and_are_as_many_as_wanted(output: Path) -> None:
    everything = [one.confidence for one in read_answers(output).least_sure]
    assert everything == sorted(everything)
    assert len(everything) == 10
    few = read_answers(output, least_sure=3).least_sure
    assert [one.confidence for one in few] == everything[:3]
    assert all(one.second_confidence <= one.confidence for one in few)


def test_a_folder_of_parts_is_read_as_one(output: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "parts.parquet"
    folder.mkdir()
    (folder / "_manifest.json").write_text("{}")
    table = parquet.read_table(output)
    for number, start in enumerate(range(0, 12, 5)):
        parquet.write_table(table.slice(start, 5), folder / f"part-{number:06}.parquet")
    whole, parts = read_answers(output), read_answers(folder)
    assert parts.labels == whole.labels
    assert [one.path for one in parts.least_sure] == [one.path for one in whole.least_sure]


def test_the_terminal_shows_labels_and_a_histogram(output: Path) -> None:
    said = format_answers(read_answers(output))
    assert said.startswith("out.parquet: 12 inputs, ")
    assert re.search(r"sure +6   60\.0 %", said)
    assert re.search(r"no answer +2   There is no such file\. \(2\)", said)
    assert re.search(r"^  blue +3 +30\.0 % +0$", said, re.MULTILINE)
    assert re.search(r"95 % +6  █{40}$", said, re.MULTILINE)


def test_the_page_holds_its_pictures_and_loads_nothing(output: Path, tmp_path: Path) -> None:
    (tmp_path / "6.png").unlink()  # since it was predicted
    page = write_answers_page(read_answers(output, least_sure=5), tmp_path / "new" / "page.html")
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
    work = Work(read_bundle(colour_bundle), "parquet", "onnxruntime")
    predict_to_file(work, inputs, tmp_path / "out.parquet", start_local(1))
    page = write_answers_page(read_answers(tmp_path / "out.parquet"), tmp_path / "page.html")
    assert page.read_text("utf-8").count('src="data:image/jpeg;base64,') == 2


@pytest.mark.parametrize("content", [b"path,label\n", None])
def test_what_predict_did_not_write_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "out.parquet"
    if content is None:
        from pyarrow import parquet

        parquet.write_table(arrow.table({"path": ["a"]}), path)
        expected = "is not what shopwindow predict writes: it lacks attributes, confidence"
    else:
        path.write_bytes(content)
        expected = "is not Parquet from shopwindow predict"
    with pytest.raises(UsageError, match=expected):
        read_answers(path)


def test_equally_unsure_answers_are_told_apart_by_which_came_first(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "parts.parquet"
    folder.mkdir()
    top = [{"label": "red", "confidence": 0.3}]
    for part in range(3):  # each part is a batch; the later ones are less sure, and all alike
        confidence = 0.5 if part == 0 else 0.3
        rows = [
            {
                "path": f"{part}-{number}.png",
                "label": "red",
                "confidence": confidence,
                "sure": False,
                "top": [{**top[0], "confidence": confidence}],
                "attributes": [],
                "error": None,
            }
            for number in range(4)
        ]
        schema = arrow.schema(
            [
                ("path", arrow.string()),
                ("label", arrow.string()),
                ("confidence", arrow.float64()),
                ("sure", arrow.bool_()),
                (
                    "top",
                    arrow.list_(
                        arrow.struct([("label", arrow.string()), ("confidence", arrow.float64())])
                    ),
                ),
                ("attributes", arrow.map_(arrow.string(), arrow.string())),
                ("error", arrow.string()),
            ]
        )
        parquet.write_table(
            arrow.Table.from_pylist(rows, schema=schema), folder / f"part-{part}.parquet"
        )
    least = read_answers(folder, least_sure=6).least_sure
    assert [one.path for one in least] == [
        *(f"1-{number}.png" for number in range(4)),
        "2-0.png",
        "2-1.png",
    ]
