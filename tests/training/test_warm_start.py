"""A training that starts from the weights in a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shopwindow.bundle import bundled_model_path, read_bundle
from shopwindow.data.dataset import Dataset
from shopwindow.errors import WeightsError
from shopwindow.inference.predictor import Predictor, load_predictor
from shopwindow.runs import Run, TrainingOptions, settle_options
from shopwindow.runs.training_data import open_dataset
from shopwindow.training.fine_tuning import note_on_weights, train
from shopwindow.training.network import Classifier, build_classifier
from shopwindow.training.trainer import open_trainer
from shopwindow.training.warm_start import load_bundle_weights


@pytest.fixture(scope="module")
def dataset(shapes_options: TrainingOptions) -> Dataset:
    return open_dataset(Run(shapes_options.run_dir, shapes_options), (64, 64))


def started(run: Path, dataset: Dataset, arch: str, **vocabularies: tuple[str, ...]) -> Classifier:
    labels = dataset.vocabularies | vocabularies
    sizes = [len(names) for names in labels.values()]
    model, _ = build_classifier(arch, sizes, size_px=(64, 64))
    load_bundle_weights(model, run / "model.onnx", labels, (64, 64))
    return model


@torch.no_grad()
def best_labels(model: Classifier, images: np.ndarray) -> torch.Tensor:
    logits = model.eval()(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    return logits.split(model.sizes, dim=1)[0]


def test_network_answers_as_the_bundle_does(shapes_run: Path, dataset: Dataset) -> None:
    model = started(shapes_run, dataset, "test_efficientnet")
    images = dataset.images(np.arange(90))
    served = Predictor(read_bundle(shapes_run / "model.onnx"), engine="onnxruntime").probabilities(
        images
    )["shape"]
    logits = best_labels(model, images)
    # The bundle's softmax has a temperature; the order of the answers does not depend on it.
    assert (logits.argmax(1).numpy() == served.argmax(1)).mean() > 0.98
    ratio = np.log(served[:, 0] / served[:, 1]) / (logits[:, 0] - logits[:, 1]).numpy()
    assert np.median(np.abs(ratio / np.median(ratio) - 1)) < 0.02


def test_network_that_trains_on_computes_what_the_bundle_does(
    shapes_run: Path, shapes_options: TrainingOptions, tmp_path: Path
) -> None:
    start = shapes_run / "model.onnx"
    given = {"data": shapes_options.data, "start_from": start, "out": tmp_path / "run"}
    run = train(Run.create(settle_options({**given, "epochs": (1,), "lr": 1e-9})))
    images = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    before, after = (
        np.log(load_predictor(path, engine="onnxruntime").probabilities(images)["shape"])
        for path in (start, run / "model.onnx")
    )
    # But for the temperatures.
    ratio = (before - before.mean(1, keepdims=True)) / (after - after.mean(1, keepdims=True))
    assert ratio == pytest.approx(np.median(ratio), rel=0.05)


def test_labels_are_found_by_their_names(shapes_run: Path, dataset: Dataset) -> None:
    images = dataset.images(np.arange(90))
    before = best_labels(started(shapes_run, dataset, "test_efficientnet"), images)
    turned = started(shapes_run, dataset, "test_efficientnet", shape=("square", "star", "circle"))
    after = best_labels(turned, images)
    assert torch.allclose(after[:, 0], before[:, 2], atol=1e-4)
    assert torch.allclose(after[:, 2], before[:, 0], atol=1e-4)


def test_another_architecture_is_refused(shapes_run: Path, dataset: Dataset) -> None:
    with pytest.raises(WeightsError, match="expected a bundle of the same architecture"):
        started(shapes_run, dataset, "resnet18")


def test_run_starts_from_a_bundle(shapes_run: Path, shapes_options: TrainingOptions) -> None:
    from shopwindow.runs import Run
    from shopwindow.training.trainer import open_trainer

    options = replace(shapes_options, weights=str(shapes_run / "model.onnx"), out=Path("unused"))
    trainer = open_trainer(Run.create(options))
    images = trainer.dataset.images(np.arange(90))
    served = Predictor(read_bundle(shapes_run / "model.onnx"), engine="onnxruntime").probabilities(
        images
    )["shape"]
    logits = best_labels(trainer.model, images)
    assert (logits.argmax(1).numpy() == served.argmax(1)).mean() > 0.98


def test_weights_that_may_know_what_is_held_out_are_mentioned(
    shapes_options: TrainingOptions, shapes_run: Path, tmp_path: Path
) -> None:
    weights = str(shapes_run / "model.onnx")
    options = replace(shapes_options, weights=weights, out=tmp_path / "run")
    assert note_on_weights(open_trainer(Run.create(options))) == ""
    note = note_on_weights(open_trainer(Run.create(replace(options, seed=7))))
    assert f"trained on data called {options.data.name} too" in note


def test_the_architecture_is_that_of_the_bundle(
    shapes_options: TrainingOptions, shapes_run: Path, tmp_path: Path
) -> None:
    weights = str(shapes_run / "model.onnx")
    options = replace(shapes_options, recipe="transfer", arch=None, epochs=None, weights=weights)
    trainer = open_trainer(Run.create(replace(options, out=tmp_path / "run")))
    assert trainer.arch == "test_efficientnet"


def test_bundled_names_the_model_that_comes_along(
    shapes_options: TrainingOptions, tmp_path: Path
) -> None:
    options = replace(shapes_options, arch=None, weights="bundled", out=tmp_path / "run")
    trainer = open_trainer(Run.create(options))
    assert trainer.weights == str(bundled_model_path())
    assert trainer.arch == "tf_efficientnet_lite0"
