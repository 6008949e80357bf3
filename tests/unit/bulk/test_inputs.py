import csv
import errno
import os
import random
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shopwindow.bulk.inputs import Input, list_inputs
from shopwindow.bulk.listing import Notes, sort_names
from shopwindow.bulk.pipeline import TableCells, predict_inputs, read_input
from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.spec import DataSpec
from shopwindow.errors import ImageError, UsageError
from shopwindow.inference.predictor import Predictor


@pytest.fixture
def folder(
    tmp_path: Path, image_bytes: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """`photos` in the current folder, with two images, one in a folder, and much that is none."""
    root = tmp_path / "photos"
    for name, colour in {"b.jpg": "blue", "a.PNG": "red", "sub/c.webp": "lime"}.items():
        path = root / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(image_bytes(colour))
    (root / "notes.txt").write_text("not an image")
    (root / "._b.jpg").write_bytes(b"what macOS leaves behind")
    (root / ".thumbnails").mkdir()
    (root / ".thumbnails" / "b.jpg").write_bytes(image_bytes("black"))
    monkeypatch.chdir(tmp_path)
    return root


def listed(*names: str, column: str | None = None) -> list[str]:
    return [str(one) for one in list_inputs(names, image_column=column)]


def test_a_folder_is_walked_in_name_order_for_images_only(folder: Path) -> None:
    assert listed("photos") == ["photos/a.PNG", "photos/b.jpg", "photos/sub/c.webp"]
    assert listed("./photos/") == listed("photos")


def test_a_file_is_an_image_by_what_it_begins_with_whatever_it_is_called(folder: Path) -> None:
    for name in ("sub/c", "b.jpg_large", "b.jpg?w=100", "sub/b.mpo"):
        (folder / name).write_bytes((folder / "b.jpg").read_bytes())
    os.mkfifo(folder / "pipe")
    notes = Notes()
    found = [str(one) for one in list_inputs(["photos"], notes=notes)]
    assert len(found) == 7
    assert {"photos/b.jpg_large", "photos/sub/c", "photos/sub/b.mpo"} < set(found)
    assert sorted(notes.skipped["not an image"][1]) == ["photos/notes.txt", "photos/pipe"]


def test_what_is_passed_over_is_counted_and_the_first_are_named(folder: Path) -> None:
    for number in range(4):
        (folder / f"{number}.zip").write_bytes(b"PK\x03\x04")
    notes = Notes()
    assert len(list(list_inputs(["photos", "photos/s*"], notes=notes))) == 4
    (line,) = notes.lines()
    named = r"(photos/[\w.]+(, )?){3} and 2 more"
    assert re.fullmatch(rf"skipped: 5 × not an image \({named}\)", line)


def test_the_current_folder_has_names_without_a_dot(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert listed(".") == ["a.PNG", "b.jpg", "sub/c.webp"]


def test_links_to_folders_are_not_followed_and_that_is_said(folder: Path) -> None:
    (folder / "sub" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "sub" / "up.jpg").symlink_to(folder, target_is_directory=True)
    notes = Notes()
    assert len(list(list_inputs(["photos/sub"], notes=notes))) == 1
    (line,) = notes.lines()
    assert line.startswith("skipped: 2 × link to a folder (photos/sub/up")


def test_files_named_by_themselves_are_always_tried_and_stay_in_order(folder: Path) -> None:
    given = ["photos/notes.txt", "photos/b.jpg", "photos/missing.png", "photos/b.jpg"]
    assert listed(*given) == given


def test_a_name_that_exists_nowhere_is_an_input_only_if_it_is_an_image_s(folder: Path) -> None:
    assert listed("gone/1.JPEG") == ["gone/1.JPEG"]
    with pytest.raises(UsageError, match="phtoos does not exist: expected an image, a folder"):
        listed("phtoos")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*.jpg", ["photos/b.jpg"]),
        ("photos/[ab].*", ["photos/a.PNG", "photos/b.jpg"]),
        ("photos/**/*.webp", ["photos/sub/c.webp"]),
        ("**/*.jpg", ["photos/b.jpg"]),
        ("photos/s?b", ["photos/sub/c.webp"]),
        ("phot*/**", ["photos/a.PNG", "photos/b.jpg", "photos/sub/c.webp"]),
        ("photos/.t*/*", ["photos/.thumbnails/b.jpg"]),
    ],
)
def test_a_pattern_means_what_fits_in_name_order(
    folder: Path, pattern: str, expected: list[str]
) -> None:
    assert listed(pattern) == expected
    absolute = str(folder.parent / pattern)
    assert listed(absolute) == [str(folder.parent / name) for name in expected]


def test_a_file_that_is_called_like_a_pattern_is_that_file(folder: Path) -> None:
    (folder / "[x].jpg").write_bytes(b"")
    assert listed("photos/[x].jpg") == ["photos/[x].jpg"]


def test_a_folder_that_is_called_like_a_pattern_is_that_folder_in_a_pattern_too(
    folder: Path,
) -> None:
    for name in ("x [1]", "x 1"):
        (folder / name).mkdir()
        (folder / name / "y.jpg").write_bytes(b"")
    assert listed("photos/x [1]") == ["photos/x [1]/y.jpg"]
    assert listed("photos/x [1]/*.jpg") == ["photos/x [1]/y.jpg"]
    assert listed("photos/x [0-9]/*.jpg") == ["photos/x 1/y.jpg"]


def test_urls_of_files_are_names_first(folder: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    for name in ("b [1].jpg", "b 1.jpg", "c::d.jpg"):
        (folder / name).write_bytes(name.encode())
    root = f"file://{folder}"
    for name in ("b [1].jpg", "c::d.jpg"):
        (one,) = list_inputs([f"{root}/{name}"])
        assert read_input(one) == name.encode()
    assert listed(f"{root}/b [0-9].jpg") == [f"{root}/b 1.jpg"]


def test_a_pattern_that_nothing_fits_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"Nothing matches the pattern photos/\*\.gif"):
        listed("photos/*.gif")


def test_a_folder_without_images_is_refused_naming_the_endings(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No images found in .*: expected .* in .*\.jpg"):
        listed(str(tmp_path))


def test_names_are_sorted_on_the_disk_where_there_are_many() -> None:
    chance = random.Random(42)  # noqa: S311
    names = ["".join(chance.choices(string.printable + "é€\udcff", k=5)) for _ in range(5000)]
    assert list(sort_names(iter(names), in_memory=300)) == sorted(names)
    assert list(sort_names(iter(names[:600]), in_memory=300)) == sorted(names[:600])


def test_a_table_gives_the_paths_in_a_column_beside_it(folder: Path) -> None:
    (folder / "shop.csv").write_text(
        f'id,picture\r\n1,b.jpg\r\n\r\n2,"sub/c.webp"\r\n3,\r\n4,{folder}/a.PNG\r\n5,s3://b/x.jpg'
    )
    expected = ["photos/b.jpg", "photos/sub/c.webp", "", f"{folder}/a.PNG", "s3://b/x.jpg"]
    assert listed("photos/shop.csv", column="picture") == expected


def test_a_table_of_one_column_needs_no_name_for_it(folder: Path) -> None:
    (folder / "list.tsv").write_text("\ufeffimage\nb.jpg\na.PNG\n", encoding="utf-8")
    assert listed("photos/list.tsv") == ["photos/b.jpg", "photos/a.PNG"]


@pytest.mark.parametrize(
    ("name", "text"), [("list.csv", "b.jpg\na.PNG\n"), ("list.tsv", "1\tb.jpg\n2\ta.PNG\n")]
)
def test_a_table_whose_first_line_names_an_image_has_no_header(
    folder: Path, name: str, text: str
) -> None:
    (folder / name).write_text(text)
    assert listed(f"photos/{name}") == ["photos/b.jpg", "photos/a.PNG"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_table_that_trains_is_predicted(folder: Path, separator: str) -> None:
    (folder / "images").mkdir()
    for name in ("1500.jpg", "1501.JPEG", "x/2.png"):
        (folder / "images" / name).parent.mkdir(exist_ok=True)
        (folder / "images" / name).write_bytes(b"")
    rows = [("row", "id", "label"), (0, 1500, "cat"), (1, 1501, "dog"), (2, "x\\2.png", "owl")]
    rows += [(3, "gone", "owl")]
    text = "\n".join(separator.join(map(str, row)) for row in rows)
    (folder / "styles.csv").write_text("\ufeff" + text, encoding="utf-8")
    expected = ["images/1500.jpg", "images/1501.JPEG", "images/x/2.png", "gone"]
    assert listed("photos/styles.csv") == [f"photos/{name}" for name in expected]
    assert listed("photos/styles.csv", column="id") == listed("photos/styles.csv")
    found = read_catalogue(DataSpec(folder / "styles.csv")).references
    assert [f"photos/{name}" for name in found] == listed("photos/styles.csv")[:3]


def test_the_column_of_the_training_is_taken_where_the_table_has_it(folder: Path) -> None:
    (folder / "shop.csv").write_text("image,pic\na.PNG,b.jpg\n")
    for usual, expected in (("pic", "photos/b.jpg"), ("photo", "photos/a.PNG")):
        (one,) = list_inputs(["photos/shop.csv"], usual_column=usual)
        assert str(one) == expected


def test_a_short_row_is_one_input_and_takes_no_other_cell_for_its_image(folder: Path) -> None:
    (folder / "shop.csv").write_text("n,image,label\n1\n2,b.jpg,x\n")
    assert listed("photos/shop.csv") == ["", "photos/b.jpg"]
    (folder / "shop.csv").write_text("image,label\nb.jpg\na.PNG,x\n")
    assert listed("photos/shop.csv") == ["photos/b.jpg", "photos/a.PNG"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (None, "The columns of .* are: sku, picture. Name the one with the images"),
        ("pic", "There is no column 'pic' for --image-column. The columns of .* sku, picture"),
    ],
)
def test_a_column_that_cannot_be_told_is_asked_for(
    folder: Path, column: str | None, expected: str
) -> None:
    (folder / "shop.csv").write_text("sku,picture\n1,gone.jpg\n")
    with pytest.raises(UsageError, match=expected):
        listed("photos/shop.csv", column=column)


def test_a_table_that_is_none_is_refused(folder: Path) -> None:
    (folder / "empty.csv").write_text("")
    (folder / "no.parquet").write_bytes(b"PAR0")
    with pytest.raises(UsageError, match=r"empty\.csv is empty"):
        listed("photos/empty.csv")
    with pytest.raises(UsageError, match="is not a readable Parquet file"):
        listed("photos/no.parquet")


def test_a_table_in_an_older_encoding_is_read(folder: Path) -> None:
    (folder / "latin.csv").write_bytes(b"image\nm\xfcsli.jpg\n")
    assert listed("photos/latin.csv") == ["photos/m\u00fcsli.jpg"]


def test_names_are_matched_as_in_a_training_and_that_is_said(folder: Path) -> None:
    (folder / "t.csv").write_text("image\ndata/b.jpg\ndata/a.PNG\nmissing.jpg\n")
    notes = Notes()
    found = [str(one) for one in list_inputs(["photos/t.csv"], notes=notes)]
    assert found == ["photos/b.jpg", "photos/a.PNG", "photos/missing.jpg"]
    assert notes.lines() == ["2 images were found without 'data/': data/b.jpg is b.jpg"]


def test_a_column_for_no_table_has_no_effect_and_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="--image-column x has no effect"):
        listed("photos", column="x")


def test_parquet_gives_paths_or_the_images_themselves(
    folder: Path, image_bytes: Callable[..., bytes], predictor: Predictor
) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    colours = ["red", "blue", "lime", "black", "white"] * 9
    cells = [image_bytes(colour) for colour in colours]
    cells[7] = None
    table = arrow.table(
        {
            "path": ["b.jpg"] * 45,
            "raw": arrow.array(cells, arrow.binary()),
            "image": [{"bytes": cell, "path": "x"} for cell in cells],
        }
    )
    parquet.write_table(table, folder / "t.parquet", row_group_size=20)
    assert listed("photos/t.parquet", column="path") == ["photos/b.jpg"] * 45
    for column in ("raw", "image"):
        inputs = list(list_inputs(["photos/t.parquet"], image_column=column))
        assert inputs[3] == Input("photos/t.parquet", column, 3)
        assert str(inputs[3]) == "photos/t.parquet#3"
        rows = list(predict_inputs(predictor, inputs, batch_size=4))
        found = [row.prediction.label if row.prediction else row.error for row in rows]
        expected = ["green" if colour == "lime" else colour for colour in colours]
        expected[7] = "The cell is empty: expected the bytes of an image."
        assert found == expected
    assert listed("photos/t.parquet")[3] == "photos/t.parquet#3", "by its name, image"
    parquet.write_table(table.select(["path", "raw"]), folder / "one.parquet")
    assert listed("photos/one.parquet")[44] == "photos/one.parquet#44"


def test_cells_are_found_forwards_and_backwards(folder: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    table = arrow.table({"raw": [str(number).encode() for number in range(100)]})
    parquet.write_table(table, folder / "t.parquet", row_group_size=30)
    cells = TableCells()
    for row in (3, 4, 50, 99, 0, 31, 30):
        one = Input("photos/t.parquet", "raw", row)
        assert read_input(one, cells) == str(row).encode()
    with pytest.raises(ImageError, match="empty"):
        read_input(Input("photos/t.parquet", "raw", 100), cells)


def test_a_url_of_an_unknown_kind_is_refused(folder: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    with pytest.raises(UsageError, match="nonsense://x is not a URL that can be read"):
        listed("nonsense://x")


def test_a_folder_that_may_not_be_read_is_refused_and_below_another_is_one_input(
    folder: Path,
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every folder")
    (folder / "sub").chmod(0)
    assert listed("photos") == ["photos/a.PNG", "photos/b.jpg", "photos/sub"]
    with pytest.raises(UsageError, match="Cannot read the folder photos/sub: Permission denied"):
        listed("photos/sub")


@pytest.mark.parametrize("pattern", ["photos/**/*.jpg", "photos/*/*.jpg", "photos/s*"])
def test_a_folder_that_cannot_be_read_is_one_row_of_a_pattern(
    folder: Path, pattern: str, monkeypatch: pytest.MonkeyPatch, predictor: Predictor
) -> None:
    scan = os.scandir

    def scandir(path: str) -> Any:  # root may read every folder, and no stale mount is at hand
        if str(path).endswith("photos/sub"):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for path in (folder / "sub2" / "d.jpg", folder / "x" / "e.jpg"):
        path.parent.mkdir()
        path.write_bytes(b"")
    found = listed(pattern)
    assert found.count("photos/sub") == 1
    assert "photos/sub2/d.jpg" in found
    assert listed("photos").count("photos/sub") == 1
    (row,) = predict_inputs(predictor, [Input("photos/sub")])
    assert row.error == "This file cannot be read: Stale file handle."


def test_names_that_cannot_be_files_are_one_row_each(folder: Path, predictor: Predictor) -> None:
    long = "x" * 300 + ".jpg"
    (folder / "shop.csv").write_text(f"image\nb.jpg\n{long}\ngone.jpg\nsub\n")
    names = [*listed("photos/shop.csv"), f"photos/{long}"]
    errors = [row.error for row in predict_inputs(predictor, map(Input, names))]
    assert errors == [
        None,
        "This file cannot be read: File name too long.",
        "There is no such file.",
        "This is a folder: expected an image file.",
        "This file cannot be read: File name too long.",
    ]


def test_a_link_to_itself_is_one_input_among_the_others(folder: Path) -> None:
    (folder / "loop.jpg").symlink_to("loop.jpg")
    assert listed("photos") == [
        "photos/a.PNG",
        "photos/b.jpg",
        "photos/loop.jpg",
        "photos/sub/c.webp",
    ]


def test_lists_written_by_the_csv_module_come_back_whatever_the_names(folder: Path) -> None:
    odd = ['müsli, "dark".png', "line\nbreak.png", "tab\t.png", "'.png"]
    with (folder / "odd.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image"], *([name] for name in odd)])
    assert listed("photos/odd.csv") == [f"photos/{name}" for name in odd]


def test_cells_of_a_table_that_could_not_be_opened_are_not_those_of_the_one_before(
    folder: Path,
) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    for name in ("a", "b"):
        table = arrow.table({"raw": [f"{name}{number}".encode() for number in range(50)]})
        parquet.write_table(table, folder / f"{name}.parquet", row_group_size=10)
    for retry_s in (3600, 0):
        cells = TableCells(retry_s=retry_s)
        assert read_input(Input("photos/a.parquet", "raw", 9), cells) == b"a9"
        away = (folder / "b.parquet").rename(folder / "away")
        with pytest.raises(ImageError, match=r"b\.parquet"):
            read_input(Input("photos/b.parquet", "raw", 20), cells)
        away.rename(folder / "b.parquet")  # the store answers again
        later = Input("photos/b.parquet", "raw", 21)
        if retry_s:
            with pytest.raises(ImageError, match=r"b\.parquet"):
                read_input(later, cells)
            assert read_input(Input("photos/a.parquet", "raw", 30), cells) == b"a30"
        assert read_input(later, cells) == b"b21"


def test_a_run_is_not_told_of_its_own_parts(folder: Path) -> None:
    (folder / "out.csv.partial").mkdir()
    (folder / "out.csv.partial" / "_inputs").touch()
    notes = Notes()
    list(list_inputs(["photos"], notes=notes))
    assert notes.lines() == ["skipped: 1 × not an image (photos/notes.txt)"]
