"""The recipe `transfer` from end to end, from a local weight file."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import torch

from shopwindow.bundle import read_bundle
from shopwindow.runs import TrainingOptions
from shopwindow.training.fine_tuning import find_learning_rate


def test_transfer_trains_head_then_body_and_leaves_both_stages(transfer_run: Path) -> None:
    with (transfer_run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["stage"] for row in rows] == ["stage-1", *["stage-2"] * 3]
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
    transfer_run: Path, resnet18_file: Path
) -> None:
    given = torch.load(resnet18_file, weights_only=True)
    after = torch.load(transfer_run / "stage-1.pt", weights_only=True)["model"]
    assert torch.equal(after["net.0.4.0.conv1.weight"], given["layer1.0.conv1.weight"])


def test_transfer_ends_in_a_bundle_that_says_where_its_weights_came_from(
    transfer_run: Path,
) -> None:
    info = read_bundle(transfer_run / "model.onnx").info
    assert info.training["arch"] == "resnet18"
    assert info.training["weights"] == "resnet18.pth"
    assert info.data["images"] == 90
    assert info.quality["images"] == info.data["valid"]
    assert not info.activation_map  # fastai's head has a hidden layer


def test_find_lr_draws_the_curve_and_suggests_a_rate(
    transfer_options: TrainingOptions, tmp_path: Path
) -> None:
    suggestion, picture = find_learning_rate(replace(transfer_options, out=tmp_path / "lr"))
    assert 1e-7 < suggestion < 10
    assert picture.read_bytes().startswith(b"\x89PNG")
