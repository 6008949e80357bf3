"""A table of decisions laid over a data set, and the same corrections from a bundle's record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shopwindow.data.corrections import read_corrections
from shopwindow.data.dataset import Dataset
from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError
from shopwindow.imaging.preprocess import ResizeRule


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number, label in enumerate(["red"] * 4 + ["blue"] * 4):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (10 * number, 0, 0)).save(folder / label / f"{number}.png")
    return folder


def load(photos: Path, **fields: object) -> Dataset:
    spec = DataSpec.from_options({"data": photos, **fields})
    cache = photos.parent / "cache"
    return spec.load(rule=ResizeRule(8, 8), cache_dir=cache, progress=False)


def label_of(dataset: Dataset) -> dict[str, str]:
    names = dataset.cell_names("label")
    return {
        reference: names[code]
        for reference, code in zip(dataset.references, dataset.codes["label"], strict=True)
    }


def write(photos: Path, *rows: str) -> Path:
    path = photos.parent / "decisions.csv"
    path.write_text("\n".join(["image,decision,label", *rows]) + "\n", "utf-8")
    return path


def test_labels_are_corrected_and_images_left_out(photos: Path) -> None:
    table = write(photos, "red/0.png,relabel,blue", "red/1.png,drop,", "blue/4.png,keep,")
    dataset = load(photos, corrections=table)
    found = label_of(dataset)
    assert found["red/0.png"] == "blue"
    assert found["blue/4.png"] == "blue"
    assert "red/1.png" not in found
    assert "1 label corrected, 1 image left out" in dataset.notes
    assert [row.reason for row in dataset.dropped] == ["left out by a correction"]


def test_record_of_a_bundle_corrects_the_same_images_and_names_none(photos: Path) -> None:
    table = write(photos, "red/0.png,relabel,blue", "red/1.png,drop,")
    dataset = load(photos, corrections=table)
    record = DataSpec(photos, corrections=dataset.corrections).as_json()
    assert "0.png" not in json.dumps(record)
    again = DataSpec.from_record(photos, {"read": json.loads(json.dumps(record))})
    found = load(photos, **{name: getattr(again, name) for name in ("corrections", "is_recorded")})
    assert label_of(found) == label_of(dataset)


def test_record_leaves_another_picture_under_the_same_name_alone(photos: Path) -> None:
    dataset = load(photos, corrections=write(photos, "red/0.png,relabel,blue"))
    Image.new("RGB", (8, 8), (0, 255, 0)).save(photos / "red" / "0.png")
    assert label_of(load(photos, corrections=dataset.corrections))["red/0.png"] == "red"


def test_one_of_two_copies_can_be_left_out(photos: Path) -> None:
    (photos / "red" / "copy.png").write_bytes((photos / "red" / "0.png").read_bytes())
    dataset = load(photos, corrections=write(photos, "red/copy.png,drop,"))
    recorded = load(photos, corrections=dataset.corrections)
    assert "red/0.png" in recorded.references
    assert "red/copy.png" not in recorded.references


def test_corrected_labels_count_for_the_fewest_images(photos: Path) -> None:
    table = write(photos, *(f"red/{number}.png,relabel,blue" for number in range(3)))
    dataset = load(photos, corrections=table)
    assert dataset.vocabularies["label"] == ("blue",)
    assert np.bincount(dataset.codes["label"]).tolist() == [7]


def test_new_labels_are_those_that_a_label_map_leads_to(photos: Path) -> None:
    label_map = photos.parent / "map.json"
    label_map.write_text(json.dumps({"red": ["warm"], "blue": ["cold"]}), "utf-8")
    table = write(photos, "red/0.png,relabel,cold")
    assert label_of(load(photos, label_map=label_map, corrections=table))["red/0.png"] == "cold"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("green/9.png,drop,", "found 1 that it lacks: green/9.png"),
        ("red/0.png,relabel,Blue", "expected labels of the data set, found 'Blue'"),
        ("red/0.png,delete,", "row 2: expected keep or relabel or drop, found 'delete'"),
        ("red/0.png,relabel,", "found none with relabel"),
        ("red/0.png,drop,blue", "found 'blue' with drop"),
        ("red/0.png,drop,\nred/0.png,keep,", "row 3: expected one decision for each image"),
    ],
)
def test_what_cannot_be_meant_is_named(photos: Path, row: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        load(photos, corrections=write(photos, row))
    assert said in str(caught.value)


def test_table_with_other_columns_is_named(photos: Path) -> None:
    table = photos.parent / "other.csv"
    table.write_text("file,label\nred/0.png,blue\n", "utf-8")
    with pytest.raises(DataError, match="found no image, decision among file, label"):
        read_corrections(table)
