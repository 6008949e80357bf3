from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.dataset import load_dataset
from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError, MissingExtraError, UnreadableImageError
from shopwindow.imaging.preprocess import ResizeRule

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet")


def test_paths_and_labels_are_read(tmp_path: Path, write_pictures: Callable[..., None]) -> None:
    write_pictures(tmp_path, "images/1.jpg", "images/2.jpg", "images/3.jpg")
    table = {
        "id": [1.0, 2.0, None, 3.0],  # what pandas makes of whole numbers with a gap
        "label": [7, 8, 7, None],
        "weight": [1.5, float("nan"), 2.0, None],
    }
    pq.write_table(pa.table(table), tmp_path / "labels.parquet")
    catalogue = read_catalogue(DataSpec(tmp_path, also=["weight"]))
    assert catalogue.references == ["images/1.jpg", "images/2.jpg"]
    assert catalogue.labels == {"label": ["7", "8"], "weight": ["1.5", None]}
    assert [(row.where, row.kind) for row in catalogue.dropped] == [
        ("row 2", "no image"),
        ("row 3", "no label"),
    ]


def test_image_bytes_are_read(tmp_path: Path, picture_bytes: Callable[[int], bytes]) -> None:
    images = [picture_bytes(seed) for seed in range(5)]
    table = pa.table({"image": images, "label": list("ababa")})
    pq.write_table(table, tmp_path / "part.parquet", row_group_size=2)
    catalogue = read_catalogue(DataSpec(tmp_path / "part.parquet"))
    assert catalogue.references == [f"part.parquet#{row}" for row in range(5)]
    assert [catalogue.read_bytes(index) for index in range(5)] == images


def test_references_of_rows_stay_with_their_bytes_beyond_ten_rows(
    tmp_path: Path, picture_bytes: Callable[[int], bytes]
) -> None:
    images = [picture_bytes(seed) for seed in range(12)]
    pq.write_table(pa.table({"image": images, "label": ["a"] * 12}), tmp_path / "part.parquet")
    catalogue = read_catalogue(DataSpec(tmp_path))
    row = catalogue.references.index("part.parquet#10")
    assert catalogue.read_bytes(row) == images[10]
    assert catalogue.where[row] == "row 10"


def test_image_struct_of_hugging_face_is_read(
    tmp_path: Path, picture_bytes: Callable[[int], bytes]
) -> None:
    rows = [{"bytes": picture_bytes(1), "path": "1.png"}, None, {"bytes": None, "path": "2.png"}]
    pq.write_table(pa.table({"image": rows, "label": [0, 1, 1]}), tmp_path / "part.parquet")
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.read_bytes(0) == picture_bytes(1)
    for index in (1, 2):
        with pytest.raises(UnreadableImageError, match="cell is empty"):
            catalogue.read_bytes(index)


def test_bytes_that_are_no_image_are_dropped_with_their_row(
    tmp_path: Path, picture_bytes: Callable[[int], bytes], rule: ResizeRule
) -> None:
    images = [picture_bytes(1), b"no image", None, picture_bytes(2)]
    pq.write_table(pa.table({"image": images, "label": list("aaaa")}), tmp_path / "part.parquet")
    dataset = load_dataset(
        tmp_path, rule=rule, min_images=1, cache_dir=tmp_path / "cache", progress=False
    )
    assert dataset.references == ("part.parquet#0", "part.parquet#3")
    assert [(row.where, row.kind) for row in dataset.dropped] == [
        ("row 1", "unreadable image"),
        ("row 2", "unreadable image"),
    ]
    assert dataset.read_bytes(1) == images[3]


def test_file_that_is_not_parquet_is_answered_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "labels.parquet").write_text("id,label\n1,Shirts\n")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_catalogue(DataSpec(tmp_path))


def test_missing_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "labels.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"Reading Parquet .*\[parquet\]'"):
        read_catalogue(DataSpec(tmp_path))
