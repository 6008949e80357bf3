"""A training that goes on from a bundle, and what people have put right on the way into it."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shopwindow.bundle import read_bundle
from shopwindow.bundle.seen import read_seen
from shopwindow.errors import BundleError, DataError, UsageError
from shopwindow.imaging.formats import digest_of
from shopwindow.runs import Run, TrainingOptions, settle_options
from shopwindow.training.export import export_run
from shopwindow.training.fine_tuning import train
from shopwindow.training.trainer import Trainer, open_trainer

OpenTrainer = Callable[..., Trainer]


@pytest.fixture
def open_from_bundle(shapes: Path, shapes_run: Path, tmp_path: Path) -> OpenTrainer:
    """Return a function that opens a training from the bundle of the shapes."""

    def open_it(data: Path = shapes, **given: Any) -> Trainer:
        base = {"data": data, "start_from": shapes_run / "model.onnx", "out": tmp_path / "run"}
        return open_trainer(Run.create(settle_options({**base, "cache_dir": tmp_path, **given})))

    return open_it


def write_corrections(folder: Path, rows: list[tuple[Image.Image, str]]) -> Path:
    (folder / "images").mkdir(parents=True)
    with (folder / "corrections.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "label"))
        for number, (image, label) in enumerate(rows):
            image.save(folder / "images" / f"{number}.png")
            writer.writerow((f"images/{number}.png", label))
    return folder


def noise(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    return Image.fromarray(pixels)


def test_card_settles_labels_size_and_held_out_images(
    open_from_bundle: OpenTrainer, shapes_run: Path, shapes_options: TrainingOptions
) -> None:
    trainer, bundle = open_from_bundle(), read_bundle(shapes_run / "model.onnx")
    options = trainer.options
    for name in ("recipe", "image_column", "label_column", "also", "size", "batch_size", "name"):
        assert getattr(options, name) == getattr(shapes_options, name), name
    assert trainer.arch == "test_efficientnet"
    assert trainer.epochs == (2,)
    assert trainer.split.digest(trainer.dataset) == bundle.info.data["split"]["digest"]
    assert trainer.dataset.vocabularies == {c.name: c.labels for c in bundle.info.columns}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": (96, 96)}, "size: expected 64,64, as .* was trained, got 96,96"),
        ({"seed": 7}, "seed: expected 42"),
        ({"label_column": "colour"}, "label column: expected shape"),
        ({"also": ()}, "also: expected colour"),
        ({"arch": "resnet18"}, "arch: expected test_efficientnet"),
        ({"weights": "none"}, "--weights has no effect with --start-from"),
    ],
)
def test_what_must_agree_cannot_be_given_otherwise(
    open_from_bundle: OpenTrainer, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        open_from_bundle(**given)


def test_bundle_that_was_not_trained_here_is_refused(
    open_from_bundle: OpenTrainer, colour_bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="found the recipe 'none'"):
        open_from_bundle(start_from=colour_bundle)
    (tmp_path / "broken.onnx").write_bytes(b"no bundle")
    with pytest.raises(BundleError):
        open_from_bundle(start_from=tmp_path / "broken.onnx")


def test_other_images_or_labels_are_refused(
    open_from_bundle: OpenTrainer, shapes: Path, tmp_path: Path
) -> None:
    grown = tmp_path / "grown"
    shutil.copytree(shapes, grown)
    table = (grown / "shapes.csv").read_text()
    noise(1).save(grown / "more.png")
    (grown / "shapes.csv").write_text(f"{table}more.png,circle,red,same\n")
    with pytest.raises(UsageError, match=r"expected the images that shapes .* was trained on"):
        open_from_bundle(grown)
    (grown / "shapes.csv").write_text(table.replace("cross", "star"))
    with pytest.raises(UsageError, match="shape lacks cross and shape has star as well"):
        open_from_bundle(grown)


def test_correction_that_shows_a_held_out_image_is_not_learnt(
    open_from_bundle: OpenTrainer, shapes: Path, tmp_path: Path
) -> None:
    plain = open_from_bundle()
    held_out, seen = (
        Image.open(shapes / plain.dataset.references[part[0]])
        for part in (plain.split.valid, plain.split.train)
    )
    # A visitor's copy: larger, and saved again.
    again = held_out.resize((96, 96), Image.Resampling.BICUBIC)
    rows = [(noise(1), "circle"), (again, "cross"), (seen, "square"), (noise(2), "(none of these)")]
    folder = write_corrections(tmp_path / "given", rows)
    extra = open_from_bundle(feedback=folder).mix.corrections
    assert extra is not None
    learned = [extra.dataset.references[index] for index in extra.split.train]
    assert learned == ["images/0.png", "images/2.png", "images/3.png"]
    assert len(extra.split.valid) == 0

    only = write_corrections(tmp_path / "only", [(again, "cross")])
    with pytest.raises(DataError, match="all 1 show images that were held out"):
        open_from_bundle(feedback=only)


def test_few_corrections_get_a_place_in_each_batch_and_many_no_more_than_a_fifth(
    open_from_bundle: OpenTrainer, tmp_path: Path
) -> None:
    for count, expected in ((1, 10 / 72), (40, 0.2)):
        rows = [(noise(seed), "circle") for seed in range(count)]
        folder = write_corrections(tmp_path / str(count), rows)
        source = open_from_bundle(feedback=folder).mix.sources[-1]
        assert (len(source.train), source.batch_fraction) == (count, pytest.approx(expected))


@pytest.fixture(scope="module")
def corrected_run(
    shapes: Path, shapes_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A run that went on from the bundle of the shapes, and the two corrections that it learned."""
    folder = tmp_path_factory.mktemp("corrected")
    given = write_corrections(folder / "given", [(noise(1), "circle"), (noise(2), "cross")])
    start = {"data": shapes, "start_from": shapes_run / "model.onnx", "epochs": (1,)}
    options = settle_options({**start, "feedback": given, "out": folder / "run"})
    return train(Run.create(options)), given


def test_card_says_where_it_started_and_what_it_learned_of_corrections(
    corrected_run: tuple[Path, Path], shapes_run: Path
) -> None:
    run, given = corrected_run
    before, after = read_bundle(shapes_run / "model.onnx"), read_bundle(run / "model.onnx")
    assert after.info.training["started_from"]["sha256"] == before.sha256
    assert after.info.data["corrections"] == {"train": 2, "held_back": 0, "share": 0.2}
    seen, started = read_seen(after.info.data), read_seen(before.info.data)
    assert seen is not None
    assert started is not None
    photos = [digest_of(photo.read_bytes()) for photo in (given / "images").glob("*.png")]
    learned = {*photos, *started.learned.tolist()}
    assert set(seen.learned.tolist()) == learned, "the corrections too"
    assert after.info.data["split"] == before.info.data["split"]
    assert after.info.columns == before.info.columns


def copy_run(source: Path, folder: Path, **changed: Path) -> Run:
    """A copy of a run, whose files are found in other places or are gone."""
    shutil.copytree(source, folder)
    run = Run.open(folder)
    run.options = replace(run.options, **changed)
    run.save()
    return run


def test_run_can_be_opened_where_the_bundle_that_it_started_from_is_gone(
    corrected_run: tuple[Path, Path], tmp_path: Path
) -> None:
    run = copy_run(corrected_run[0], tmp_path / "run", start_from=tmp_path / "gone.onnx")
    assert open_trainer(run).batch_size == 16


def test_finished_run_needs_no_correction_any_more_and_an_unfinished_one_the_same(
    corrected_run: tuple[Path, Path], tmp_path: Path
) -> None:
    finished = copy_run(corrected_run[0], tmp_path / "finished", feedback=tmp_path / "gone")
    again = export_run(finished.folder, tmp_path / "again.onnx")
    learned = read_bundle(corrected_run[0] / "model.onnx").info.data["corrections"]
    assert read_bundle(again).info.data["corrections"] == learned

    others = write_corrections(tmp_path / "others", [(noise(3), "circle")])
    unfinished = copy_run(corrected_run[0], tmp_path / "unfinished", feedback=others)
    (unfinished.folder / "stage-2.pt").unlink()
    with pytest.raises(DataError, match="others: expected the images and labels that the run"):
        open_trainer(unfinished)


def test_run_refuses_a_further_data_set_that_has_changed(
    shapes: Path, shapes_options: TrainingOptions, tmp_path: Path
) -> None:
    more = tmp_path / "more"
    for label in ("circle", "cross"):
        (more / label).mkdir(parents=True)
        for seed in range(10):
            noise(seed + 10 * (label == "cross")).save(more / label / f"{seed}.png")
    file = tmp_path / "more.toml"
    file.write_text('data = "more"\nshare = 0.25\n')
    options = replace(shapes_options, extras=(file,), out=tmp_path / "run")
    open_trainer(Run(options.run_dir, options)).save()
    assert open_trainer(Run.open(tmp_path / "run")).mix.extras
    noise(99).save(more / "circle" / "99.png")
    with pytest.raises(DataError, match="more: expected the images and labels that the run"):
        open_trainer(Run.open(tmp_path / "run"))
