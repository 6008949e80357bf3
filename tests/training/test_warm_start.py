"""A training that starts from the weights in a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shopwindow.bundle import bundled_model_path, read_bundle
from shopwindow.dataset.dataset import Dataset
from shopwindow.errors import WeightsError
from shopwindow.inference.predictor import Predictor
from shopwindow.training import TrainingOptions
from shopwindow.training.network import Classifier, build_classifier
from shopwindow.training.reading import open_dataset
from shopwindow.training.run import Run
from shopwindow.training.start import note_on_weights
from shopwindow.training.trainer import Trainer
from shopwindow.training.warm_start import load_bundle_weights


@pytest.fixture(scope="module")
def dataset(shapes_options: TrainingOptions) -> Dataset:
    return open_dataset(shapes_options, (32, 32))


def started(run: Path, dataset: Dataset, arch: str, **vocabularies: tuple[str, ...]) -> Classifier:
    labels = dataset.vocabularies | vocabularies
    sizes = [len(names) for names in labels.values()]
    model, _ = build_classifier(arch, sizes, size_px=(32, 32))
    load_bundle_weights(model, run / "model.onnx", labels, dataset.images(np.arange(90)))
    return model


@torch.no_grad()
def best_labels(model: Classifier, images: np.ndarray) -> torch.Tensor:
    logits = model.eval()(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    return logits.split(model.sizes, dim=1)[0]


def test_network_answers_as_the_bundle_does(shapes_run: Path, dataset: Dataset) -> None:
    model = started(shapes_run, dataset, "small_resnet")
    images = dataset.images(np.arange(90))
    served = Predictor(read_bundle(shapes_run / "model.onnx"), engine="onnxruntime").probabilities(
        images
    )["shape"]
    logits = best_labels(model, images)
    # The bundle's softmax has a temperature; the order of the answers does not depend on it.
    assert (logits.argmax(1).numpy() == served.argmax(1)).mean() > 0.98
    ratio = np.log(served[:, 0] / served[:, 1]) / (logits[:, 0] - logits[:, 1]).numpy()
    assert np.median(np.abs(ratio / np.median(ratio) - 1)) < 0.02


def test_statistics_are_those_of_the_images(shapes_run: Path, dataset: Dataset) -> None:
    model = started(shapes_run, dataset, "small_resnet")
    images = torch.from_numpy(dataset.images(np.arange(90))).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        still, moving = model.eval()(images), model.train()(images)
    # With the batch's own statistics the function is nearly the same: training can go on.
    assert (still - moving).abs().max() < 0.2 * still.std()


def test_labels_are_found_by_their_names(shapes_run: Path, dataset: Dataset) -> None:
    images = dataset.images(np.arange(90))
    before = best_labels(started(shapes_run, dataset, "small_resnet"), images)
    turned = started(shapes_run, dataset, "small_resnet", shape=("square", "star", "circle"))
    after = best_labels(turned, images)
    assert torch.allclose(after[:, 0], before[:, 2], atol=1e-4)
    assert torch.allclose(after[:, 2], before[:, 0], atol=1e-4)


def test_another_architecture_is_refused(shapes_run: Path, dataset: Dataset) -> None:
    with pytest.raises(WeightsError, match="expected a bundle of the same architecture"):
        started(shapes_run, dataset, "resnet18")


def test_run_starts_from_a_bundle(shapes_run: Path, shapes_options: TrainingOptions) -> None:
    from shopwindow.training.run import Run
    from shopwindow.training.trainer import Trainer

    options = replace(shapes_options, weights=str(shapes_run / "model.onnx"), out=Path("unused"))
    trainer = Trainer(Run.create(options))
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
    assert note_on_weights(Trainer(Run.create(options))) == ""
    note = note_on_weights(Trainer(Run.create(replace(options, seed=7))))
    assert f"trained on data called {options.data.name} too" in note


def test_the_architecture_is_that_of_the_bundle(
    shapes_options: TrainingOptions, shapes_run: Path, tmp_path: Path
) -> None:
    weights = str(shapes_run / "model.onnx")
    options = replace(shapes_options, recipe="transfer", arch=None, epochs=None, weights=weights)
    trainer = Trainer(Run.create(replace(options, out=tmp_path / "run")))
    assert trainer.arch == "small_resnet"


def test_bundled_names_the_model_that_comes_along(
    shapes_options: TrainingOptions, tmp_path: Path
) -> None:
    options = replace(shapes_options, arch=None, weights="bundled", out=tmp_path / "run")
    trainer = Trainer(Run.create(options))
    assert trainer.weights == str(bundled_model_path())
    assert trainer.arch == "small_resnet"
