"""Two bundles on one data set: which images are fair to both, what is said, what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from colour_bundle import COLOURS, colour_info, write_colour_bundle
from shopwindow.bundle import Bundle, LabelColumn, read_bundle
from shopwindow.data.dataset import load_dataset
from shopwindow.data.spec import DataSpec
from shopwindow.data.split import split_images
from shopwindow.errors import DataError
from shopwindow.evaluation.comparison import BundleComparison, compare_bundles, format_comparison

# A bundle that takes red for blue and blue for red.
SWAPPED = ("blue", "green", "red", "black", "white")


def make_bundle(path: Path, labels: tuple[str, ...] = tuple(COLOURS), **data: Any) -> Bundle:
    info = colour_info()
    columns = (LabelColumn("colour", labels), *info.columns[1:])
    metadata = json.dumps(replace(info, columns=columns, data=data).as_json())
    return read_bundle(write_colour_bundle(path, metadata=metadata))


def compare(a: Bundle, b: Bundle, photos: Path, **options: Any) -> BundleComparison:
    return compare_bundles(
        a,
        b,
        photos,
        specs=(DataSpec(photos, min_images=1),) * 2,
        cache_dir=photos.parent / "cache",
        progress=False,
        **options,
    )


def test_the_better_of_two_is_named_with_its_lead(photos: Path, tmp_path: Path) -> None:
    a = make_bundle(tmp_path / "a.onnx", SWAPPED)
    b = make_bundle(tmp_path / "b.onnx")
    found = compare(a, b, photos)
    overall = found.comparison.overall
    assert overall.better == "b"
    assert overall.counts.accuracy_a == pytest.approx(1 / 3)
    assert overall.counts.accuracy_b == 1
    assert {label: one.counts.only_b for label, one in found.comparison.per_class.items()} == {
        "red": 12,
        "green": 0,
        "blue": 12,
    }
    said = format_comparison(found)
    assert "B is better, by 66.67 points." in said
    assert "36 images with 3 labels that both know, of all 36 images" in said


def test_labels_that_one_of_them_lacks_are_left_out_and_named(photos: Path, tmp_path: Path) -> None:
    a = make_bundle(tmp_path / "a.onnx")
    b = make_bundle(tmp_path / "b.onnx", ("red", "green", "navy", "black", "white"))
    found = compare(a, b, photos)
    assert found.comparison.overall.counts.images == 24
    assert "12 images left out: with labels that B does not know (blue)" in found.notes
    assert any(note.startswith("A alone knows 1 more labels") for note in found.notes)
    assert any(note.startswith("B alone knows 1 more labels") for note in found.notes)
    assert "Neither is shown to be better" in format_comparison(found)


def test_images_that_either_learned_from_are_left_out(photos: Path, tmp_path: Path) -> None:
    rule = colour_info().rule
    dataset = load_dataset(photos, rule=rule, min_images=1, cache_dir=tmp_path / "cache")
    splits = [split_images(dataset, seed=seed) for seed in (1, 2)]
    bundles = [
        make_bundle(
            tmp_path / f"{split.seed}.onnx",
            split={
                "method": split.method,
                "seed": split.seed,
                "valid_fraction": split.valid_fraction,
                "digest": split.digest(dataset),
            },
        )
        for split in splits
    ]
    both = set(splits[0].valid.tolist()) & set(splits[1].valid.tolist())
    assert 0 < len(both) < len(splits[0].valid)
    found = compare(*bundles, photos)
    assert found.comparison.overall.counts.images == len(both)
    assert "for A and" in found.compared
    assert compare(*bundles, photos, part="all").comparison.overall.counts.images == 36


def test_nothing_in_common_is_a_sentence(photos: Path, tmp_path: Path) -> None:
    a = make_bundle(tmp_path / "a.onnx")
    b = make_bundle(tmp_path / "b.onnx", ("1", "2", "3", "4", "5"))
    with pytest.raises(DataError, match="with labels that both know, found none"):
        compare(a, b, photos)


def test_json_names_both_models_and_has_every_label(photos: Path, tmp_path: Path) -> None:
    a = make_bundle(tmp_path / "a.onnx", SWAPPED)
    b = make_bundle(tmp_path / "b.onnx")
    found = compare(a, b, photos).as_json()
    assert found["a"]["sha256"] == a.sha256
    assert found["b"]["sha256"] == b.sha256
    assert found["overall"]["better"] == "b"
    assert [one["label"] for one in found["per_class"]] == ["blue", "green", "red"]
    json.dumps(found, allow_nan=False)


def test_pictures_that_show_no_label_are_left_out_and_counted(photos: Path, tmp_path: Path) -> None:
    (photos / "green").rename(photos / "(none of these)")
    a, b = make_bundle(tmp_path / "a.onnx"), make_bundle(tmp_path / "b.onnx")
    found = compare(a, b, photos)
    assert found.comparison.overall.counts.images == 24
    assert "12 images left out: none of the labels is shown" in found.notes
