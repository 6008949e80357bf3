"""ONNX classifiers as other tools leave them, and what is refused of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from elsewhere import LABELS, make_steep, run, write_labels, write_photos
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16
from PIL import Image

from colour_bundle import write_colour_bundle
from shopwindow.inference.prediction import Prediction
from shopwindow.inference.predictor import load_predictor

SIZE = 64
MEAN, STD = (0.48, 0.46, 0.41), (0.23, 0.22, 0.24)
PREPARED = ["--mean", "0.48,0.46,0.41", "--std", "0.23,0.22,0.24", "--resize", "squish"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_photos(tmp_path_factory.mktemp("photos"), 12)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A timm network as `torch.onnx.export` leaves it: NCHW, logits, any number of images."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    model = make_steep(timm.create_model("test_resnet", num_classes=5), size=SIZE)
    program = torch.onnx.export(
        model, (torch.zeros(2, 3, SIZE, SIZE),), input_names=["images"], output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},), dynamo=True, verbose=False,
    )  # fmt: skip
    assert program is not None
    onnx.save_model(program.model_proto, path)
    return path


def as_it_is(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


def with_softmax(model: onnx.ModelProto) -> onnx.ModelProto:
    return ending_in(model, "Softmax", axis=1)


def channels_last(model: onnx.ModelProto) -> onnx.ModelProto:
    """As TensorFlow has it."""
    graph, old = model.graph, model.graph.input[0].name
    for node in graph.node:
        node.input[:] = ["turned" if name == old else name for name in node.input]
    graph.node.insert(0, helper.make_node("Transpose", [old], ["turned"], perm=[0, 3, 1, 2]))
    del graph.value_info[:]
    set_input(model, TensorProto.FLOAT, ["batch", SIZE, SIZE, 3])
    return model


def for_one_image(model: onnx.ModelProto) -> onnx.ModelProto:
    """As an export without dynamic axes leaves it."""
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    return model


def of_any_size(model: onnx.ModelProto) -> onnx.ModelProto:
    del model.graph.value_info[:]
    set_input(model, TensorProto.FLOAT, ["batch", 3, "height", "width"])
    return model


def in_half_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    return convert_float_to_float16(model)


def that_takes_bytes(model: onnx.ModelProto) -> onnx.ModelProto:
    """It normalises by itself, by the mean and std of these tests."""
    graph, old = model.graph, model.graph.input[0].name
    for node in graph.node:
        node.input[:] = ["normal" if name == old else name for name in node.input]
    nodes = [helper.make_node("Cast", [old], ["float"], to=TensorProto.FLOAT)]
    at = "float"
    for op, name, value in (
        ("Div", "its_white", np.float32(255)),
        ("Sub", "its_mean", np.array(MEAN, np.float32).reshape(1, 3, 1, 1)),
        ("Div", "its_std", np.array(STD, np.float32).reshape(1, 3, 1, 1)),
    ):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        nodes.append(helper.make_node(op, [at, name], [f"{name}_done"]))
        at = f"{name}_done"
    nodes[-1].output[0] = "normal"
    for node in reversed(nodes):
        graph.node.insert(0, node)
    del graph.value_info[:]
    set_input(model, TensorProto.UINT8, ["batch", 3, SIZE, SIZE])
    return model


class _Photos(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.left = [random.normal(0, 1, (4, 3, SIZE, SIZE)).astype(np.float32) for _ in range(4)]

    def get_next(self) -> dict[str, Any] | None:
        return {"images": self.left.pop()} if self.left else None


def in_eight_bits(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """Weights and activations as int8 with QuantizeLinear and DequantizeLinear, softmax too."""
    onnx.save_model(with_softmax(model), folder / "float.onnx")
    quantize_static(
        folder / "float.onnx", folder / "int8.onnx", _Photos(), quant_format=QuantFormat.QDQ
    )
    return onnx.load(folder / "int8.onnx")


def ending_in(model: onnx.ModelProto, op: str, **attributes: Any) -> onnx.ModelProto:
    old = model.graph.output[0]
    model.graph.node.append(helper.make_node(op, [old.name], ["answers"], **attributes))
    model.graph.output.remove(old)
    model.graph.output.append(
        helper.make_tensor_value_info("answers", TensorProto.FLOAT, ["batch", len(LABELS)])
    )
    return model


def set_input(model: onnx.ModelProto, kind: int, shape: list[Any]) -> None:
    name = model.graph.input[0].name
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info(name, kind, shape))


def pixels(photos: list[Path]) -> np.ndarray:
    """(N, 64, 64, 3) uint8, by Pillow itself."""
    size, bilinear = (SIZE, SIZE), Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.open(path).resize(size, bilinear)) for path in photos])


def softmax(scores: np.ndarray) -> np.ndarray:
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("change", "options", "tolerance"),
    [
        (as_it_is, PREPARED, 1e-4),
        (with_softmax, PREPARED, 1e-4),
        (channels_last, PREPARED, 1e-4),
        (for_one_image, PREPARED, 1e-4),
        (of_any_size, [*PREPARED, "--size", str(SIZE)], 1e-4),
        (in_half_precision, PREPARED, 0.05),
        (that_takes_bytes, ["--resize", "squish"], 1e-4),
        (in_eight_bits, PREPARED, 0.01),
    ],
)
def test_classifier_from_elsewhere_becomes_a_bundle_that_answers_like_it(
    exported: Path,
    photos: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[..., onnx.ModelProto],
    options: list[str],
    tolerance: float,
) -> None:
    """Compared with the float network, asked by hand; in 8 bits with the file, as they differ."""
    images = pixels(photos)
    normal = ((images.astype(np.float32) / 255 - MEAN) / STD).astype(np.float32)
    session = onnxruntime.InferenceSession(exported)
    expected = softmax(session.run(None, {"images": normal.transpose(0, 3, 1, 2)})[0])

    model = onnx.load(exported)
    model = change(model, tmp_path) if change is in_eight_bits else change(model)
    onnx.save_model(model, tmp_path / "model.onnx")
    if change is in_eight_bits:
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
        shares = session.run(None, {"images": normal.transpose(0, 3, 1, 2)})[0]
        expected = shares / shares.sum(axis=1, keepdims=True)
    status = run(
        "import", tmp_path / "model.onnx", "--labels", write_labels(tmp_path), *options,
        "--preview", photos[0].parent, "--yes", "--out", tmp_path / "bundle.onnx",
    )  # fmt: skip
    assert status == 0, capsys.readouterr().err
    answers = load_predictor(tmp_path / "bundle.onnx", engine="onnxruntime").predict_bytes(
        [path.read_bytes() for path in photos]
    )
    found = np.array(
        [
            [{one.label: one.confidence for one in answer.top}[label] for label in LABELS]
            for answer in answers
            if isinstance(answer, Prediction)
        ]
    )
    assert len(set(expected.argmax(axis=1))) > 1
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found, expected, atol=tolerance)


def with_external_data(model: onnx.ModelProto, path: Path) -> None:
    onnx.save_model(
        model, path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )


def with_two_outputs(model: onnx.ModelProto, path: Path) -> None:
    value = model.graph.node[5].output[0]
    model.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    onnx.save_model(model, path)


def with_two_inputs(model: onnx.ModelProto, path: Path) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch"]))
    onnx.save_model(model, path)


def for_grey(model: onnx.ModelProto, path: Path) -> None:
    set_input(model, TensorProto.FLOAT, ["batch", 1, SIZE, SIZE])
    onnx.save_model(model, path)


def for_text(model: onnx.ModelProto, path: Path) -> None:
    set_input(model, TensorProto.INT64, ["batch", 128])
    onnx.save_model(model, path)


def of_nameless_axes(model: onnx.ModelProto, path: Path) -> None:
    set_input(model, TensorProto.FLOAT, ["batch", "a", "b", "c"])
    onnx.save_model(model, path)


def with_sigmoid(model: onnx.ModelProto, path: Path) -> None:
    onnx.save_model(ending_in(model, "Sigmoid"), path)


def for_exactly_one_image(model: onnx.ModelProto, path: Path) -> None:
    """One row is written into the graph, so that opening the batch would mix images up."""
    model = for_one_image(model)
    model.graph.initializer.append(
        numpy_helper.from_array(np.array([1, len(LABELS)], np.int64), "one_row")
    )
    model.graph.node.append(
        helper.make_node("Reshape", [model.graph.output[0].name, "one_row"], ["answers"])
    )
    del model.graph.output[:]
    model.graph.output.append(
        helper.make_tensor_value_info("answers", TensorProto.FLOAT, [1, len(LABELS)])
    )
    onnx.save_model(model, path)


def a_bundle(model: onnx.ModelProto, path: Path) -> None:
    write_colour_bundle(path)


def no_onnx(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(b"\xff\xfe not ONNX at all")


def empty(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("write", "options", "message"),
    [
        (with_external_data, PREPARED, "keeps weights in other files (external data)"),
        (with_two_outputs, PREPARED, "expected a model with one output"),
        (with_two_inputs, PREPARED, "with one input, the image, found 2 (images, mask)"),
        (for_grey, PREPARED, "expected colour images"),
        (for_text, PREPARED, "images: int64 ['?', 128]"),
        (of_nameless_axes, PREPARED, "expected --layout nchw or --layout nhwc"),
        (of_nameless_axes, [*PREPARED, "--layout", "nchw"], "expected --size, as the file"),
        (with_sigmoid, PREPARED, "found one that ends in Sigmoid"),
        (for_exactly_one_image, PREPARED, "export it again with a dynamic batch axis"),
        (a_bundle, PREPARED, "is a bundle of shopwindow already"),
        (no_onnx, PREPARED, "expected an ONNX model, found something else"),
        (empty, PREPARED, "with one input, the image, found 0 (none)"),
    ],
)
def test_what_no_bundle_can_be_is_refused_with_a_sentence(
    exported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[onnx.ModelProto, Path], None],
    options: list[str],
    message: str,
) -> None:
    write(onnx.load(exported), tmp_path / "model.onnx")
    labels, out = write_labels(tmp_path), tmp_path / "bundle.onnx"
    arguments = ["import", tmp_path / "model.onnx", "--labels", labels, "--out", out, "--yes"]
    assert run(*arguments, *options) in (1, 2)
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([*PREPARED, "--size", "96"], "--size: expected 64x64, as model.onnx takes no other"),
        ([*PREPARED, "--layout", "nhwc"], "--layout nhwc: expected nchw"),
        (PREPARED[:4], "expected --resize, as the file does not say"),
        ([*PREPARED[:4], "--resize", "stretch"], "--resize: expected squish, crop, pad"),
        ([*PREPARED, "--fill", "black"], "--fill: black has no effect with squish"),
        ([*PREPARED, "--scaled", "32"], "--scaled: expected a whole number from 64"),
    ],
)
def test_option_that_does_not_fit_the_file_is_refused(
    exported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    assert run("import", exported, "--labels", write_labels(tmp_path), "--yes", *options) == 2
    assert message in capsys.readouterr().err


def test_wrong_number_of_labels_names_both_numbers(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_labels(tmp_path, ("coat", "hat"))
    assert run("import", exported, "--labels", labels, *PREPARED, "--yes") == 1
    assert "it answers with, 5, found 2 in --labels" in capsys.readouterr().err
