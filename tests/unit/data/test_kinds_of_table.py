"""One table in the forms that programs write it in, and several tables in one folder."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import openpyxl
import pytest

from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.location import has_table
from shopwindow.data.spec import DataSpec
from shopwindow.data.tables import open_table
from shopwindow.errors import DataError, UsageError

TEXT = "image,label,note\n1.jpg,Röcke,new\n2.jpg,Hüte,\n"


@pytest.fixture
def shop(tmp_path: Path, write_pictures: Callable[..., None]) -> Path:
    write_pictures(tmp_path / "shop", "1.jpg", "2.jpg")
    return tmp_path / "shop"


def write_sheet(path: Path, *sheets: list[list[object]]) -> None:
    book = openpyxl.Workbook()
    for number, rows in enumerate(sheets):
        sheet = book.active if number == 0 else book.create_sheet()
        for row in rows:
            sheet.append(row)
    book.save(path)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (TEXT.encode(), None),
        (TEXT.encode("utf-8-sig"), None),
        (TEXT.encode("utf-16"), "labels.csv is read as UTF-16"),
        (TEXT.encode("utf-16-le"), "labels.csv is read as UTF-16"),
        (TEXT.encode("utf-16-be"), "labels.csv is read as UTF-16"),
        (TEXT.encode("utf-32"), "labels.csv is read as UTF-32"),
        (
            TEXT.encode("cp1252"),
            "labels.csv is read as Windows-1252, so that a line is: 1.jpg,Röcke,new",
        ),
        (TEXT.replace(",", ";").encode(), "Columns of labels.csv are split at each semicolon"),
    ],
)
def test_encoding_and_separator_are_found_and_told(
    shop: Path, content: bytes, note: str | None
) -> None:
    (shop / "labels.csv").write_bytes(content)
    catalogue = read_catalogue(DataSpec(shop))
    assert catalogue.labels["label"] == ["Röcke", "Hüte"]
    assert catalogue.notes == ((note,) if note else ())


def test_byte_that_windows_1252_lacks_is_latin_1(shop: Path) -> None:
    (shop / "labels.csv").write_bytes(b"image,label\n1.jpg,a\x81\n")
    assert "is read as Latin-1" in read_catalogue(DataSpec(shop)).notes[0]


def test_packed_table_is_read(shop: Path) -> None:
    (shop / "labels.tsv.gz").write_bytes(gzip.compress(TEXT.replace(",", "\t").encode()))
    assert read_catalogue(DataSpec(shop)).labels["label"] == ["Röcke", "Hüte"]
    (shop / "labels.tsv.gz").write_bytes(gzip.compress(TEXT.encode())[:20])
    with pytest.raises(DataError, match="cannot be unpacked"):
        read_catalogue(DataSpec(shop))


def test_spreadsheet_is_read(shop: Path) -> None:
    rows = [
        ["image", "label", None, "when"],
        [],
        [1.0, "Röcke", "x", date(2026, 5, 1)],
        [2, "Hüte"],
    ]
    write_sheet(shop / "labels.xlsx", rows)
    (shop / "~$labels.xlsx").write_bytes(b"Excel has it open")
    catalogue = read_catalogue(DataSpec(shop, also=["when"]))
    assert catalogue.references == ["1.jpg", "2.jpg"]
    assert catalogue.labels == {"label": ["Röcke", "Hüte"], "when": ["2026-05-01", None]}
    assert catalogue.where == ["row 3", "row 4"]
    assert has_table(shop)


def test_sheet_that_is_read_is_named(shop: Path) -> None:
    write_sheet(shop / "labels.xlsx", [], [["image", "label"], [1, "Röcke"]], [["notes"]])
    assert (
        read_catalogue(DataSpec(shop)).notes[0]
        == "labels.xlsx: sheet 'Sheet1' is read, and not 'Sheet2'"
    )


@pytest.mark.parametrize("content", [b"", b"PK\3\4 but no archive", b"a,b\n1,2\n"])
def test_spreadsheet_that_is_none_is_a_sentence(shop: Path, content: bytes) -> None:
    (shop / "labels.xlsx").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as a spreadsheet: open it and save"):
        read_catalogue(DataSpec(shop))


def test_json_lines_are_read(shop: Path) -> None:
    records = [
        {"file_name": "1.jpg", "label": "Röcke"},
        {"file_name": "2.jpg", "label": 7, "more": {"a": [1, True]}},
    ]
    lines = [*map(json.dumps, records), "", "no json", "[1]"]
    (shop / "metadata.jsonl").write_text("\n".join(lines))
    catalogue = read_catalogue(DataSpec(shop, also=["more"]))
    assert catalogue.labels == {"label": ["Röcke", "7"], "more": [None, '{"a": [1, true]}']}
    assert [(row.where, row.reason) for row in catalogue.dropped] == [
        ("row 4", "no JSON object in this line"),
        ("row 5", "no JSON object in this line"),
    ]
    assert open_table(shop / "metadata.jsonl").columns == ("file_name", "label", "more")


def test_file_without_json_objects_is_a_sentence(shop: Path) -> None:
    (shop / "metadata.jsonl").write_text("1\n2\n")
    with pytest.raises(DataError, match="holds no JSON objects"):
        read_catalogue(DataSpec(shop))


def test_only_table_that_names_images_is_chosen_and_named(shop: Path) -> None:
    (shop / "classes.csv").write_text("id,name\n0,Röcke\n1,Hüte\n")
    (shop / "labels.csv").write_text(TEXT)
    (shop / "old.csv").write_text("image,label\ngone.jpg,Röcke\n")
    catalogue = read_catalogue(DataSpec(shop))
    assert catalogue.labels["label"] == ["Röcke", "Hüte"]
    assert catalogue.notes[0] == "Labels: labels.csv, as no image is named by classes.csv, old.csv"
    assert catalogue.unused == ("classes.csv", "old.csv")


def test_two_tables_that_name_images_have_to_be_chosen_from(shop: Path) -> None:
    (shop / "labels.csv").write_text(TEXT)
    write_sheet(shop / "labels.xlsx", [["image", "label"], [1, "Röcke"]])
    with pytest.raises(UsageError, match=r"2 tables \(labels.csv, labels.xlsx\).*--labels"):
        read_catalogue(DataSpec(shop))


def test_table_in_a_wrapping_is_found_and_its_folder_named(shop: Path) -> None:
    (shop / "labels.csv").write_text(TEXT)
    (shop.parent / "README").write_text("about")
    (shop.parent / "__MACOSX").mkdir()
    catalogue = read_catalogue(DataSpec(shop.parent))
    assert catalogue.references == ["1.jpg", "2.jpg"]
    assert catalogue.notes[0] == "Read from the folder shop"
    assert has_table(shop.parent)


def test_table_that_has_nothing_to_do_with_the_images_leaves_the_folders(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(tmp_path, "cat/1.jpg", "dog/2.jpg")
    write_sheet(tmp_path / "budget.xlsx", [["month", "price"], ["May", 700]])
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.labels["label"] == ["cat", "dog"]
    assert catalogue.notes[0].startswith("The folders are the labels, as there is no column label")
    (tmp_path / "budget.csv").write_text("picture,price\ndog/2,700\n")
    catalogue = read_catalogue(
        DataSpec(tmp_path)
    )  # it names an image, but says nothing of its label
    assert "for images in budget.csv, budget.xlsx (--label-column" in catalogue.notes[0]
    (tmp_path / "labels.csv").write_text("picture,label\ndog/2,ball\ncat/1,bat\n")
    assert read_catalogue(DataSpec(tmp_path)).labels["label"] == ["bat", "ball"]
