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
from shopwindow.training import TrainingOptions, export_run, settle_options, train
from shopwindow.training.run import Run
from shopwindow.training.trainer import Trainer

OpenTrainer = Callable[..., Trainer]


@pytest.fixture
def open_trainer(shapes: Path, shapes_run: Path, tmp_path: Path) -> OpenTrainer:
    """Return a function that opens a training from the bundle of the shapes."""

    def open_it(data: Path = shapes, **given: Any) -> Trainer:
        base = {"data": data, "start_from": shapes_run / "model.onnx", "out": tmp_path / "run"}
        return Trainer(Run.create(settle_options({**base, "cache_dir": tmp_path, **given})))

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
    open_trainer: OpenTrainer, shapes_run: Path, shapes_options: TrainingOptions
) -> None:
    trainer, bundle = open_trainer(), read_bundle(shapes_run / "model.onnx")
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
    open_trainer: OpenTrainer, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        open_trainer(**given)


def test_bundle_that_was_not_trained_here_is_refused(
    open_trainer: OpenTrainer, colour_bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="found the recipe 'none'"):
        open_trainer(start_from=colour_bundle)
    (tmp_path / "broken.onnx").write_bytes(b"no bundle")
    with pytest.raises(BundleError):
        open_trainer(start_from=tmp_path / "broken.onnx")


def test_other_images_or_labels_are_refused(
    open_trainer: OpenTrainer, shapes: Path, tmp_path: Path
) -> None:
    grown = tmp_path / "grown"
    shutil.copytree(shapes, grown)
    table = (grown / "shapes.csv").read_text()
    noise(1).save(grown / "more.png")
    (grown / "shapes.csv").write_text(f"{table}more.png,circle,red,same\n")
    with pytest.raises(UsageError, match=r"expected the images that shapes .* was trained on"):
        open_trainer(grown)
    (grown / "shapes.csv").write_text(table.replace("cross", "star"))
    with pytest.raises(UsageError, match="shape lacks cross and shape has star as well"):
        open_trainer(grown)


def test_correction_that_shows_a_held_out_image_is_not_learnt(
    open_trainer: OpenTrainer, shapes: Path, tmp_path: Path
) -> None:
    plain = open_trainer()
    held_out, seen = (
        Image.open(shapes / plain.dataset.references[part[0]])
        for part in (plain.split.valid, plain.split.train)
    )
    # A visitor's copy: larger, and saved again.
    again = held_out.resize((96, 96), Image.Resampling.BICUBIC)
    rows = [(noise(1), "circle"), (again, "cross"), (seen, "square"), (noise(2), "(none of these)")]
    folder = write_corrections(tmp_path / "given", rows)
    extra = open_trainer(feedback=folder).mix.corrections
    assert extra is not None
    learned = [extra.dataset.references[index] for index in extra.split.train]
    assert learned == ["images/0.png", "images/2.png", "images/3.png"]
    assert len(extra.split.valid) == 0

    only = write_corrections(tmp_path / "only", [(again, "cross")])
    with pytest.raises(DataError, match="all 1 show images that were held out"):
        open_trainer(feedback=only)


def test_few_corrections_get_a_place_in_each_batch_and_many_no_more_than_a_fifth(
    open_trainer: OpenTrainer, tmp_path: Path
) -> None:
    for count, expected in ((1, 10 / 72), (40, 0.2)):
        rows = [(noise(seed), "circle") for seed in range(count)]
        folder = write_corrections(tmp_path / str(count), rows)
        source = open_trainer(feedback=folder).mix.sources[-1]
        assert (len(source.train), source.share) == (count, pytest.approx(expected))


def test_card_tells_where_it_started_and_what_it_learned_of_corrections(
    shapes: Path, shapes_run: Path, tmp_path: Path
) -> None:
    start = shapes_run / "model.onnx"
    given = {"data": shapes, "start_from": start, "out": tmp_path / "run", "epochs": (1,)}
    given["feedback"] = write_corrections(tmp_path / "given", [(noise(1), "circle")])
    before, after = read_bundle(start), read_bundle(train(settle_options(given)) / "model.onnx")
    assert after.info.training["started_from"]["sha256"] == before.sha256
    assert after.info.data["corrections"] == {"train": 1, "held_back": 0, "share": 0.1389}
    seen, started = read_seen(after.info.data), read_seen(before.info.data)
    assert seen is not None
    assert started is not None
    (photo,) = (tmp_path / "given" / "images").glob("*.png")
    learned = {digest_of(photo.read_bytes()), *started.learned.tolist()}
    assert set(seen.learned.tolist()) == learned, "the correction too"
    assert after.info.data["split"] == before.info.data["split"]
    assert after.info.columns == before.info.columns
    # It can be opened again, also where the bundle that it started from is gone.
    run = Run.open(tmp_path / "run")
    run.options = replace(run.options, start_from=tmp_path / "gone.onnx")
    assert Trainer(run).batch_size == 16


def test_finished_run_needs_no_correction_any_more_and_an_unfinished_one_the_same(
    shapes: Path, shapes_run: Path, tmp_path: Path
) -> None:
    given = write_corrections(tmp_path / "given", [(noise(1), "circle"), (noise(2), "cross")])
    start = {"data": shapes, "start_from": shapes_run / "model.onnx", "epochs": (1,)}
    run = train(settle_options({**start, "feedback": given, "out": tmp_path / "run"}))
    told = read_bundle(run / "model.onnx").info.data["corrections"]
    shutil.copytree(run, tmp_path / "unfinished")
    (tmp_path / "unfinished" / "stage-2.pt").unlink()
    write_corrections(tmp_path / "others", [(noise(3), "circle")])
    shutil.rmtree(given)
    assert read_bundle(export_run(run, tmp_path / "again.onnx")).info.data["corrections"] == told

    (tmp_path / "others").rename(given)
    with pytest.raises(DataError, match="given: expected the images and labels that the run"):
        Trainer(Run.open(tmp_path / "unfinished"))


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
    Trainer(Run(options.run_dir, options)).save()
    assert Trainer(Run.open(tmp_path / "run")).mix.extras
    noise(99).save(more / "circle" / "99.png")
    with pytest.raises(DataError, match="more: expected the images and labels that the run"):
        Trainer(Run.open(tmp_path / "run"))
