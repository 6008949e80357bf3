"""The family of `small_resnet`: wider and narrower, and with squeeze and excitation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from shopwindow.bundle import read_bundle
from shopwindow.dataset.split import split_images
from shopwindow.inference.engine import OnnxRuntimeEngine
from shopwindow.inference.predictor import load_predictor
from shopwindow.training import TrainingOptions, train
from shopwindow.training.eight_bits import in_eight_bits
from shopwindow.training.network import ResidualBlock, build_classifier
from shopwindow.training.run import Run
from shopwindow.training.teaching import open_teacher
from shopwindow.training.trainer import Trainer


def count_weights(arch: str) -> int:
    model, _ = build_classifier(arch, [10], size_px=(32, 32))
    return sum(p.numel() for p in model.parameters())


def test_name_says_how_wide() -> None:
    whole = count_weights("small_resnet")
    assert count_weights("small_resnet_w64") == whole
    assert count_weights("small_resnet_w32") == pytest.approx(whole / 4, rel=0.01)
    assert whole < count_weights("small_se_resnet") < 1.03 * whole


@torch.no_grad()
def test_excitation_looks_at_the_whole_picture() -> None:
    images = torch.rand(1, 16, 20, 20)
    changed = images.clone()
    changed[..., :4, :4] += 5
    far = {}
    for excite in (False, True):
        torch.manual_seed(1)
        block = ResidualBlock(16, 16, 1, excite=excite).eval()
        block.norm2.weight.fill_(1)  # else a new block is the identity
        far[excite] = (block(images) - block(changed))[..., 12:, 12:].abs().max()
    assert far[False] == 0
    assert far[True] > 0


@pytest.fixture(scope="module")
def se_run(shapes_options: TrainingOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("se") / "run"
    return train(replace(shapes_options, arch="small_se_resnet_w16", epochs=(1,), out=folder))


def test_bundle_with_excitation_maps_starts_teaches_and_fits_eight_bits(
    se_run: Path, shapes_options: TrainingOptions, tmp_path: Path
) -> None:
    path = se_run / "model.onnx"
    bundle = read_bundle(path)
    assert bundle.info.training["arch"] == "small_se_resnet_w16"
    options = replace(shapes_options, arch=None, weights=str(path), out=tmp_path / "next")
    trainer = Trainer(Run.create(options))
    assert trainer.arch == "small_se_resnet_w16"
    images = trainer.dataset.images(np.arange(90))
    outputs = load_predictor(path, engine="onnxruntime").probabilities(images, with_activation=True)
    assert outputs["activation_map"].shape == (90, 2, 2)

    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    split = split_images(trainer.dataset)
    teacher = open_teacher(path, [("shapes", trainer.dataset, split)])
    for model in (trainer.model.eval(), teacher.model):
        best = model(pixels)[:, :3].argmax(1).numpy()
        assert (best == outputs["shape"].argmax(1)).mean() > 0.98

    quantised = in_eight_bits(onnx.load_model_from_string(bundle.model), images)
    eight = OnnxRuntimeEngine(quantised.SerializeToString(), threads=1).run(images)["shape"]
    assert np.abs(eight - outputs["shape"]).mean() < 0.05
