"""A bundle that nobody measured, and one that is too certain, on labelled images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from elsewhere import run
from onnx import TensorProto, helper
from PIL import Image

from colour_bundle import COLOURS
from shopwindow.bundle import read_bundle
from shopwindow.bundle.training_sample import read_sample
from shopwindow.calibration.calibrated_graph import with_temperatures
from shopwindow.inference.prediction import Prediction
from shopwindow.inference.predictor import load_predictor


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 plain pictures: of strong colour and rightly labelled, or paler and half of them not."""
    folder = tmp_path_factory.mktemp("colours")
    random = np.random.default_rng(5)
    for number in range(240):
        name = ("red", "green", "blue")[number % 3]
        strength = random.uniform(0.3, 1)
        right = strength > 0.65 or random.random() < 0.5
        grey = np.full(3, random.uniform(0.2, 0.5))
        colour = strength * np.array(COLOURS[name]) + (1 - strength) * grey
        label = name if right else ("green" if name == "red" else "red")
        (folder / label).mkdir(exist_ok=True)
        pixels = tuple(round(255 * float(part)) for part in colour)
        Image.new("RGB", (12, 16), pixels).save(folder / label / f"{number}.png")
    (folder / "pink").mkdir()
    Image.new("RGB", (12, 16), "pink").save(folder / "pink" / "1.png")
    return folder


def test_calibration_gives_a_bundle_without_a_sample_of_photos_one(
    embedding_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    once, twice = tmp_path / "once.onnx", tmp_path / "twice.onnx"
    for model, out in ((embedding_bundle, once), (once, twice)):
        assert run("calibrate", model, photos, "--out", out, "--cache-dir", tmp_path / "c") == 0
    found, kept = (read_bundle(path).info for path in (once, twice))
    sample = read_sample(found.data, found.embedding)
    assert sample is not None
    assert sample.shape == (240, 3)
    assert kept.data["training_sample"] == found.data["training_sample"]


def test_calibrated_bundle_is_as_sure_as_it_is_often_right(
    colour_bundle: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, before = tmp_path / "new" / "measured.onnx", colour_bundle.read_bytes()
    arguments = [photos, "--out", out, "--cache-dir", tmp_path / "cache"]
    assert run("calibrate", colour_bundle, *arguments) == 0
    said = capsys.readouterr().out
    assert "Measured on all 240 images of" in said
    assert "rows or images left out: 1" in said  # the model knows no pink
    assert colour_bundle.read_bytes() == before
    old, new = (
        load_predictor(colour_bundle, engine="onnxruntime"),
        load_predictor(out, engine="onnxruntime"),
    )
    info = new.bundle.info
    assert info.data["measured_on"] == {"source": photos.name, "images": 240}
    assert info.quality["images"] == 240
    assert f"Sure from a confidence of {info.threshold.min_confidence:.3f}:" in said
    assert "Its prediction sets hold the right label 95 times in 100" in said
    paths = [path for label in COLOURS for path in sorted(photos.glob(f"{label}/*"))]
    images = [path.read_bytes() for path in paths]
    answers = [old.predict_bytes(images), new.predict_bytes(images)]
    labels = [[one.label for one in each if isinstance(one, Prediction)] for each in answers]
    assert labels[0] == labels[1]  # only how sure it is has changed
    right = np.array([path.parent.name for path in paths]) == labels[0]
    confidence = [
        np.array([one.confidence for one in each if isinstance(one, Prediction)])
        for each in answers
    ]
    assert right.mean() == pytest.approx(info.quality["accuracy"], abs=1e-5)
    too_certain = [float(each.mean() - right.mean()) for each in confidence]
    # One number for all answers cannot do it all: the pale ones need more of it than the others.
    assert too_certain[0] > 0.2
    assert abs(too_certain[1]) < 0.6 * too_certain[0]
    sure = np.array([one.sure for one in answers[1] if isinstance(one, Prediction)])
    held = [
        path.parent.name in one.prediction_set
        for path, one in zip(paths, answers[1], strict=True)
        if isinstance(one, Prediction) and one.prediction_set is not None
    ]
    assert len(held) > 100
    assert np.mean(held) >= 0.95
    assert {one.prediction_set for one in answers[0] if isinstance(one, Prediction)} == {None}
    assert 0.2 < sure.mean() < 0.9
    assert right[sure].mean() >= 0.95
    # What the data do not speak of stays: the other column, the families, the activation map.
    pixels = np.stack([old.prepare(image) for image in images[:5]])
    np.testing.assert_array_equal(
        old.probabilities(pixels)["brightness"], new.probabilities(pixels)["brightness"]
    )
    assert [one.name for one in info.families] == ["kind"]
    assert read_bundle(out).info.activation_map
    assert run("card", out) == 0
    assert f"on 240 images of {photos.name}" in capsys.readouterr().out


def test_where_nothing_can_be_relied_on_it_says_so(
    colour_bundle: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few"
    for label in ("red", "blue"):
        (few / label).mkdir(parents=True)
        for path in sorted(photos.glob(f"{label}/*"))[:5]:
            (few / label / path.name).write_bytes(path.read_bytes())
    out = tmp_path / "measured.onnx"
    assert run("calibrate", colour_bundle, few, "--out", out, "--cache-dir", tmp_path) == 0
    said = capsys.readouterr().out
    assert "Never sure: that takes 30 predictions or more, 95.0 % of them right." in said
    assert "No prediction sets: that takes 19 images or more" in said
    assert not read_bundle(out).info.threshold.is_sure(1.0)
    assert read_bundle(out).info.prediction_sets is None


def test_of_its_own_training_data_only_held_out_images_are_taken(
    shapes_run: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = shapes_run / "model.onnx", tmp_path / "again.onnx"
    assert run("calibrate", model, shapes, "--out", out, "--cache-dir", tmp_path) == 0
    before, after = read_bundle(model).info, read_bundle(out).info
    assert f"Measured on the validation part: {before.data['valid']} of 90" in (
        capsys.readouterr().out
    )
    assert after.quality["accuracy"] == before.quality["accuracy"]
    assert after.quality["attributes"] == before.quality["attributes"]
    assert after.data["split"] == before.data["split"]


def test_data_with_other_labels_are_refused(
    colour_bundle: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (photos / "pink").rename(tmp_path / "data" / "pink")
    out = tmp_path / "measured.onnx"
    assert run("calibrate", colour_bundle, tmp_path / "data", "--out", out) == 1
    said = capsys.readouterr().err
    (tmp_path / "data" / "pink").rename(photos / "pink")
    assert "label that the model does not have: 'pink'" in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_temperature_in_the_graph_is_that_of_the_paper_also_the_second_time() -> None:
    """softmax(log(p) / T) for any probabilities, 0 and 1 among them."""
    shape = ["N", 3]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("in", "out")]
    nodes = [helper.make_node("Identity", ["in"], ["out"])]
    graph = onnx.helper.make_model(
        helper.make_graph(nodes, "g", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    rows = np.array([[0.7, 0.2, 0.1], [1, 0, 0], [0.5, 0.5, 0]], np.float32)
    expected = rows.astype(np.float64)
    for temperature in (2.0, 0.5, 1.0, 1.7):
        with_temperatures(graph, {"out": temperature})
        expected = expected ** (1 / temperature)
        expected /= expected.sum(axis=1, keepdims=True)
        onnx.checker.check_model(graph, full_check=True)
        session = onnxruntime.InferenceSession(graph.SerializeToString())
        (found,) = session.run(["out"], {"in": rows})
        np.testing.assert_allclose(found, expected, atol=1e-6)
