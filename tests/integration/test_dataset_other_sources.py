"""Photos from phones, and image files that were made to break decoders."""

from __future__ import annotations

import csv
from pathlib import Path

from shopwindow.data.dataset import load_dataset
from shopwindow.imaging.preprocess import ResizeRule


def test_phone_photos_are_read_without_any_option_but_the_attribute(
    phone_photos: Path, tmp_path: Path
) -> None:
    dataset = load_dataset(
        phone_photos, rule=ResizeRule(32, 32), also=["kids"], cache_dir=tmp_path, progress=False
    )
    assert len(dataset) + len(dataset.dropped) >= 3_117
    assert {row.kind for row in dataset.dropped} <= {"label with too few images", "no image file"}
    assert dataset.vocabularies["kids"] == ("False", "True")


def test_hostile_images_are_left_out_with_a_reason_and_stop_nothing(
    hostile_images: Path, tmp_path: Path
) -> None:
    with (hostile_images / "INDEX.csv").open(encoding="utf-8", newline="") as file:
        index = list(csv.DictReader(file))
    table = tmp_path / "labels.csv"
    lines = [f'"{row["file"]}",{row["expect"]}' for row in index]
    table.write_text("\n".join(["file,label", *lines]), "utf-8")
    dataset = load_dataset(
        hostile_images,
        labels_file=table,
        rule=ResizeRule(32, 32),
        min_images=1,
        cache_dir=tmp_path / "cache",
        progress=False,
    )
    used = set(dataset.references)
    dropped = {row.reference for row in dataset.dropped if row.where != "file"}
    for row in index:
        if row["expect"] == "decodes":
            assert row["file"] in used
        elif row["expect"] == "must_reject":
            assert row["file"] in dropped
    assert all(row.reason for row in dataset.dropped)
