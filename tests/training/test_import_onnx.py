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
from shopwindow.bundle import read_bundle
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


def for_three_images(model: onnx.ModelProto) -> onnx.ModelProto:
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    del model.graph.value_info[:]
    return model


def for_exactly_one_image(model: onnx.ModelProto) -> onnx.ModelProto:
    """A row is joined to one that the graph keeps, as a class token is: nothing opens that."""
    model = for_one_image(model)
    graph, old = model.graph, model.graph.output[0]
    nothing = np.zeros((1, len(LABELS)), np.float32)
    graph.initializer.append(numpy_helper.from_array(nothing, "token"))
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "rows"))
    graph.node.append(helper.make_node("Unsqueeze", [old.name, "rows"], ["one"]))
    graph.node.append(helper.make_node("Unsqueeze", ["token", "rows"], ["other"]))
    graph.node.append(helper.make_node("Concat", ["one", "other"], ["both"], axis=1))
    graph.node.append(helper.make_node("ReduceSum", ["both", "rows"], ["answers"], keepdims=0))
    graph.output.remove(old)
    graph.output.append(
        helper.make_tensor_value_info("answers", TensorProto.FLOAT, [1, len(LABELS)])
    )
    return model


def for_one_row(model: onnx.ModelProto) -> onnx.ModelProto:
    """One row is written into a shape, as PyTorch writes it when nobody says otherwise."""
    model = for_one_image(model)
    old = model.graph.output[0].name
    one_row = np.array([1, len(LABELS)], np.int64)
    model.graph.initializer.append(numpy_helper.from_array(one_row, "one_row"))
    model.graph.node.append(helper.make_node("Reshape", [old, "one_row"], ["answers"]))
    del model.graph.output[:]
    model.graph.output.append(
        helper.make_tensor_value_info("answers", TensorProto.FLOAT, [1, len(LABELS)])
    )
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


def to_int8(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
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
        (for_three_images, PREPARED, 1e-4),
        (for_one_row, PREPARED, 1e-4),
        (for_exactly_one_image, PREPARED, 1e-4),
        (of_any_size, [*PREPARED, "--size", str(SIZE)], 1e-4),
        (in_half_precision, PREPARED, 0.05),
        (that_takes_bytes, ["--resize", "squish"], 1e-4),
        (to_int8, PREPARED, 0.01),
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
    model = change(model, tmp_path) if change is to_int8 else change(model)
    onnx.save_model(model, tmp_path / "model.onnx")
    if change is to_int8:
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
    if change is for_exactly_one_image:  # it runs inside a loop, from which nothing else comes
        assert "It gives no embeddings" in capsys.readouterr().out
    else:
        assert_embeds_like(
            exported, tmp_path / "bundle.onnx", normal, photos, 0.9 if change is to_int8 else 0.99
        )


def assert_embeds_like(
    exported: Path, bundle: Path, normal: np.ndarray, photos: list[Path], least: float
) -> None:
    """What the last layer of the float network sees, asked by hand."""
    network = onnx.load(exported)
    last = [node for node in network.graph.node if node.op_type == "Gemm"][-1]
    network.graph.output.append(
        helper.make_tensor_value_info(last.input[0], TensorProto.FLOAT, None)
    )
    session = onnxruntime.InferenceSession(network.SerializeToString())
    (features,) = session.run([last.input[0]], {"images": normal.transpose(0, 3, 1, 2)})
    answers = load_predictor(bundle, engine="onnxruntime").predict_bytes(
        [path.read_bytes() for path in photos], embed=True
    )
    for answer, row in zip(answers, features, strict=True):
        assert isinstance(answer, Prediction)
        assert answer.embedding is not None
        assert answer.embedding @ row / np.linalg.norm(row) > least


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


def without_a_batch(model: onnx.ModelProto, path: Path) -> None:
    """It says that it takes any number, and takes one."""
    model = for_exactly_one_image(model)
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save_model(model, path)


def that_finds_things(model: onnx.ModelProto, path: Path) -> None:
    old = model.graph.output[0]
    boxes = np.ones((1, 4, 1), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(boxes, "boxes"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    model.graph.node.append(helper.make_node("Unsqueeze", [old.name, "axis"], ["row"]))
    model.graph.node.append(helper.make_node("Mul", ["row", "boxes"], ["found"]))
    model.graph.output.remove(old)
    model.graph.output.append(
        helper.make_tensor_value_info("found", TensorProto.FLOAT, ["batch", 4, len(LABELS)])
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
        (with_two_outputs, PREPARED, "expected a model with one output"),
        (with_two_inputs, PREPARED, "with one input, the image, found 2 (images, mask)"),
        (for_grey, PREPARED, "expected colour images"),
        (for_text, PREPARED, "images: int64 ['?', 128]"),
        (of_nameless_axes, PREPARED, "expected --layout nchw or --layout nhwc"),
        (of_nameless_axes, [*PREPARED, "--layout", "nchw"], "expected --size, as the file"),
        (with_sigmoid, PREPARED, "found one that ends in Sigmoid"),
        (without_a_batch, PREPARED, "expected a model that onnxruntime"),
        (that_finds_things, PREPARED, "a model that detects objects is not a classifier"),
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


def imported(path: Path, *options: str | Path) -> tuple[int, Path]:
    """The exit code, and where the bundle is if there is one."""
    out = path.with_name("bundle.onnx")
    return run("import", path, *options, "--yes", "--out", out), out


def test_weights_beside_the_file_are_taken_into_the_bundle(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `torch.onnx.export(model, x, file)` leaves it: two files, and a batch of one."""
    path = tmp_path / "model.onnx"
    onnx.save_model(
        for_one_image(onnx.load(exported)), path, save_as_external_data=True,
        location="model.onnx.data", size_threshold=0,
    )  # fmt: skip
    labels = write_labels(tmp_path)
    status, out = imported(path, "--labels", labels, *PREPARED)
    assert status == 0, capsys.readouterr().err
    _, whole = imported(tmp_path / "model.onnx", "--labels", labels, *PREPARED)
    assert b"model.onnx.data" not in out.read_bytes()
    images = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    expected = load_predictor(whole, engine="onnxruntime").probabilities(images)["label"]
    (path.parent / "model.onnx.data").unlink()
    found = load_predictor(out, engine="onnxruntime").probabilities(images)["label"]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("../secret.bin", "names '../secret.bin', which is not opened"),
        ("sub/weights.bin", "which is not opened"),
        ("/etc/hostname", "which is not opened"),
        ("C:\\weights.bin", "which is not opened"),
        ("..", "which is not opened"),
        ("link.bin", "found a link, which is not followed"),
        ("gone.bin", "expected that file beside it, found no such file"),
        ("short.bin", "found only 3 bytes"),
    ],
)
def test_weights_elsewhere_are_never_opened(
    exported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    location: str,
    message: str,
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    model = onnx.load(exported)
    tensor = next(one for one in model.graph.initializer if len(one.raw_data) > 100)
    (tmp_path / "secret.bin").write_bytes(tensor.raw_data)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "short.bin").write_bytes(b"abc")
    for key, value in (("location", location), ("length", str(len(tensor.raw_data)))):
        tensor.external_data.add(key=key, value=value)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    onnx.save_model(model, folder / "model.onnx")
    status, out = imported(folder / "model.onnx", "--labels", write_labels(tmp_path), *PREPARED)
    said = capsys.readouterr().err
    assert status == 1
    assert message in said
    assert said.count("\n") == 1
    assert not out.exists()


def with_metadata(exported: Path, path: Path, **entries: str) -> Path:
    model = onnx.load(exported)
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save_model(model, path)
    return path


def test_labels_that_the_file_names_are_those_of_the_bundle(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = str(dict(enumerate(reversed(LABELS))))
    path = with_metadata(exported, tmp_path / "model.onnx", names=names, task="classify")
    status, out = imported(path, *PREPARED)
    assert status == 0, capsys.readouterr().err
    assert read_bundle(out).info.main.labels == LABELS[::-1]
    assert "names its labels itself (names): skirt, shoe, hat" in capsys.readouterr().out


def test_labels_in_another_order_than_the_file_names_are_refused(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_metadata(exported, tmp_path / "model.onnx", names=str(list(LABELS[::-1])))
    status, out = imported(path, "--labels", write_labels(tmp_path), *PREPARED)
    assert status == 2
    assert "in another order: output 0 is 'coat' under '--labels'" in capsys.readouterr().err
    assert not out.exists()


def test_size_that_the_file_names_is_taken_where_the_graph_takes_any(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "any.onnx"
    onnx.save_model(of_any_size(onnx.load(exported)), path)
    path = with_metadata(path, tmp_path / "model.onnx", imgsz="[64, 96]")
    status, out = imported(path, "--labels", write_labels(tmp_path), *PREPARED)
    assert status == 0, capsys.readouterr().err
    rule = read_bundle(out).info.rule
    assert (rule.height_px, rule.width_px) == (64, 96)
    assert "names its size itself: 64x96 pixels" in capsys.readouterr().out


def of_one_number(model: onnx.ModelProto, *, sigmoid: bool) -> onnx.ModelProto:
    """The third score alone, as a network with one output has it."""
    old = model.graph.output[0]
    pick = np.zeros((len(LABELS), 1), np.float32)
    pick[2] = 1
    model.graph.initializer.append(numpy_helper.from_array(pick, "pick"))
    model.graph.node.append(helper.make_node("MatMul", [old.name, "pick"], ["number"]))
    if sigmoid:
        model.graph.node.append(helper.make_node("Sigmoid", ["number"], ["share"]))
    model.graph.output.remove(old)
    name = "share" if sigmoid else "number"
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1]))
    return model


@pytest.mark.parametrize(
    ("sigmoid", "as_what"), [(True, "the probability"), (False, "the logit (without a sigmoid)")]
)
def test_one_number_tells_two_labels_apart(
    exported: Path,
    photos: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    sigmoid: bool,
    as_what: str,
) -> None:
    onnx.save_model(of_one_number(onnx.load(exported), sigmoid=sigmoid), tmp_path / "model.onnx")
    labels = write_labels(tmp_path, ("other", "hat"))
    status, out = imported(tmp_path / "model.onnx", "--labels", labels, *PREPARED)
    said = capsys.readouterr()
    assert status == 0, said.err
    assert f"read as {as_what} of hat, the second label; a low one means other" in said.out
    images = pixels(photos)
    normal = ((images.astype(np.float32) / 255 - MEAN) / STD).astype(np.float32)
    session = onnxruntime.InferenceSession(exported)
    scores = session.run(None, {"images": normal.transpose(0, 3, 1, 2)})[0][:, 2]
    found = load_predictor(out, engine="onnxruntime").probabilities(images)["label"]
    np.testing.assert_allclose(found[:, 1], np.exp(-np.logaddexp(0, -scores)), atol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_one_number_with_three_labels_says_what_it_takes(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save_model(of_one_number(onnx.load(exported), sigmoid=True), tmp_path / "model.onnx")
    status, _ = imported(tmp_path / "model.onnx", "--labels", write_labels(tmp_path), *PREPARED)
    assert status == 1
    assert "expected two labels, as it answers with one number" in capsys.readouterr().err


def test_bundle_is_recognised_before_anything_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_colour_bundle(tmp_path / "model.onnx")
    assert run("import", tmp_path / "model.onnx") == 2
    assert "model.onnx is a bundle of shopwindow already" in capsys.readouterr().err


def test_wrong_number_of_labels_names_both_numbers(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_labels(tmp_path, ("coat", "hat"))
    assert run("import", exported, "--labels", labels, *PREPARED, "--yes") == 1
    assert "it answers with, 5, found 2 in --labels" in capsys.readouterr().err
