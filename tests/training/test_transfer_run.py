"""The recipe `transfer` from end to end: a local ResNet-50 weight file and 500 real images."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision

from shopwindow.bundle import read_bundle
from shopwindow.runs import Run, TrainingOptions
from shopwindow.training.fine_tuning import find_learning_rate, train


@pytest.fixture(scope="module")
def five_hundred(fashion_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 500 catalogue images of three common labels, in one folder per label."""
    folder = tmp_path_factory.mktemp("five-hundred")
    wanted = {"Tshirts": 170, "Watches": 165, "Casual Shoes": 165}
    with (fashion_catalogue / "styles.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            image = fashion_catalogue / "images" / f"{row['id']}.jpg"
            label = row["articleType"]
            if wanted.get(label, 0) > 0 and image.exists():
                (folder / label).mkdir(exist_ok=True)
                shutil.copy(image, folder / label)
                wanted[label] -= 1
    return folder


@pytest.fixture(scope="module")
def resnet50_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def options(
    five_hundred: Path, resnet50_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> TrainingOptions:
    folder = tmp_path_factory.mktemp("transfer")
    return TrainingOptions(
        data=five_hundred,
        recipe="transfer",
        weights=str(resnet50_file),
        epochs=(2, 3),  # the body learns: its head alone, on features by chance, hardly does
        size=(48, 48),
        out=folder / "run",
        cache_dir=folder / "cache",
    )


@pytest.fixture(scope="module")
def transfer_run(options: TrainingOptions) -> Path:
    return train(Run.create(options))


def test_transfer_trains_head_then_body_and_leaves_both_stages(transfer_run: Path) -> None:
    with (transfer_run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["stage"] for row in rows] == ["stage-1"] * 2 + ["stage-2"] * 3
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert (transfer_run / "lr-find.png").stat().st_size > 0
    first, second = (
        torch.load(transfer_run / f"stage-{n}.pt", weights_only=True)["model"] for n in (1, 2)
    )
    body = "net.0.4.0.conv1.weight"
    head = next(name for name in first if name.startswith("net.1.") and name.endswith("8.weight"))
    assert not torch.equal(first[body], second[body])
    assert not torch.equal(first[head], second[head])


def test_the_frozen_body_still_has_the_weights_of_the_file_after_stage_1(
    transfer_run: Path, resnet50_file: Path
) -> None:
    given = torch.load(resnet50_file, weights_only=True)
    after = torch.load(transfer_run / "stage-1.pt", weights_only=True)["model"]
    assert torch.equal(after["net.0.4.0.conv1.weight"], given["layer1.0.conv1.weight"])


def test_transfer_ends_in_a_bundle_that_says_where_its_weights_came_from(
    transfer_run: Path,
) -> None:
    info = read_bundle(transfer_run / "model.onnx").info
    assert info.training["arch"] == "resnet50"
    assert info.training["weights"] == "resnet50.pth"
    assert info.data["images"] == 500
    assert info.quality["images"] == info.data["valid"]
    assert not info.activation_map  # fastai's head has a hidden layer


def test_find_lr_draws_the_curve_and_suggests_a_rate(
    options: TrainingOptions, tmp_path: Path
) -> None:
    quick = replace(options, arch="resnet18", weights="none", out=tmp_path / "lr")
    suggestion, picture = find_learning_rate(quick)
    assert 1e-7 < suggestion < 10
    assert picture.read_bytes().startswith(b"\x89PNG")
