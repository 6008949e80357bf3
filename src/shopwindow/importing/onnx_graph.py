"""ONNX graphs from bytes to probabilities, for any number of images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shopwindow.bundle import INPUT_NAME
from shopwindow.importing.onnx_reading import image_inputs
from shopwindow.importing.source import Preparation

Meaning = Literal["probabilities", "logits"]

_PREFIX = "source/"
_BATCH = "N"
_OLDEST_SCAN = 9  # before this opset, Scan meant something else
_INNER = "each/"


def with_prefix(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose names can clash with none that are added here."""
    copy: onnx.ModelProto = onnx.compose.add_prefix(model, _PREFIX)
    return copy


def as_bundle_graph(
    model: onnx.ModelProto,
    preparation: Preparation,
    meaning: Meaning,
    column: str,
    *,
    width: int,
    channels_first: bool,
) -> onnx.ModelProto:
    """Turn a model into the graph from bytes (N, H, W, 3) to probabilities (N, labels).

    Args:
        model: From `with_prefix`, with one image input and one output; it is changed.
        preparation: How photos are prepared; mean and std have no effect where it takes bytes.
        meaning: What its scores are.
        column: The name of the output.
        width: How many scores it has per image; one is for two labels.
        channels_first: Whether it takes (N, 3, H, W).
    """
    graph = model.graph
    (source,) = image_inputs(model)
    before, after = _Nodes(graph, "before"), _Nodes(graph, "after")
    pixels = _prepared(before, source.type.tensor_type.elem_type, preparation, channels_first)
    before.add("Identity", pixels, output=source.name)
    scores = after.add("Cast", graph.output[0].name, to=TensorProto.FLOAT)
    scores = after.add("Reshape", scores, np.array([-1, width], np.int64))
    _to_probabilities(after, scores, meaning, column, width=width)
    nodes = [*before.nodes, *graph.node, *after.nodes]
    del graph.node[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.input.remove(source)
    rule = preparation.rule
    shape: list[str | int | None] = [_BATCH, rule.height_px, rule.width_px, 3]
    graph.input.append(helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, shape))
    shape = [_BATCH, max(width, 2)]
    graph.output.append(helper.make_tensor_value_info(column, TensorProto.FLOAT, shape))
    return model


class _Nodes:
    """Nodes to be added to a graph, whose constants it gets at once."""

    def __init__(self, graph: onnx.GraphProto, name: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph = graph
        self._name = name

    def add(
        self,
        op: str,
        *inputs: str | NDArray[Any],
        output: str | None = None,
        **attributes: Any,
    ) -> str:
        """Add a node and return the name of its output."""
        names = []
        for value in inputs:
            if not isinstance(value, str):
                name = f"{self._name}/constant_{len(self._graph.initializer)}"
                self._graph.initializer.append(numpy_helper.from_array(value, name))
                value = name
            names.append(value)
        output = output or f"{self._name}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [output], **attributes))
        return output


def _prepared(nodes: _Nodes, kind: int, preparation: Preparation, channels_first: bool) -> str:
    """Add the nodes from bytes (N, H, W, 3) to what the model takes, of the type `kind`."""
    at = INPUT_NAME
    if kind != TensorProto.UINT8:
        at = nodes.add("Cast", at, to=TensorProto.FLOAT)
        at = nodes.add("Div", at, np.array(255, np.float32))
        at = nodes.add("Sub", at, np.array(preparation.mean, np.float32))
        at = nodes.add("Div", at, np.array(preparation.std, np.float32))
    if preparation.bgr:
        at = nodes.add("Gather", at, np.array([2, 1, 0], np.int64), axis=3)
    if channels_first:
        at = nodes.add("Transpose", at, perm=[0, 3, 1, 2])
    return at if kind == TensorProto.UINT8 else nodes.add("Cast", at, to=kind)


def _to_probabilities(
    nodes: _Nodes, scores: str, meaning: Meaning, column: str, *, width: int
) -> None:
    """Add the nodes from scores (N, width) to probabilities (N, labels)."""
    probable = meaning == "probabilities"
    if width == 1:
        # Of a probability p, the other label has 1 - p; of a logit, softmax(0, x) is sigmoid(x).
        scale, shift = ([-1, 1], [1, 0]) if probable else ([0, 1], [0, 0])
        scores = nodes.add("Mul", scores, np.array(scale, np.float32))
        scores = nodes.add("Add", scores, np.array(shift, np.float32))
    if probable:
        # Rounded to 8 or 16 bits, they do not quite sum to 1; and all of them may be 0.
        scores = nodes.add("Add", scores, np.array(1e-9, np.float32))
        total = nodes.add("MatMul", scores, np.ones((max(width, 2), 1), np.float32))
        nodes.add("Div", scores, total, output=column)
    else:
        nodes.add("Softmax", scores, output=column, axis=1)


def for_any_number(model: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """Yield models that may take any number of images and answer like this one, the fastest first.

    `torch.onnx.export(model, x, file)` writes the batch of `x` into the graph. Mostly it is only
    written into the shapes, and can be taken out of them. Where it is not (a class token that was
    repeated once), the graph runs once for each image.

    Args:
        model: With one image input and one output, each with the batch first.
    """
    (image,) = image_inputs(model)
    batch = image.type.tensor_type.shape.dim[0].dim_value
    yield _with_open_batch(model, batch)
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if batch > 0 and opset >= _OLDEST_SCAN:
        yield _image_by_image(model, batch, opset)


def _with_open_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Return a copy whose shapes leave the number of images open."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    for value in (*image_inputs(copy), *graph.output):
        shape = value.type.tensor_type.shape
        if shape.dim:
            shape.dim[0].dim_param = _BATCH
    if batch <= 0:
        return copy
    del graph.value_info[:]
    constants = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.dims
    }
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    for number, node in enumerate(graph.node):
        target = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if target is None or target.ndim != 1 or not len(target) or target[0] != batch:
            continue
        # "As many as there are"; or where another axis is that already, "as many as came in".
        target = target.copy()
        target[0] = 0 if -1 in target else -1
        name = f"open/{number}"
        graph.initializer.append(numpy_helper.from_array(target, name))
        node.input[1] = name
    return copy


def _image_by_image(model: onnx.ModelProto, batch: int, opset: int) -> onnx.ModelProto:
    """Return a copy that runs the graph once for each image, within the graph."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    (image,) = image_inputs(copy)
    output = graph.output[0]
    kind, sides = _described(image)
    score, rest = _described(output)
    # Where to put the axis is an attribute in old opsets, and an input since.
    options: dict[str, Any] = {"axes": [0]} if opset < 13 else {}
    axes = [] if options else [f"{_INNER}axes"]
    before = [
        helper.make_node("Unsqueeze", [f"{_INNER}image", *axes], [f"{_INNER}alone"], **options),
        # A graph for several images gets the same one several times.
        helper.make_node("Expand", [f"{_INNER}alone", f"{_INNER}shape"], [image.name]),
    ]
    after = helper.make_node("Gather", [output.name, f"{_INNER}first"], [f"{_INNER}scores"], axis=0)
    body = helper.make_graph(
        [*before, *graph.node, after],
        "each",
        [helper.make_tensor_value_info(f"{_INNER}image", kind, sides)],
        [helper.make_tensor_value_info(f"{_INNER}scores", score, rest)],
    )
    body.value_info.extend(graph.value_info)
    scan = helper.make_node("Scan", [image.name], [f"{_INNER}all"], body=body, num_scan_inputs=1)
    # Names of a body must not hide those of the graph around it.
    scan.input[0], answers = f"{_INNER}images", f"{_INNER}all"
    del graph.node[:], graph.value_info[:], graph.output[:]
    graph.input.remove(image)
    graph.node.append(scan)
    graph.input.append(helper.make_tensor_value_info(f"{_INNER}images", kind, [_BATCH, *sides]))
    graph.output.append(helper.make_tensor_value_info(answers, score, [_BATCH, *rest]))
    for name, value in (("axes", [0]), ("first", 0), ("shape", [batch] + [1] * len(sides))):
        constant = numpy_helper.from_array(np.array(value, np.int64), _INNER + name)
        graph.initializer.append(constant)
    return copy


def _described(value: onnx.ValueInfoProto) -> tuple[int, list[int | None]]:
    """Return the type of a value, and its shape without the batch."""
    tensor = value.type.tensor_type
    return tensor.elem_type, [max(dim.dim_value, 0) or None for dim in tensor.shape.dim[1:]]
