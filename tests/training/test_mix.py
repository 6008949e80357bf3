"""Several data sets in one training, each with its share of a batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from fastai.torch_core import TensorImage
from PIL import Image, ImageOps

from shopwindow.bundle import read_bundle
from shopwindow.calibration import curves
from shopwindow.calibration.calibrating import Calibration
from shopwindow.data.label_sets import read_label_map
from shopwindow.data.spec import DataSpec
from shopwindow.data.split import split_images
from shopwindow.errors import DataError, UsageError
from shopwindow.evaluation.asking import ValidationSet
from shopwindow.evaluation.grading import grade_bundle
from shopwindow.runs import Run, TrainingOptions
from shopwindow.runs.mix import ExtraDataset, TrainingMix, combine, open_extra
from shopwindow.runs.training_data import keep_apart, open_dataset
from shopwindow.training import export
from shopwindow.training.augmentations import build_augmentations
from shopwindow.training.fine_tuning import train
from shopwindow.training.int8 import quantise_run
from shopwindow.training.loaders import CachedLoader


@pytest.fixture(scope="module")
def extra_file(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Negatives of the drawings under coarser names: `round`; `edged` for a cross or a square."""
    folder = tmp_path_factory.mktemp("coarse")
    (folder / "negatives").mkdir()
    for path in shapes.glob("*.png"):
        with Image.open(path) as image:
            ImageOps.invert(image).save(folder / "negatives" / path.name)
    rows = [line.split(",") for line in (shapes / "shapes.csv").read_text().split()[1:]]
    names = {"circle": "round", "cross": "edged", "square": "edged"}
    lines = [f"{n % 9},{row[0]},{names[row[1]]}" for n, row in enumerate(rows)]
    (folder / "coarse.csv").write_text("\n".join(["sender,file,name", *lines]))
    (folder / "map.json").write_text(
        json.dumps({"round": ["circle"], "edged": ["cross", "square"]})
    )
    (folder / "coarse.toml").write_text(
        'data = "negatives"\nlabels = "coarse.csv"\nimage_column = "file"\nlabel_column = "name"\n'
        'label_map = "map.json"\ngroup_column = "sender"\nshare = 0.25\n'
    )
    return folder / "coarse.toml"


@pytest.fixture(scope="module")
def mix(shapes_options: TrainingOptions, extra_file: Path) -> TrainingMix:
    dataset = open_dataset(Run(shapes_options.run_dir, shapes_options), (64, 64))
    extra = open_extra(
        ExtraDataset.read(extra_file), dataset, seed=1, cache_dir=None, progress=False
    )
    split = split_images(dataset, seed=1)
    return combine(dataset, split, [extra])


def test_sets_of_all_sources_are_numbered_alike(mix: TrainingMix) -> None:
    main, extra = mix.sources
    assert main.targets.max() == 2, "a circle, a cross, a square"
    assert np.unique(extra.targets[:, 0]).tolist() == [0, 3]
    assert np.unique(extra.targets[:, 1]).tolist() == [-1], "it has no colours"
    assert mix.sets[0].tolist() == [[False, True, True]]


def test_batch_holds_the_shares_with_the_main_data_set_first(mix: TrainingMix) -> None:
    loader = CachedLoader(mix.sources, mix.split.train, 16, train=True, seed=1)
    loader.start_epoch("stage-1", 0)
    batches = list(loader)
    assert len(batches) == len(mix.split.train) // 12
    for images, codes in batches:
        assert images.shape == (16, 3, 64, 64)
        assert (codes[:12, 0] < 3).all()
        assert set(codes[12:, 0].tolist()) <= {0, 3}


def test_continuing_in_an_epoch_draws_the_same_from_all_sources(mix: TrainingMix) -> None:
    loader = CachedLoader(mix.sources, mix.split.train, 16, train=True, seed=1)
    loader.start_epoch("stage-1", 2)
    whole = [(images.clone(), codes) for images, codes in loader]
    loader.start_epoch("stage-1", 2, first_batch=3)
    rest = list(loader)
    assert len(rest) == len(whole) - 3
    for (images, codes), (images_again, codes_again) in zip(whole[3:], rest, strict=True):
        assert torch.equal(images, images_again)
        assert torch.equal(codes, codes_again)


def test_only_the_extra_data_set_that_asks_for_it_is_augmented_strongly(mix: TrainingMix) -> None:
    main, extra = mix.sources
    sources = [main, replace(extra, augment="strong"), extra]
    loader = CachedLoader(sources, mix.split.train, 16, train=True, seed=1)
    # Each image must come back to its own place: what is usual stays as it is, the rest is negated.
    loader.augmentations = {"usual": lambda images: +images.int(), "strong": lambda x: -x.int()}
    places = torch.arange(16, dtype=torch.uint8).view(16, 1, 1, 1).expand(16, 3, 64, 64) + 1
    images, _ = loader.after_batch((TensorImage(places.clone()), torch.zeros(16, 2)))
    assert images[:, 0, 0, 0].tolist() == [*range(1, 9), -9, -10, -11, -12, 13, 14, 15, 16]


def test_strong_augmentation_erases_a_rectangle_of_every_second_image() -> None:
    torch.manual_seed(1)
    grey = torch.full((200, 3, 32, 32), 128, dtype=torch.uint8)
    images = build_augmentations()["strong"](TensorImage(grey)).as_subclass(torch.Tensor)
    assert images.shape == grey.shape
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    # A plain picture stays plain, whichever way it is turned and lit, but for the noise.
    plain = images.flatten(2).median(2).values[..., None, None]
    noisy = (images - plain).abs() > 0.01
    erased = noisy.any(1).float().mean((1, 2))
    some = erased[erased > 0]
    assert 0.35 < len(some) / len(images) < 0.65
    places = {tuple(image.any(0).nonzero()[0].tolist()) for image in noisy[erased > 0]}
    assert len(places) > len(some) / 2, "each at a place of its own"


def test_every_image_of_an_extra_data_set_comes_before_any_comes_again(mix: TrainingMix) -> None:
    extra = mix.sources[1]
    seen: list[int] = []
    watched = replace(extra, images=lambda rows: seen.extend(rows.tolist()) or extra.images(rows))
    sources = [mix.sources[0], watched]
    loader = CachedLoader(sources, mix.split.train, 40, train=True, seed=1)
    for epoch in range(6):
        loader.start_epoch("stage-1", epoch)
        first = len(seen)
        assert len(list(loader)) == 2
        drawn = seen[first:]
        assert len(drawn) == len(set(drawn)) == 20
    assert set(seen) <= set(extra.train.tolist())


def test_run_with_extra_data_sets_is_exported_with_figures_for_each(
    shapes_options: TrainingOptions,
    extra_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[list[float]] = []
    calibrate = export.calibrate

    def watched(judged: Sequence[ValidationSet], *args: Any, **settings: Any) -> Calibration:
        counted.append([one.weight for one in judged])
        return calibrate(judged, *args, **settings)

    monkeypatch.setattr(export, "calibrate", watched)
    # So few images would have no curves; with them, export proves that the graph does the same.
    monkeypatch.setattr(curves, "MIN_IMAGES", 5)
    options = replace(
        shapes_options,
        extras=(extra_file,),
        also=("colour",),
        families=("colour",),
        epochs=(1,),
        out=tmp_path / "run",
    )
    bundle = read_bundle(train(Run.create(options)) / "model.onnx")
    assert counted == [[0.75, 0.25]]
    (record,) = bundle.info.data["also"]
    counts = [bundle.info.data["valid"], record["valid"]]
    assert [one["images"] for one in bundle.info.data["curves"]] == counts
    steps = onnx.load_model_from_string(bundle.model).graph.node
    assert sum("/calibration-" in node.output[0] for node in steps) > 30
    assert (record["source"], record["left_out"]) == ("negatives", 0)
    assert str(extra_file.parent) not in json.dumps(bundle.info.as_json()), "names, never paths"
    (also,) = bundle.info.quality["also"]
    assert also["images"] == record["valid"]
    assert 0 <= also["accuracy"] <= 1
    (families,) = bundle.info.families
    assert families.name == "colour"
    assert set(families.of) <= {"red", "blue"}
    # The command that grades finds the extra's validation part again, and the same figure.
    evaluation = grade_bundle(
        bundle,
        extra_file.with_name("negatives"),
        spec=DataSpec(
            extra_file.with_name("negatives"),
            labels_file=extra_file.with_name("coarse.csv"),
            image_column="file",
            label_column="name",
            label_map=read_label_map(extra_file.with_name("map.json")),
            group_column="sender",
        ),
        cache_dir=options.cache_dir,
        progress=False,
        engine="onnxruntime",  # as what export writes into a bundle
    )
    assert evaluation.images == record["valid"]
    assert evaluation.grades.accuracy == pytest.approx(also["accuracy"], abs=1e-5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data = [", "expected a TOML file"),
        ('share = 0.5\ncolor = "x"', "found color"),
        ("share = 0.5", "expected the key data"),
        ('data = "x"', "expected the key share"),
        ('data = "x"\nshare = 1.5', "expected a number between 0 and 1, found 1.5"),
        ('data = "x"\nshare = 0.5\naugment = "more"', "expected usual or strong, found 'more'"),
        ("data = 3\nshare = 0.5", "expected a string for data, found 3"),
        ('data = "x"\nshare = 0.5\nalso = "colour"', "expected a list of column names for also"),
        ('data = "x"\nshare = 0.5\nalso = [3]', "expected a list of column names for also"),
        ('data = "x"\nshare = 0.5\naugment = ["strong"]', "expected usual or strong, found"),
    ],
)
def test_extra_data_file_with_a_mistake_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "more.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words) as raised:
        ExtraDataset.read(path)
    assert str(path) in str(raised.value), "there may be several such files"


def test_shares_that_leave_nothing_to_the_main_data_set_are_refused(mix: TrainingMix) -> None:
    greedy = [replace(extra, spec=replace(extra.spec, share=0.7)) for extra in mix.extras]
    with pytest.raises(UsageError, match="at least a quarter"):
        combine(mix.dataset, mix.split, [*greedy, *mix.extras])


def test_share_below_one_image_is_refused(mix: TrainingMix) -> None:
    with pytest.raises(DataError, match="at least one image in a batch of 2"):
        CachedLoader(mix.sources, mix.split.train, 2, train=True, seed=1)


def test_extra_data_set_may_only_have_columns_that_the_main_data_set_has(mix: TrainingMix) -> None:
    (extra,) = mix.extras
    misspelt = replace(extra.spec, also=("color",))
    with pytest.raises(UsageError, match=r"besides shape \(colour\), found color"):
        open_extra(misspelt, mix.dataset, seed=1, cache_dir=None, progress=False)


def test_picture_that_one_data_set_holds_out_is_not_taught_by_another(
    shapes_options: TrainingOptions,
) -> None:
    dataset = open_dataset(Run(shapes_options.run_dir, shapes_options), (64, 64))
    split = split_images(dataset, seed=1)
    again = ExtraDataset(
        shapes_options.data,
        0.25,
        labels=Path("shapes.csv"),
        image_column="file",
        label_column="shape",
    )
    twice = [
        open_extra(again, dataset, seed=seed, cache_dir=None, progress=False) for seed in (2, 3)
    ]
    extras = keep_apart(dataset, split, twice)
    for extra, other in zip(extras, twice, strict=True):
        assert set(extra.elsewhere), "another seed holds out other images"
        assert extra.split is other.split, "by which it is known again"
    parts = [split, *extras]
    taught, held_out = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("train", "valid")
    )
    assert set(taught).isdisjoint(held_out)
    assert set(split.train) <= set(taught), "the main data set keeps all its images"

    none_of_its_own = replace(twice[0], split=replace(split, train=split.valid, valid=split.train))
    with pytest.raises(DataError, match="expected images to learn from, but all of them show"):
        keep_apart(dataset, split, [none_of_its_own])


def test_extra_data_set_of_things_that_are_none_of_the_labels_is_not_right_but_mostly_not_sure(
    shapes_options: TrainingOptions, extra_file: Path, tmp_path: Path
) -> None:
    (extra_file.parent / "none.json").write_text('{"round": [], "edged": []}')
    text = extra_file.read_text().replace("map.json", "none.json")
    (extra_file.parent / "none.toml").write_text(text)
    options = replace(
        shapes_options,
        extras=(extra_file.with_name("none.toml"),),
        epochs=(1,),
        out=tmp_path / "run",
    )
    (also,) = read_bundle(train(Run.create(options)) / "model.onnx").info.quality["also"]
    assert (also["accuracy"], also["ece"], also["sure"]["precision"]) == (None, None, None)
    assert 0 <= also["sure"]["coverage"] <= 1
    assert quantise_run(tmp_path / "run").exists()
