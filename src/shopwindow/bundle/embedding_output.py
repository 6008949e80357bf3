"""The embedding as a further output of a graph: what the last layer sees, at unit length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from shopwindow.bundle import EMBEDDING_OUTPUT

# What may stand between the last layer and the probabilities: nothing that mixes features.
_AFTER_THE_LAYER = frozenset(
    (
        *("Softmax", "Sigmoid", "LogSoftmax", "Exp", "Log", "Split", "Slice", "Identity", "Cast"),
        *("Mul", "Div", "Add", "Sub", "Max", "Min", "Clip", "QuantizeLinear", "DequantizeLinear"),
        *("Reshape", "Flatten", "Squeeze"),
    )
)
# These leave the shape of a weight as it is.
_AROUND_A_WEIGHT = frozenset(("Cast", "Identity", "DequantizeLinear"))


def append_embedding(graph: onnx.ModelProto, column: str) -> int:
    """Give a graph the output `EMBEDDING_OUTPUT`: the features that its last layer sees.

    The last layer is the Gemm or MatMul behind the probabilities of `column`; only steps that
    treat each label alike may follow it. The features are divided by their Euclidean length; where
    that is 0, they stay 0.

    Args:
        graph: From images to probabilities. It is changed; where it has no such layer, or a tensor
            that is called like the output, it stays as it is.
        column: The name of the output (N, C) of the main label column.

    Returns:
        D, where the new output is (N, D) float32; 0 where there is none.
    """
    makers = {name: node for node in graph.graph.node for name in node.output}
    constants = {one.name: tuple(one.dims) for one in graph.graph.initializer}
    taken = {*makers, *constants, *(one.name for one in graph.graph.input)}
    labels = next(one.type.tensor_type.shape for one in graph.graph.output if one.name == column)
    features, width = _last_features(column, makers, constants, labels.dim[1].dim_value)
    floats, rows, shape = (f"{EMBEDDING_OUTPUT}/{name}" for name in ("floats", "rows", "shape"))
    if not width or taken & {EMBEDDING_OUTPUT, floats, rows, shape}:
        return 0
    graph.graph.initializer.append(numpy_helper.from_array(np.array([-1, width], np.int64), shape))
    graph.graph.node.extend(
        [
            helper.make_node("Cast", [features], [floats], to=TensorProto.FLOAT),
            helper.make_node("Reshape", [floats, shape], [rows]),
            helper.make_node("LpNormalization", [rows], [EMBEDDING_OUTPUT], axis=1, p=2),
        ]
    )
    output = helper.make_tensor_value_info(EMBEDDING_OUTPUT, TensorProto.FLOAT, ["N", width])
    graph.graph.output.append(output)
    return width


@dataclass(frozen=True)
class LastLayer:
    """The layer that sees the embedding.

    Attributes:
        logits: The tensor (N, S) of its scores, with their bias.
        scores: S; those of the main label column come first.
    """

    logits: str
    scores: int


def find_layer(graph: onnx.ModelProto) -> LastLayer | None:
    """Return the last layer of a graph that `append_embedding` has changed; None of any other."""
    makers = {name: node for node in graph.graph.node for name in node.output}
    constants = {one.name: tuple(one.dims) for one in graph.graph.initializer}
    if (cast := makers.get(f"{EMBEDDING_OUTPUT}/floats")) is None:
        return None
    for layer in graph.graph.node:
        if layer.op_type not in ("Gemm", "MatMul") or layer.input[0] != cast.input[0]:
            continue
        _, _, scores = _layer(layer, makers, constants)
        logits = layer.output[0]
        for node in graph.graph.node:
            others = [_shape(one, makers, constants) for one in node.input if one != logits]
            if node.op_type == "Add" and logits in node.input and others and others[0] is not None:
                return LastLayer(node.output[0], scores)
        return LastLayer(logits, scores)
    return None


def _last_features(
    name: str,
    makers: Mapping[str, onnx.NodeProto],
    constants: Mapping[str, tuple[int, ...]],
    labels: int,
) -> tuple[str, int]:
    """Return the tensor (N, D) that the last layer before `name` sees, and D; else 0."""
    reshaped = False
    while (node := makers.get(name)) is not None:
        if node.op_type in ("Gemm", "MatMul"):
            features, width, scores = _layer(node, makers, constants)
            # Scores of several places of an image may be the labels, but have features each.
            return ("", 0) if reshaped and scores != labels else (features, width)
        if node.op_type not in _AFTER_THE_LAYER or node.domain not in ("", "ai.onnx"):
            break
        reshaped |= node.op_type in ("Reshape", "Flatten", "Squeeze")
        # Of two operands, one is a bias, a scale or a bound; what is divided by may be a sum.
        varying = [one for one in node.input if _shape(one, makers, constants) is None]
        if len(varying) != 1 and node.op_type != "Div":
            break
        name = varying[0]
    return "", 0


def _layer(
    layer: onnx.NodeProto,
    makers: Mapping[str, onnx.NodeProto],
    constants: Mapping[str, tuple[int, ...]],
) -> tuple[str, int, int]:
    """Return the input of a linear layer, the number of its features and of its scores."""
    transposed = {one.name: one.i for one in layer.attribute if one.name in ("transA", "transB")}
    shape = _shape(layer.input[1], makers, constants)
    if transposed.get("transA") or shape is None or len(shape) != 2:
        return "", 0, 0
    features, scores = reversed(shape) if transposed.get("transB") else shape
    return layer.input[0], features, scores


def _shape(
    name: str,
    makers: Mapping[str, onnx.NodeProto],
    constants: Mapping[str, tuple[int, ...]],
) -> tuple[int, ...] | None:
    """Return the shape of a tensor that is the same for all images; None of any other."""
    while name not in constants:
        node = makers.get(name)
        if node is not None and node.op_type == "Constant":
            return next((tuple(a.t.dims) for a in node.attribute if a.name == "value"), ())
        if node is None or node.op_type not in _AROUND_A_WEIGHT:
            return None if name else ()  # an input that was left out has no name
        name = node.input[0]
    return constants[name]
