"""Parquet files as the Hugging Face Hub has them: names in the schema, and several files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.dataset import load_dataset
from shopwindow.data.location import has_table
from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError, UsageError
from shopwindow.imaging.preprocess import ResizeRule

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet")

NAMES = ["cat", "dog", "owl"]


@pytest.fixture
def write(tmp_path: Path, picture_bytes: Callable[[int], bytes]) -> Callable[..., None]:
    """Return a function that writes a Parquet file of pictures with `datasets`' schema."""

    def write(name: str, labels: list[int], column: str = "label", seed: int = 0) -> None:
        features = {"image": {"_type": "Image"}, column: {"names": NAMES, "_type": "ClassLabel"}}
        images = [
            {"bytes": picture_bytes(seed + number), "path": f"{number}.png"}
            for number in range(len(labels))
        ]
        table = pa.table({"image": images, column: labels}).replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, tmp_path / name)

    return write


def labels_of(folder: Path, **options: Any) -> list[str | None]:
    (labels,) = read_catalogue(DataSpec(folder, **options)).labels.values()
    return labels


def test_numbers_of_a_class_label_are_read_by_their_names(
    tmp_path: Path, write: Callable[..., None]
) -> None:
    write("photos.parquet", [2, 0, -1, 7])
    assert labels_of(tmp_path) == ["owl", "cat", "7"]
    assert [row.reason for row in read_catalogue(DataSpec(tmp_path)).dropped] == ["no label"]


def test_only_column_of_labels_needs_no_option(tmp_path: Path, write: Callable[..., None]) -> None:
    write("photos.parquet", [0, 1], column="kind")
    assert read_catalogue(DataSpec(tmp_path)).label_columns == ("kind",)
    dataset = load_dataset(
        tmp_path,
        rule=ResizeRule(16, 12),
        vocabularies={"label": ("dog", "cat")},
        cache_dir=tmp_path / ".cache",
        progress=False,
    )
    assert dataset.codes["kind"].tolist() == [1, 0]


@pytest.mark.parametrize(
    "metadata", [b"", b"no json", b"[]", b'{"info": {"features": {"label": {"names": 3}}}}']
)
def test_schema_that_says_nothing_leaves_the_numbers(
    tmp_path: Path, picture_bytes: Callable[[int], bytes], metadata: bytes
) -> None:
    table = pa.table({"image": [picture_bytes(0)], "label": [1]})
    table = table.replace_schema_metadata({b"huggingface": metadata})
    pq.write_table(table, tmp_path / "a.parquet")
    assert labels_of(tmp_path) == ["1"]


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
        ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
        ["data/train-00000-of-00002-9f3a.parquet", "data/train-00001-of-00002-77ab.parquet"],
        ["default/train/0000.parquet", "default/train/0001.parquet"],
        ["part-00000-1b.snappy.parquet", "part-00001-1b.snappy.parquet"],
    ],
)
def test_shards_are_one_table(
    tmp_path: Path,
    write: Callable[..., None],
    picture_bytes: Callable[[int], bytes],
    names: list[str],
) -> None:
    write(names[0], [0, 1])
    write(names[1], [2], seed=2)
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.references == [f"{names[0]}#0", f"{names[0]}#1", f"{names[1]}#0"]
    assert catalogue.labels == {"label": NAMES}
    assert [catalogue.read_bytes(index) for index in range(3)] == [*map(picture_bytes, range(3))]
    assert catalogue.where[2] == f"row 0 of {names[1]}"
    assert catalogue.notes == (f"Read as one table: {', '.join(names)}",)
    assert catalogue.unused == ()
    assert has_table(tmp_path)


def test_test_shard_is_held_out(tmp_path: Path, write: Callable[..., None]) -> None:
    write("data/train-00000-of-00001.parquet", [0, 1])
    write("data/test-00000-of-00001.parquet", [2])
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.roles == ("test", "train", "train")
    assert catalogue.notes[1] == "Held out to grade the training: test (1 image)"


def test_missing_shard_is_told(tmp_path: Path, write: Callable[..., None]) -> None:
    write("train-00001-of-00003.parquet", [0, 1])
    assert read_catalogue(DataSpec(tmp_path)).notes == (
        "Read as one table: train-00001-of-00003.parquet; 2 that belong to them are missing",
    )


def test_tables_that_are_no_shards_have_to_be_chosen_from(
    tmp_path: Path, write: Callable[..., None]
) -> None:
    write("old.parquet", [0, 1])
    write("new.parquet", [1, 0])
    with pytest.raises(UsageError, match="holds 2 tables"):
        read_catalogue(DataSpec(tmp_path))


def test_shards_with_other_columns_are_refused(tmp_path: Path, write: Callable[..., None]) -> None:
    write("train.parquet", [0, 1])
    write("test.parquet", [1, 0], column="kind")
    with pytest.raises(DataError, match="has other columns than"):
        read_catalogue(DataSpec(tmp_path))


def test_parquet_file_deep_below_images_is_not_the_data_set(
    tmp_path: Path, write: Callable[..., None], write_pictures: Callable[..., None]
) -> None:
    write_pictures(tmp_path, "cat/1.jpg", "dog/2.jpg")
    write("runs/0000.parquet", [0, 1])
    assert labels_of(tmp_path) == ["cat", "dog"]
