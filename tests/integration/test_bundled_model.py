"""The bundled model: what its card promises, on the photos that it was measured on."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shopwindow.bundle import Bundle, arithmetic_of, bundled_model_path, read_bundle
from shopwindow.data.dataset import Dataset
from shopwindow.data.label_sets import read_label_map
from shopwindow.data.spec import DataSpec
from shopwindow.data.split import split_images
from shopwindow.evaluation.grading import grade_bundle


@pytest.fixture(scope="module")
def bundled() -> Bundle:
    return read_bundle(bundled_model_path())


@pytest.fixture(scope="module")
def catalogue(
    bundled: Bundle,
    fashion_catalogue: Path,
    first_load: tuple[Dataset, float],  # decodes the same images for other tests too
    catalogue_cache: Path,
) -> Dataset:
    reading = DataSpec.from_record(fashion_catalogue, bundled.info.data)
    return reading.load(
        rule=bundled.info.rule,
        cache_dir=catalogue_cache,
        progress=False,
    )


@pytest.fixture(scope="module")
def five_hundred(
    catalogue: Dataset, fashion_catalogue: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with 500 validation images and `labels.csv`."""
    folder = tmp_path_factory.mktemp("five-hundred")
    valid = split_images(catalogue).valid
    main = catalogue.label_columns[0]
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "label"))
        for index in valid[:: len(valid) // 500][:500]:
            source = fashion_catalogue / catalogue.references[index]
            shutil.copy(source, folder / source.name)
            label = catalogue.vocabularies[main][catalogue.codes[main][index]]
            writer.writerow((source.name, label))
    return folder


def test_bundled_model_is_small_and_right_as_often_as_the_issue_asks(bundled: Bundle) -> None:
    assert len(bundled.model) <= 6_500_000
    assert arithmetic_of(bundled.model) == "int8"
    assert bundled.info.main.name == "articleType"
    assert bundled.info.quality["accuracy"] >= 0.89
    assert bundled.info.quality["macro_f1"] >= 0.72
    assert bundled.info.quality["ece"] <= 0.02
    assert [column.name for column in bundled.info.columns[1:]] == [
        *("gender", "masterCategory", "subCategory", "baseColour", "season", "usage"),
    ]


def test_card_tells_data_limits_and_where_the_weights_came_from(bundled: Bundle) -> None:
    card, training = bundled.info.card, bundled.info.training
    assert training["weights"] == "imagenet"
    assert "ImageNet" in " ".join(card["limits"])
    assert "Param Aggarwal" in card["data"]
    assert "Alexey Grigorev" in card["data"]


@pytest.mark.slow
def test_split_of_the_card_is_found_again_in_the_data(bundled: Bundle, catalogue: Dataset) -> None:
    recorded = bundled.info.data["split"]
    split = split_images(
        catalogue, valid_fraction=recorded["valid_fraction"], seed=recorded["seed"]
    )
    assert split.digest(catalogue) == recorded["digest"]
    assert len(split.valid) == bundled.info.quality["images"]


@pytest.mark.slow
def test_phone_photos_of_other_senders_are_right_as_often_as_the_card_says(
    bundled: Bundle, phone_photos: Path, shared_data: Path, tmp_path: Path
) -> None:
    reading = DataSpec(
        phone_photos,
        labels_file=Path("images.csv"),
        image_column="image",
        label_column="label",
        label_map=read_label_map(shared_data / "phone-labels.json"),
        group_column="sender_id",
    )
    evaluation = grade_bundle(
        bundled, phone_photos, spec=reading, cache_dir=tmp_path / "cache", progress=False
    )
    (recorded,) = bundled.info.quality["also"]
    assert evaluation.images == recorded["images"], "its validation part was found again"
    assert evaluation.grades.accuracy >= 0.85
    assert evaluation.grades.ece <= 0.03
    # The card was measured on images from the cache, this on the files, decoded as a server does.
    assert evaluation.grades.accuracy == pytest.approx(recorded["accuracy"], abs=0.01)


@pytest.mark.slow
def test_predict_on_500_images_is_right_as_often_as_the_report_says(
    bundled: Bundle, five_hundred: Path, tmp_path: Path
) -> None:
    evaluation = grade_bundle(bundled, five_hundred, cache_dir=tmp_path / "cache", progress=False)
    output = tmp_path / "rows.csv"
    done = subprocess.run(
        [sys.executable, "-m", "shopwindow", "predict", five_hundred, "--output", output],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with (five_hundred / "labels.csv").open(newline="") as file:
        labels = {row["image"]: row["label"] for row in csv.DictReader(file)}
    with output.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    right = sum(labels[Path(row["path"]).name] == row["label"] for row in rows)
    assert len(rows) == evaluation.images == 500
    assert right / 500 == pytest.approx(evaluation.grades.accuracy)
    # 500 of the images that the card's figure was measured on: within three standard errors.
    assert right / 500 == pytest.approx(bundled.info.quality["accuracy"], abs=0.05)
