"""A whole run with the recipe `finetune`: what it leaves, and that the bundle is the model."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import shopwindow
from shopwindow.bundle import read_bundle
from shopwindow.bundle.seen import read_seen
from shopwindow.bundle.training_sample import read_sample
from shopwindow.data.dataset import load_dataset
from shopwindow.data.split import Split
from shopwindow.errors import TrainingError, UsageError
from shopwindow.imaging.formats import digest_of
from shopwindow.imaging.preprocess import ResizeRule
from shopwindow.inference.predictor import load_predictor
from shopwindow.runs import Run, TrainingOptions
from shopwindow.training import export
from shopwindow.training.export import export_run, open_finished, run_probabilities
from shopwindow.training.fine_tuning import train


def test_a_run_leaves_history_curves_split_and_bundle(shapes_run: Path) -> None:
    with (shapes_run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"train_loss", "valid_loss", "accuracy", "colour_accuracy", "seconds"} <= set(rows[0])
    for name in ("run.json", "split.json", "curves.png", "stage-2.pt", "model.onnx"):
        assert (shapes_run / name).stat().st_size > 0


def test_bundle_knows_the_files_of_its_training(shapes_run: Path, shapes: Path) -> None:
    split = json.loads((shapes_run / "split.json").read_text())
    seen = read_seen(read_bundle(shapes_run / "model.onnx").info.data)
    assert seen is not None
    for part, digests in (("train", seen.learned), ("valid", seen.held_out)):
        files = [digest_of((shapes / name).read_bytes()) for name in split[part]]
        assert digests.tolist() == sorted(set(files))


def test_nothing_half_written_stays_in_the_run_folder(shapes_run: Path) -> None:
    assert [path.name for path in shapes_run.iterdir() if path.name.startswith(".")] == []


def test_bundle_answers_like_the_trained_network(
    shapes_run: Path, shapes_options: TrainingOptions
) -> None:
    dataset = load_dataset(
        shapes_options.data,
        rule=ResizeRule(64, 64),
        labels_file=shapes_options.labels_file,
        image_column="file",
        label_column="shape",
        also=("colour",),
        cache_dir=shapes_options.cache_dir,
        progress=False,
    )
    valid = Split.read(shapes_run / "split.json", dataset).valid
    trained = run_probabilities(shapes_run, dataset, valid)
    served = load_predictor(shapes_run / "model.onnx", engine="onnxruntime").probabilities(
        dataset.images(valid)
    )
    for column in ("shape", "colour"):
        first, second = np.sort(served[column], axis=1)[:, [-1, -2]].T
        clear = first - second > 0.02  # of a near tie, half precision may turn the order
        assert clear.mean() > 0.6
        assert np.array_equal(trained[column][clear].argmax(1), served[column][clear].argmax(1))
    right = served["shape"].argmax(1) == dataset.codes["shape"][valid]
    quality = read_bundle(shapes_run / "model.onnx").info.quality
    assert quality["accuracy"] == pytest.approx(right.mean(), abs=1e-5)


def test_bundle_maps_what_its_linear_layer_weighs(
    shapes_run: Path, shapes_options: TrainingOptions
) -> None:
    """The mean of the map, and the bias, are how far the answer's logit is above the mean logit."""
    predictor = load_predictor(shapes_run / "model.onnx", engine="onnxruntime")
    images = np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3), np.uint8)
    outputs = predictor.probabilities(images, with_activation=True)
    assert outputs["activation_map"].shape == (5, 2, 2)
    kept = Run.open(shapes_run).facts["kept"]
    state = torch.load(shapes_run / f"{kept}.pt", map_location="cpu", weights_only=True)["model"]
    bias = state["net.1.2.bias"][:3].numpy()
    logs = np.log(outputs["shape"])
    above = logs.max(1) - logs.mean(1)  # of logits divided by the temperature
    weighed = outputs["activation_map"].mean((1, 2)) + (bias - bias.mean())[logs.argmax(1)]
    temperature = weighed / above
    assert temperature == pytest.approx(np.full(5, temperature[0]), rel=0.02)
    assert temperature[0] > 0


def test_bundle_embeds_what_its_linear_layer_sees(
    shapes_run: Path, shapes_options: TrainingOptions
) -> None:
    predictor = load_predictor(shapes_run / "model.onnx", engine="onnxruntime")
    images = np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3), np.uint8)
    model = open_finished(shapes_run).model.eval().cpu()
    body, _ = model.net
    with torch.inference_mode():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        features = body((pixels - model.mean) / model.std).mean((2, 3)).numpy()
    found = predictor.probabilities(images, with_embedding=True)["embedding"]
    assert found.shape == (5, predictor.bundle.info.embedding) == features.shape
    expected = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose((found * expected).sum(1), 1, atol=1e-3)


def test_bundle_carries_a_sample_of_embeddings(shapes_run: Path) -> None:
    info = read_bundle(shapes_run / "model.onnx").info
    sample = read_sample(info.data, info.embedding)
    assert sample is not None
    assert len(sample) >= 20


def test_bundle_tells_its_quality_in_detail(shapes_run: Path) -> None:
    info = read_bundle(shapes_run / "model.onnx").info
    measured, images = info.quality_table, info.quality["images"]
    assert [row.label for row in measured.labels] == ["circle", "cross", "square"]
    assert sum(row.images for row in measured.labels) == images
    assert sum(row.images for row in measured.reliability) == images
    right = sum(row.images * row.accuracy for row in measured.reliability)
    assert right / images == pytest.approx(info.quality["accuracy"], abs=1e-3)
    recalled = sum(row.images * (row.recall or 0) for row in measured.labels)
    assert recalled / images == pytest.approx(info.quality["accuracy"], abs=1e-3)
    assert all(row.label != row.taken_for for row in measured.confusions)


def test_bundle_carries_its_card_and_no_path_of_the_machine(shapes_run: Path, shapes: Path) -> None:
    info = read_bundle(shapes_run / "model.onnx").info
    assert info.columns[0].labels == ("circle", "cross", "square")
    assert info.columns[1].labels == ("blue", "red")
    assert info.data["train"] + info.data["valid"] == 90
    assert info.training["weights"] == "none"
    assert str(shapes) not in json.dumps(info.as_json())
    content = (shapes_run / "model.onnx").read_bytes()
    for path in (str(shapes), str(Path(shopwindow.__file__).parent), "site-packages"):
        assert path.encode() not in content


def test_large_weights_are_stored_as_halves(shapes_run: Path) -> None:
    model = onnx.load(shapes_run / "model.onnx")
    large = [t for t in model.graph.initializer if np.prod(t.dims) >= 4096]
    assert large
    assert {t.data_type for t in large} == {onnx.TensorProto.FLOAT16}


def test_network_that_needs_full_precision_gets_it(
    shapes_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Between what half precision changes here and what another runtime does.
    monkeypatch.setattr(export, "MAX_ROUNDED_DIFFERENCE", 1e-5)
    whole = export_run(shapes_run, tmp_path / "whole.onnx")
    assert whole.stat().st_size > 1.5 * (shapes_run / "model.onnx").stat().st_size


def test_bundle_that_differs_from_its_model_is_refused(
    shapes_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MAX_ROUNDED_DIFFERENCE", -1.0)
    with pytest.raises(TrainingError, match=r"differ by up to .* nothing written"):
        export_run(shapes_run, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_in_the_same_folder_is_refused(
    shapes_run: Path, shapes_options: TrainingOptions
) -> None:
    with pytest.raises(TrainingError, match="--resume"):
        train(Run.create(shapes_options))


def test_export_of_an_unfinished_run_says_how_to_finish_it(
    tmp_path: Path, shapes_run: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("run.json", "split.json"):
        (run / name).write_bytes((shapes_run / name).read_bytes())
    with pytest.raises(TrainingError, match="shopwindow train --resume --out"):
        export_run(run)


def test_card_that_is_no_toml_is_refused_before_anything_is_written(
    tmp_path: Path, shapes_run: Path, shapes_options: TrainingOptions
) -> None:
    card = tmp_path / "card.toml"
    card.write_text("title = ")
    with pytest.raises(UsageError, match=r"card.toml"):
        train(Run.create(replace(shapes_options, card=card, out=tmp_path / "run")))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": (1, 1)}, "one number for each stage of finetune, such as 6, got"),
        ({"seed": -1}, "seed: expected a whole number of 0 or more, got -1"),
        ({"arch": "resnet51"}, "expected a timm name, got 'resnet51'"),
        ({"arch": "mobilenet_v2"}, "expected a timm name"),  # torchvision's
        ({"label_column": "one"}, "at least two labels"),
    ],
)
def test_options_that_do_not_fit_are_refused_with_a_sentence(
    tmp_path: Path, shapes_options: TrainingOptions, change: dict[str, object], message: str
) -> None:
    with pytest.raises((UsageError, TrainingError), match=message):
        train(Run.create(replace(shapes_options, out=tmp_path / "run", **change)))
    assert not (tmp_path / "run").exists()
