"""ONNX classifiers from elsewhere: found out what they take and answer, then framed as a bundle's.

Nothing is trusted: no other file is read, and what cannot be found out is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shopwindow.bundle import INPUT_NAME, MAX_BUNDLE_BYTES, METADATA_KEY, has_external_data
from shopwindow.errors import TrainingError, UsageError
from shopwindow.importing.source import (
    MAX_DIFFERENCE,
    MAX_ROUNDED_DIFFERENCE,
    Preparation,
    Source,
    prepare,
)

Layout = Literal["nchw", "nhwc"]

_FLOATS: dict[int, type[np.floating[Any]]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
}
_FEW_BITS = {TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8, TensorProto.UINT8}
# Steps that change how numbers are laid out or stored, not what they mean.
_CARRIERS = {
    "Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze",
}  # fmt: skip
_SUM_TOLERANCE = 1e-3
_PREFIX = "source/"  # no tensor of the model may be called like one of the frame


@dataclass(frozen=True)
class OnnxClassifier:
    """A model that has one image input and one output.

    Attributes:
        path: Its file.
        model: What is in it.
        layout: Whether channels come first or last.
        size: (height, width) in pixels that it takes; None where it takes any.
        batch: How many images it takes at once; None where it takes any number.
        takes_bytes: Whether it takes 0 to 255 and normalises by itself.
    """

    path: Path
    model: onnx.ModelProto
    layout: Layout
    size: tuple[int, int] | None
    batch: int | None
    takes_bytes: bool

    @property
    def input(self) -> onnx.ValueInfoProto:
        """The image input."""
        return _inputs(self.model)[0]

    @property
    def output(self) -> onnx.ValueInfoProto:
        """The only output."""
        output: onnx.ValueInfoProto = self.model.graph.output[0]
        return output


def open_onnx(path: Path, layout: Layout | None = None) -> OnnxClassifier:
    """Read an ONNX file and find out what it takes.

    Args:
        path: The file.
        layout: Needed only where the file does not tell.

    Raises:
        TrainingError: It is not ONNX, keeps weights in other files, is a bundle already, or has
            inputs or outputs that no classifier of photos has.
        UsageError: The layout cannot be told from the file, or is not that of the file.
    """
    model = _read(path)
    inputs, outputs = _inputs(model), list(model.graph.output)
    if len(inputs) != 1:
        raise TrainingError(
            f"{path.name}: expected a model with one input, the image, found "
            f"{len(inputs)} ({_names(inputs)})"
        )
    if len(outputs) != 1:
        raise TrainingError(
            f"{path.name}: expected a model with one output, the scores of the labels, found "
            f"{len(outputs)} ({_names(outputs)}); keep one of them with onnx.utils.extract_model"
        )
    kind = inputs[0].type.tensor_type
    dims = [dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim]
    takes_bytes = kind.elem_type == TensorProto.UINT8
    if len(dims) != 4 or not (takes_bytes or kind.elem_type in _FLOATS):
        found = TensorProto.DataType.Name(kind.elem_type).lower()
        raise TrainingError(
            f"{path.name}: expected images as input, float or uint8 in four dimensions, found "
            f"{inputs[0].name}: {found} {[dim or '?' for dim in dims]}"
        )
    layout = _layout(path, dims, layout)
    height, width = dims[2:] if layout == "nchw" else dims[1:3]
    return OnnxClassifier(
        path=path,
        model=model,
        layout=layout,
        size=None if height is None or width is None else (height, width),
        batch=dims[0],
        takes_bytes=takes_bytes,
    )


def onnx_source(
    classifier: OnnxClassifier,
    preparation: Preparation,
    images: Sequence[bytes],
    *,
    labels: tuple[str, ...],
    column: str,
) -> Source:
    """Return a classifier, with its preparation in front and probabilities behind, as a source.

    Args:
        classifier: From `open_onnx`.
        preparation: How photos are prepared for it; mean and std do nothing where it takes bytes.
        images: PNG files for the proof.
        labels: What it answers with.
        column: What the bundle will call its label column.

    Raises:
        TrainingError: It cannot be run, answers with another number of labels, or says for each
            label by itself whether it is true.
    """
    name = classifier.path.name
    data = classifier.path.read_bytes()
    pixels = prepare(images, preparation.rule)
    scores = _ask(classifier, data, preparation, pixels)
    if scores.shape[1] != len(labels):
        raise TrainingError(
            f"{name}: expected as many labels as it answers with, {scores.shape[1]:,}, found "
            f"{len(labels):,} in --labels (some models have a first one for the background)"
        )
    if not np.isfinite(scores).all():
        raise TrainingError(f"{name}: expected numbers as answers, found NaN or infinity")
    last = _last_step(classifier.model)
    if last in ("Sigmoid", "HardSigmoid"):
        raise TrainingError(
            f"{name}: expected a model that picks one of many labels, found one that ends in "
            f"{last}, by which several may be true of one photo"
        )
    sums_to_one = (scores >= 0).all() and (abs(scores.sum(axis=1) - 1) < _SUM_TOLERANCE).all()
    says_probabilities = last == "Softmax" or bool(sums_to_one)
    graph = _framed(classifier, preparation, len(labels), column, says_probabilities)
    _require_any_number(graph, pixels, name)
    return Source(
        graph=graph,
        rule=preparation.rule,
        labels=labels,
        column=column,
        expected=_probabilities(scores, says_probabilities),
        allowed=MAX_ROUNDED_DIFFERENCE if _has_few_bits(classifier.model) else MAX_DIFFERENCE,
        facts={
            "arch": "ONNX",
            "weights": name,
            "source_sha256": hashlib.sha256(data).hexdigest(),
            "normalisation": None if classifier.takes_bytes else preparation.as_json(),
            "versions": {name: version(name) for name in ("onnx", "onnxruntime")},
        },
    )


def _read(path: Path) -> onnx.ModelProto:
    if path.stat().st_size > MAX_BUNDLE_BYTES:
        raise TrainingError(
            f"{path.name}: expected at most {MAX_BUNDLE_BYTES // 10**6} MB, found "
            f"{path.stat().st_size // 10**6:,}"
        )
    data = path.read_bytes()
    if has_external_data(data):
        raise TrainingError(
            f"{path.name} keeps weights in other files (external data), which are never opened; "
            "save it as one file: onnx.save_model(onnx.load(...), ..., save_as_external_data=False)"
        )
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf raises its own DecodeError
        raise TrainingError(f"{path.name}: expected an ONNX model, found something else") from error
    if any(entry.key == METADATA_KEY for entry in model.metadata_props):
        raise TrainingError(
            f"{path.name} is a bundle of shopwindow already: shopwindow serve --model {path}"
        )
    return model


def _layout(path: Path, dims: list[int | None], asked: Layout | None) -> Layout:
    shape = [dim or "?" for dim in dims]
    axes: dict[Layout, int] = {"nchw": 1, "nhwc": 3}
    fitting = [layout for layout, axis in axes.items() if dims[axis] in (3, None)]
    sure = [layout for layout in fitting if dims[axes[layout]] == 3]
    if len(sure) == 1:
        fitting = sure
    if not fitting:
        raise TrainingError(
            f"{path.name}: expected colour images, with 3 channels first or last, found the input "
            f"{shape}"
        )
    if asked is not None and asked not in fitting:
        raise UsageError(
            f"--layout {asked}: expected {fitting[0]}, since {path.name} takes {shape}"
        )
    if asked is None and len(fitting) > 1:
        raise UsageError(
            f"{path.name}: expected --layout nchw or --layout nhwc, since its input {shape} does "
            "not say whether channels come first or last"
        )
    return asked or fitting[0]


def _ask(
    classifier: OnnxClassifier,
    data: bytes,
    preparation: Preparation,
    images_nhwc: NDArray[np.uint8],
) -> NDArray[np.float32]:
    """Return (N, C) raw scores of the file as it is, asked as it wants to be asked."""
    kind = classifier.input.type.tensor_type.elem_type
    pixels: NDArray[Any] = images_nhwc
    if not classifier.takes_bytes:
        pixels = preparation.normalise(images_nhwc).astype(_FLOATS[kind])
    elif preparation.bgr:
        pixels = images_nhwc[..., ::-1]
    if classifier.layout == "nchw":
        pixels = pixels.transpose(0, 3, 1, 2)
    try:
        session = _session(data)
        pixels = np.ascontiguousarray(pixels)
        # All at once if it can, as the bundle will be asked: a processor without VNNI saturates
        # sums of 8 bits, and not alike for one image and for several.
        batches = [pixels]
        if classifier.batch is not None:
            batches = [np.repeat(one[None], classifier.batch, axis=0) for one in pixels]
        answers = [session.run(None, {classifier.input.name: batch})[0] for batch in batches]
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        line = (str(error).strip().splitlines() or ["no details"])[0][:200]
        raise TrainingError(
            f"{classifier.path.name}: expected a model that onnxruntime {onnxruntime.__version__} "
            f"runs on {preparation.rule.height_px}x{preparation.rule.width_px} pixels, but: {line}"
        ) from error
    shape = answers[0].shape
    if answers[0].dtype.kind != "f" or not shape or shape[0] != len(batches[0]):
        raise TrainingError(
            f"{classifier.path.name}: expected one row of scores per image as output, found "
            f"{answers[0].dtype} {list(shape)} for {len(batches[0])} image(s)"
        )
    rows = answers[0] if classifier.batch is None else np.stack([answer[0] for answer in answers])
    return rows.reshape(len(rows), -1).astype(np.float32)


def _session(data: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal only: what goes wrong is raised as well
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _require_any_number(graph: onnx.ModelProto, images_nhwc: NDArray[np.uint8], name: str) -> None:
    """Refuse a model that was opened for any number of images, but is not made for it."""
    try:
        session = _session(graph.SerializeToString())
        (answers,) = session.run(None, {INPUT_NAME: images_nhwc})
        opened = not isinstance(session.get_outputs()[0].shape[0], int)
    except Exception:  # onnxruntime's own classes share no base but Exception
        opened = False
    if not opened or len(answers) != len(images_nhwc):
        raise TrainingError(
            f"{name}: expected a model that answers any number of images at once, found one that "
            f"cannot answer {len(images_nhwc)} together; export it again with a dynamic batch axis"
        )


def _last_step(model: onnx.ModelProto) -> str:
    """Return the operator that makes the scores, looking through what only stores them."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in _CARRIERS and node.input:
        node = makers.get(node.input[0])
    return node.op_type if node is not None else ""


def _has_few_bits(model: onnx.ModelProto) -> bool:
    weights = {initializer.data_type for initializer in model.graph.initializer}
    return bool(weights & _FEW_BITS)


def _probabilities(scores: NDArray[np.float32], already: bool) -> NDArray[np.float32]:
    wide = scores.astype(np.float64)
    if not already:
        wide = np.exp(wide - wide.max(axis=1, keepdims=True))
    return np.asarray(wide / wide.sum(axis=1, keepdims=True), np.float32)


def _framed(
    classifier: OnnxClassifier,
    preparation: Preparation,
    labels: int,
    column: str,
    says_probabilities: bool,
) -> onnx.ModelProto:
    """Return the model from bytes (N, H, W, 3) to probabilities (N, labels)."""
    model = onnx.compose.add_prefix(classifier.model, _PREFIX)
    graph = model.graph
    source = next(one for one in graph.input if one.name == _PREFIX + classifier.input.name)
    kind = source.type.tensor_type.elem_type
    scores = graph.output[0].name
    rule = preparation.rule
    constants: dict[str, NDArray[Any]] = {}
    before: list[onnx.NodeProto] = []
    at = INPUT_NAME

    def step(op: str, *others: str, **attributes: Any) -> None:
        nonlocal at
        before.append(helper.make_node(op, [at, *others], [f"frame/{len(before)}"], **attributes))
        at = before[-1].output[0]

    if not classifier.takes_bytes:
        constants["frame/white"] = np.array(255, np.float32)
        constants["frame/mean"] = np.array(preparation.mean, np.float32)
        constants["frame/std"] = np.array(preparation.std, np.float32)
        step("Cast", to=TensorProto.FLOAT)
        step("Div", "frame/white")
        step("Sub", "frame/mean")
        step("Div", "frame/std")
    if preparation.bgr:
        constants["frame/bgr"] = np.array([2, 1, 0], np.int64)
        step("Gather", "frame/bgr", axis=3)
    if classifier.layout == "nchw":
        step("Transpose", perm=[0, 3, 1, 2])
    if kind not in (TensorProto.FLOAT, TensorProto.UINT8):
        step("Cast", to=kind)
    before.append(helper.make_node("Identity", [at], [source.name]))

    constants["frame/rows"] = np.array([-1, labels], np.int64)
    after = [
        helper.make_node("Cast", [scores], ["frame/scores_float"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["frame/scores_float", "frame/rows"], ["frame/scores_rows"]),
    ]
    if says_probabilities:
        # Rounded to 8 or 16 bits, they do not quite sum to 1; and all of them may be 0.
        constants["frame/tiny"] = np.array(1e-9, np.float32)
        constants["frame/ones"] = np.ones((labels, 1), np.float32)
        after += [
            helper.make_node("Add", ["frame/scores_rows", "frame/tiny"], ["frame/scores_above"]),
            helper.make_node("MatMul", ["frame/scores_above", "frame/ones"], ["frame/scores_sum"]),
            helper.make_node("Div", ["frame/scores_above", "frame/scores_sum"], [column]),
        ]
    else:
        after.append(helper.make_node("Softmax", ["frame/scores_rows"], [column], axis=1))

    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.input.remove(source)
    shape: list[str | int | None] = ["N", rule.height_px, rule.width_px, 3]
    graph.input.append(helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, shape))
    graph.output.append(helper.make_tensor_value_info(column, TensorProto.FLOAT, ["N", labels]))
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items())
    return model


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    # Before IR version 4, weights stood among the inputs as well.
    weights = {initializer.name for initializer in model.graph.initializer}
    return [one for one in model.graph.input if one.name not in weights]


def _names(values: Sequence[onnx.ValueInfoProto]) -> str:
    return ", ".join(value.name for value in values[:5]) or "none"
