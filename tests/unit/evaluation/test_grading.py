"""Which images are graded, against which labels, and what the reader is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from colour_bundle import colour_info, write_colour_bundle
from shopwindow.bundle import Bundle, Threshold, read_bundle
from shopwindow.bundle.seen import SeenImages
from shopwindow.cli.options import wanted_reading
from shopwindow.data.dataset import Dataset, load_dataset
from shopwindow.data.spec import DataSpec
from shopwindow.data.split import split_images
from shopwindow.errors import BundleError, DataError, UsageError
from shopwindow.evaluation.asking import ask_as_served
from shopwindow.evaluation.grading import grade_bundle
from shopwindow.evaluation.report import format_summary, write_report
from shopwindow.inference.predictor import Predictor

RED, GREEN, BLUE = (250, 0, 0), (0, 250, 0), (0, 0, 250)


def by_table(photos: Path) -> DataSpec:
    return DataSpec(
        photos, Path("table.csv"), label_column="colour", also=("brightness",), min_images=1
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """30 photos with a table: 10 red, 10 green, and 10 blue ones of which 5 are called red."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = ["file,colour,brightness"]
    for number in range(30):
        colour, label = [(RED, "red"), (GREEN, "green"), (BLUE, "blue")][number // 10]
        image = Image.new("RGB", (12, 16), colour)
        image.paste((255, 255, 255), (number % 10, 0, number % 10 + 2, 1 + number % 10))
        image.save(folder / f"{number:02}.png")
        rows.append(f"{number:02}.png,{'red' if number >= 25 else label},dark")
    (folder / "table.csv").write_text("\n".join(rows))
    return folder


def load(photos: Path, cache_dir: Path) -> Dataset:
    return load_dataset(
        photos,
        rule=colour_info().rule,
        labels_file=Path("table.csv"),
        label_column="colour",
        also=("brightness",),
        min_images=1,
        cache_dir=cache_dir,
        progress=False,
    )


def bundle_with_data(folder: Path, **data: Any) -> Bundle:
    info = replace(colour_info(), data=data)
    return read_bundle(
        write_colour_bundle(folder / "model.onnx", metadata=json.dumps(info.as_json()))
    )


@pytest.fixture
def trained(photos: Path, tmp_path: Path) -> Bundle:
    """A bundle that says it was trained on `photos`."""
    dataset = load(photos, tmp_path / "cache")
    split = split_images(dataset, seed=7)
    return bundle_with_data(
        tmp_path,
        read={
            "labels": "table.csv",
            "image_column": None,
            "label_column": "colour",
            "also": ["brightness"],
            "min_images": 1,
        },
        split={
            "method": split.method,
            "seed": split.seed,
            "valid_fraction": split.valid_fraction,
            "digest": split.digest(dataset),
        },
    )


def test_validation_part_is_found_again_and_graded_alone(
    trained: Bundle, photos: Path, tmp_path: Path
) -> None:
    graded = grade_bundle(trained, photos, cache_dir=tmp_path / "cache", progress=False)
    dataset = load(photos, tmp_path / "cache")
    split = split_images(dataset, seed=7)
    assert graded.images == len(split.valid) < len(dataset)
    assert "validation part" in graded.split
    assert graded.notes == ()
    wrong = sum(dataset.references[index] >= "25" for index in split.valid)
    assert graded.grades.accuracy == pytest.approx(1 - wrong / graded.images)
    assert set(graded.attributes) == {"brightness"}
    assert graded.engine == Predictor(trained).engine_name


def test_all_images_are_graded_when_asked_for(
    trained: Bundle, photos: Path, tmp_path: Path
) -> None:
    graded = grade_bundle(trained, photos, part="all", cache_dir=tmp_path / "cache", progress=False)
    assert graded.images == 30
    assert graded.grades.accuracy == pytest.approx(25 / 30)
    assert "the model learned from 24 of these images" in graded.notes[0]
    assert {image.reference for image in graded.hardest[:5]} == {f"{n}.png" for n in range(25, 30)}


def test_prediction_sets_are_graded_where_the_bundle_promises_them(
    trained: Bundle, sets_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    sets = read_bundle(sets_bundle)
    bundle = replace(sets, info=replace(sets.info, data=trained.info.data))
    asked: dict[str, Any] = {"part": "all", "cache_dir": tmp_path / "cache", "progress": False}
    graded = grade_bundle(bundle, photos, **asked)
    of_all, sure, dark = graded.sets
    assert graded.set_level == 0.95
    assert (of_all.of, sure.of) == ("all", "sure"), "every picture is of one pure colour"
    assert (dark.of, dark.images) == ("like dark colours", 30)
    assert (of_all.images, of_all.held, of_all.mean_size) == (30, 25, 1.0)
    assert grade_bundle(trained, photos, **asked).sets == ()


@pytest.fixture
def knowing(trained: Bundle, photos: Path, tmp_path: Path) -> Bundle:
    """The same, but it knows its images by their digests too."""
    dataset = load(photos, tmp_path / "cache")
    split = split_images(dataset, seed=7)
    seen = SeenImages(dataset.digests[split.train], dataset.digests[split.valid])
    return bundle_with_data(tmp_path, **trained.info.data, **seen.as_json())


def test_photos_of_the_training_are_known_under_other_names(
    knowing: Bundle, photos: Path, tmp_path: Path
) -> None:
    as_they_were = grade_bundle(knowing, photos, cache_dir=tmp_path / "cache", progress=False)
    assert "the validation part: 6 of 30 images" in as_they_were.split
    elsewhere = tmp_path / "elsewhere"
    lines = (photos / "table.csv").read_text().splitlines()
    rows = [f"{number}/a.png,{line[7:]}" for number, line in enumerate(lines[1:])]
    for number in range(30):
        (elsewhere / str(number)).mkdir(parents=True)
        (elsewhere / str(number) / "a.png").write_bytes((photos / f"{number:02}.png").read_bytes())
    (elsewhere / "table.csv").write_text("\n".join([lines[0], *rows]))
    renamed = grade_bundle(knowing, elsewhere, cache_dir=tmp_path / "cache", progress=False)
    assert (renamed.images, renamed.split) == (6, as_they_were.split)
    assert renamed.grades.accuracy == as_they_were.grades.accuracy


def test_other_photos_under_the_names_of_the_training_are_all_graded(
    knowing: Bundle, photos: Path, tmp_path: Path
) -> None:
    for path in photos.glob("*.png"):
        image = Image.open(path)
        image.paste((9, 9, 9), (0, 8, 2, 9))
        image.save(path)
    graded = grade_bundle(knowing, photos, cache_dir=tmp_path / "cache", progress=False)
    assert (graded.images, graded.split) == (30, "all 30 images")
    assert "none of these files is one of the 30" in graded.notes[0]
    with pytest.raises(UsageError, match="--part valid: expected images that were held out"):
        grade_bundle(knowing, photos, part="valid", cache_dir=tmp_path / "cache", progress=False)


def test_new_photos_among_those_of_the_training_are_graded_and_learned_ones_not(
    knowing: Bundle, photos: Path, tmp_path: Path
) -> None:
    rows = []
    for number in range(30, 34):
        image = Image.new("RGB", (12, 16), RED)
        image.paste((9, 9, 9), (number % 10, 8, 10, 9))
        image.save(photos / f"{number}.png")
        rows.append(f"\n{number}.png,red,dark")
    with (photos / "table.csv").open("a") as table:
        table.writelines(rows)
    graded = grade_bundle(knowing, photos, cache_dir=tmp_path / "cache", progress=False)
    assert (graded.images, graded.split) == (10, "10 of 34 images")
    assert "24 images not graded, as the model has learned from them" in graded.notes[0]
    again = grade_bundle(
        knowing, photos, part="valid", cache_dir=tmp_path / "cache", progress=False
    )
    assert again.images == 6


def test_photos_that_were_all_learned_from_are_no_grade(
    trained: Bundle, photos: Path, tmp_path: Path
) -> None:
    dataset = load(photos, tmp_path / "cache")
    seen = SeenImages(dataset.digests, dataset.digests[:0])
    bundle = bundle_with_data(tmp_path, **trained.info.data, **seen.as_json())
    with pytest.raises(DataError, match="not learned from, found 30 that it has"):
        grade_bundle(bundle, photos, cache_dir=tmp_path / "cache", progress=False)
    graded = grade_bundle(bundle, photos, part="all", cache_dir=tmp_path / "cache", progress=False)
    assert graded.images == 30


def test_rare_labels_beside_photos_of_the_training_are_graded(photos: Path, tmp_path: Path) -> None:
    dataset = load(photos, tmp_path / "cache")
    seen = SeenImages(dataset.digests[:0], dataset.digests[:1])  # one test image was seen
    read = {"labels": "table.csv", "label_column": "colour", "min_images": 11}
    bundle = bundle_with_data(tmp_path, read=read, **seen.as_json())
    evaluation = grade_bundle(bundle, photos, cache_dir=tmp_path / "cache", progress=False)
    assert evaluation.images == 30


@pytest.mark.parametrize("seen", [5, {}, {"learned": "?", "held_out": ""}, {"learned": "AAAA"}])
def test_damaged_digests_are_refused(photos: Path, tmp_path: Path, seen: object) -> None:
    bundle = bundle_with_data(tmp_path, seen=seen)
    with pytest.raises(BundleError, match=r"data\.seen: expected digests of images"):
        grade_bundle(
            bundle, photos, spec=by_table(photos), cache_dir=tmp_path / "cache", progress=False
        )


def test_changed_data_is_graded_whole_with_a_note(
    trained: Bundle, photos: Path, tmp_path: Path
) -> None:
    with (photos / "table.csv").open("a") as table:
        table.write("\n00-again.png,red,dark")
    (photos / "00-again.png").write_bytes((photos / "00.png").read_bytes())
    graded = grade_bundle(trained, photos, cache_dir=tmp_path / "cache", progress=False)
    assert graded.images == 31
    assert "not the whole data that the model was trained on" in graded.notes[0]


def test_photo_that_went_since_it_was_decoded_is_graded_all_the_same(
    photos: Path, tmp_path: Path
) -> None:
    dataset = load(photos, tmp_path / "cache")
    (photos / "05.png").unlink()
    predictor = Predictor(bundle_with_data(tmp_path))
    everything = np.arange(len(dataset), dtype=np.int64)
    answers = ask_as_served(predictor, dataset, everything, progress=False)["colour"]
    assert answers[5].argmax() == answers[4].argmax()


def test_what_was_too_rare_to_learn_from_is_graded_in_other_data(
    photos: Path, tmp_path: Path
) -> None:
    read = {"labels": "table.csv", "label_column": "colour", "min_images": 11}
    bundle = bundle_with_data(tmp_path, read=read, split={"method": "grouped", "digest": "0" * 64})
    evaluation = grade_bundle(bundle, photos, progress=False, engine="onnxruntime")
    # 15 photos are called red, and only they would be left.
    assert evaluation.images == 30
    assert not any("left out" in note for note in evaluation.notes)
    asked = replace(DataSpec.from_record(photos, bundle.info.data), is_recorded=False)
    evaluation = grade_bundle(bundle, photos, spec=asked, progress=False, engine="onnxruntime")
    assert evaluation.images == 15, "who asks for it gets it"


def test_validation_part_of_other_data_is_refused(
    trained: Bundle, photos: Path, tmp_path: Path
) -> None:
    (photos / "00.png").unlink()
    with pytest.raises(UsageError, match="--part valid: expected images that were held out"):
        grade_bundle(trained, photos, part="valid", cache_dir=tmp_path / "cache", progress=False)


@pytest.mark.parametrize(
    "record",
    [
        None,
        "text",
        {"method": "grouped"},
        {"method": 1, "seed": [], "valid_fraction": "", "digest": 2},
    ],
)
def test_record_that_makes_no_sense_means_all_images(
    photos: Path, tmp_path: Path, record: object
) -> None:
    bundle = bundle_with_data(tmp_path, split=record)
    graded = grade_bundle(
        bundle, photos, spec=by_table(photos), cache_dir=tmp_path / "cache", progress=False
    )
    assert graded.images == 30


def test_labels_that_the_model_lacks_are_named_and_not_graded(photos: Path, tmp_path: Path) -> None:
    text = (photos / "table.csv").read_text().replace("green", "olive")
    (photos / "table.csv").write_text(text)
    bundle = bundle_with_data(tmp_path)
    graded = grade_bundle(
        bundle, photos, spec=by_table(photos), cache_dir=tmp_path / "cache", progress=False
    )
    assert (graded.grades.images, graded.grades.missing) == (20, 10)
    assert graded.grades.accuracy == pytest.approx(15 / 20)
    assert any("10 images not graded" in n and "olive" in n for n in graded.notes)


def test_data_without_any_known_label_is_refused(photos: Path, tmp_path: Path) -> None:
    (photos / "table.csv").write_text("file,colour\n00.png,round\n01.png,square\n")
    reading = replace(by_table(photos), also=())
    with pytest.raises(DataError, match="expected labels that the model knows, such as 'red'"):
        grade_bundle(
            bundle_with_data(tmp_path),
            photos,
            spec=reading,
            cache_dir=tmp_path / "cache",
            progress=False,
        )


def test_another_answer_is_graded_in_place_of_the_bundle(
    trained: Bundle, photos: Path, tmp_path: Path
) -> None:
    def always_green(dataset: Dataset, indices: NDArray[np.int64]) -> dict[str, Any]:
        return {
            column.name: np.eye(len(column.labels), dtype=np.float32)[np.ones(len(indices), int)]
            for column in trained.info.columns
        }

    graded = grade_bundle(
        trained,
        photos,
        part="all",
        answer=always_green,
        cache_dir=tmp_path / "cache",
        progress=False,
    )
    assert graded.grades.accuracy == pytest.approx(10 / 30)
    assert (graded.model_sha256, graded.engine) == ("", "")


def test_recorded_table_is_taken_by_name_only(tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere" / "secret.csv"
    secret.parent.mkdir()
    secret.write_text("file,label\n")
    data = tmp_path / "data"
    data.mkdir()
    bundle = bundle_with_data(tmp_path, read={"labels": str(secret), "label_column": "label"})
    assert DataSpec.from_record(data, bundle.info.data) == DataSpec(data, min_images=1)
    (data / "secret.csv").write_text("file,label\n")
    assert DataSpec.from_record(data, bundle.info.data).labels_file == data / "secret.csv"


def test_another_table_is_read_by_the_columns_of_the_training(photos: Path, tmp_path: Path) -> None:
    read = {
        "labels": "train.csv",
        "image_column": "pic",
        "label_column": "colour",
        "also": ["brightness", "age"],
    }
    bundle = bundle_with_data(tmp_path, read=read)
    text = (photos / "table.csv").read_text()
    (photos / "table.csv").unlink()
    (photos / "test.csv").write_text(text.replace("file,", "pic,"))
    for data in (photos, photos / "test.csv"):
        reading = DataSpec.from_record(data, bundle.info.data)
        assert (reading.labels_file, reading.image_column, reading.also) == (
            None,
            "pic",
            ("brightness",),
        )
        graded = grade_bundle(bundle, data, cache_dir=tmp_path / "cache", progress=False)
        assert (graded.images, graded.grades.accuracy) == (30, 25 / 30)
    (photos / "more.csv").write_text("file,colour\n00.png,red\n")
    asked = wanted_reading({"labels_file": photos / "more.csv"}, bundle, photos)
    assert (asked.image_column, asked.label_column, asked.also) == (None, "colour", ())
    other = wanted_reading({"label_column": "brightness"}, bundle, photos / "test.csv")
    assert other == DataSpec(
        photos / "test.csv", image_column="pic", label_column="brightness", min_images=1
    )


def test_table_that_was_the_data_of_the_training_is_found_among_others(
    photos: Path, tmp_path: Path
) -> None:
    bundle = bundle_with_data(tmp_path, read={"label_column": "colour"}, source="table.csv")
    (photos / "more.csv").write_text("file,colour\n")
    assert DataSpec.from_record(photos, bundle.info.data).labels_file == photos / "table.csv"
    (photos / "table.csv").rename(photos / "other.csv")
    with pytest.raises(UsageError, match="holds 2 tables"):
        DataSpec.from_record(photos, bundle.info.data)


def test_missing_label_column_is_no_fault_of_an_option(photos: Path, tmp_path: Path) -> None:
    bundle = bundle_with_data(tmp_path, read={"labels": "table.csv", "label_column": "kind"})
    with pytest.raises(UsageError, match=r"There is no column 'label'\. The columns of"):
        grade_bundle(bundle, photos, cache_dir=tmp_path / "cache", progress=False)


def test_bundle_that_is_never_sure_is_graded_as_such(photos: Path, tmp_path: Path) -> None:
    info = replace(colour_info(), threshold=Threshold(0.0, 0.0, 0.0))
    never = read_bundle(
        write_colour_bundle(tmp_path / "never.onnx", metadata=json.dumps(info.as_json()))
    )
    graded = grade_bundle(
        never, photos, spec=by_table(photos), cache_dir=tmp_path / "cache", progress=False
    )
    assert (graded.sure.sure, graded.sure.min_confidence) == (0, None)
    assert "this model is never sure" in format_summary(graded)
    page, _ = write_report(tmp_path / "report", graded)
    assert "This model marks no prediction as sure" in page.read_text()


def test_pictures_that_show_nothing_are_not_counted_as_unknown(
    photos: Path, tmp_path: Path
) -> None:
    text = (photos / "table.csv").read_text().replace(",green,", ",(none of these),")
    (photos / "table.csv").write_text(text.replace("29.png,red", "29.png,olive"))
    graded = grade_bundle(
        bundle_with_data(tmp_path),
        photos,
        spec=by_table(photos),
        cache_dir=tmp_path / "cache",
        progress=False,
    )
    assert any(note.startswith("10 images without any of the labels") for note in graded.notes)
    assert any(note.startswith("1 image not graded") for note in graded.notes)


@pytest.mark.parametrize("table", [None, "styles.csv"])
def test_folders_of_classes_are_read_as_they_come_after_a_training_on_a_table(
    tmp_path: Path, table: str | None
) -> None:
    data = tmp_path / "data"
    (data / "red").mkdir(parents=True)
    Image.new("RGB", (12, 16), RED).save(data / "red" / "1.png")
    read = {"labels": table, "label_column": "colour", "also": ["brightness"], "min_images": 1}
    bundle = bundle_with_data(tmp_path, read=read)
    assert DataSpec.from_record(data, bundle.info.data) == DataSpec(data, min_images=1)
    graded = grade_bundle(bundle, data, cache_dir=tmp_path / "cache", progress=False)
    assert graded.grades.accuracy == 1
    (data / "styles.csv").write_text("file,colour,brightness\n")
    assert DataSpec.from_record(data, bundle.info.data).label_column == "colour"


def test_labels_mean_what_they_meant_in_the_training(photos: Path, tmp_path: Path) -> None:
    text = (photos / "table.csv").read_text().replace(",red,", ",1,").replace(",blue,", ",junk,")
    (photos / "table.csv").write_text(text)
    read = {"labels": "table.csv", "label_column": "colour", "min_images": 1}
    label_map = {"1": ["red"], "junk": None}
    bundle = bundle_with_data(tmp_path, read=read | {"label_map": label_map})
    graded = grade_bundle(bundle, photos, cache_dir=tmp_path / "cache", progress=False)
    assert (graded.grades.images, graded.grades.accuracy) == (15, 10 / 15)
    # Other data may have the model's own labels, of which the map names none.
    (photos / "table.csv").write_text(text.replace(",1,", ",red,").replace(",junk,", ",blue,"))
    graded = grade_bundle(bundle, photos, cache_dir=tmp_path / "cache", progress=False)
    assert (graded.grades.images, graded.grades.accuracy) == (30, 25 / 30)
    broken = bundle_with_data(tmp_path, read=read | {"label_map": "red"})
    with pytest.raises(DataError, match="expected a JSON object with an entry for each label"):
        DataSpec.from_record(photos, broken.info.data)
