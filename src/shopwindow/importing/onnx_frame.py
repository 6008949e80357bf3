"""What stands before and after an ONNX model, so that bytes become probabilities."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shopwindow.bundle import INPUT_NAME
from shopwindow.importing.source import Preparation

Meaning = Literal["probabilities", "logits"]

_PREFIX = "source/"


def as_probabilities(scores: NDArray[np.float32], meaning: Meaning) -> NDArray[np.float32]:
    """Return numbers of a model, (N, C), as probabilities, (N, C) or, of one number, (N, 2)."""
    wide = scores.astype(np.float64)
    if wide.shape[1] == 1:
        rest = 1 - wide if meaning == "probabilities" else np.zeros_like(wide)
        wide = np.concatenate([rest, wide], axis=1)
    if meaning == "logits":
        wide = np.exp(wide - wide.max(axis=1, keepdims=True))
    return np.asarray(wide / wide.sum(axis=1, keepdims=True), np.float32)


def set_apart(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy, none of whose tensors is called like one of a frame."""
    copy: onnx.ModelProto = onnx.compose.add_prefix(model, _PREFIX)
    return copy


def framed(
    model: onnx.ModelProto,
    preparation: Preparation,
    meaning: Meaning,
    column: str,
    *,
    width: int,
    channels_first: bool,
) -> onnx.ModelProto:
    """Make of a model the graph from bytes (N, H, W, 3) to probabilities (N, labels).

    Args:
        model: From `set_apart`, with one image input and one output; it is changed.
        preparation: How photos are prepared; mean and std do nothing where it takes bytes.
        meaning: What its numbers are.
        column: The name of the output.
        width: How many numbers it answers with; one tells two labels apart.
        channels_first: Whether it takes (N, 3, H, W).
    """
    labels, probable = max(width, 2), meaning == "probabilities"
    graph = model.graph
    (source,) = image_inputs(model)
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

    if kind != TensorProto.UINT8:
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
    if channels_first:
        step("Transpose", perm=[0, 3, 1, 2])
    if kind not in (TensorProto.FLOAT, TensorProto.UINT8):
        step("Cast", to=kind)
    before.append(helper.make_node("Identity", [at], [source.name]))

    one_number = width == 1
    rows = "frame/one_number" if one_number else "frame/scores_rows"
    constants["frame/rows"] = np.array([-1, width], np.int64)
    after = [
        helper.make_node("Cast", [scores], ["frame/scores_float"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["frame/scores_float", "frame/rows"], [rows]),
    ]
    if one_number:
        # Of a probability p, the other label has 1 - p; of a logit, softmax(0, x) is sigmoid(x).
        constants["frame/scale"] = np.array([-1, 1] if probable else [0, 1], np.float32)
        constants["frame/shift"] = np.array([1, 0] if probable else [0, 0], np.float32)
        after += [
            helper.make_node("Mul", [rows, "frame/scale"], ["frame/two_numbers"]),
            helper.make_node("Add", ["frame/two_numbers", "frame/shift"], ["frame/scores_rows"]),
        ]
    if probable:
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


def image_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that are none of its weights."""
    # Before IR version 4, weights stood among the inputs as well.
    weights = {initializer.name for initializer in model.graph.initializer}
    return [one for one in model.graph.input if one.name not in weights]
