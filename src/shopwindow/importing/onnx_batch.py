"""Graphs that were exported for a fixed number of images, as graphs for any number.

`torch.onnx.export(model, x, file)` writes the batch of `x` into the graph. Mostly it is only
written into the shapes, and can be taken out of them. Where it is not (a class token that was
repeated once), the graph runs once for each image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

_BATCH = "N"
_OLDEST_SCAN = 9  # before this opset, Scan meant something else
_INNER = "each/"


def for_any_number(model: onnx.ModelProto, input_name: str) -> Iterator[onnx.ModelProto]:
    """Yield models that may answer any number of images like this one, the fastest first.

    Args:
        model: With one image input and one output, each with the batch first.
        input_name: Of the image input; weights may stand among the inputs too.
    """
    image = next(one for one in model.graph.input if one.name == input_name)
    batch = image.type.tensor_type.shape.dim[0].dim_value
    yield _opened(model, input_name, batch)
    opset = max(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    if batch > 0 and opset >= _OLDEST_SCAN:
        yield _one_by_one(model, input_name, batch, opset)


def _opened(model: onnx.ModelProto, input_name: str, batch: int) -> onnx.ModelProto:
    """Return a copy whose shapes leave the number of images open."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    for value in (*(one for one in graph.input if one.name == input_name), *graph.output):
        shape = value.type.tensor_type.shape
        if shape.dim:
            shape.dim[0].dim_param = _BATCH
    if batch <= 0:
        return copy
    del graph.value_info[:]
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer if one.dims}
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


def _one_by_one(model: onnx.ModelProto, input_name: str, batch: int, opset: int) -> onnx.ModelProto:
    """Return a copy that runs the graph once for each image, within the graph."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    image = next(one for one in graph.input if one.name == input_name)
    output = graph.output[0]
    kind, sides = _described(image)
    score, rest = _described(output)
    # Where to put the axis is an attribute in old opsets, and an input since.
    options: dict[str, Any] = {"axes": [0]} if opset < 13 else {}
    axes = [] if options else [f"{_INNER}axes"]
    before = [
        helper.make_node("Unsqueeze", [f"{_INNER}image", *axes], [f"{_INNER}alone"], **options),
        # A graph for several images gets the same one several times.
        helper.make_node("Expand", [f"{_INNER}alone", f"{_INNER}shape"], [input_name]),
    ]
    after = helper.make_node("Gather", [output.name, f"{_INNER}first"], [f"{_INNER}scores"], axis=0)
    body = helper.make_graph(
        [*before, *graph.node, after],
        "each",
        [helper.make_tensor_value_info(f"{_INNER}image", kind, sides)],
        [helper.make_tensor_value_info(f"{_INNER}scores", score, rest)],
    )
    body.value_info.extend(graph.value_info)
    scan = helper.make_node("Scan", [input_name], [f"{_INNER}all"], body=body, num_scan_inputs=1)
    # Names of a body must not hide those of the graph around it.
    scan.input[0], answers = f"{_INNER}images", f"{_INNER}all"
    del graph.node[:], graph.value_info[:], graph.output[:]
    graph.input.remove(image)
    graph.node.append(scan)
    graph.input.append(helper.make_tensor_value_info(f"{_INNER}images", kind, [_BATCH, *sides]))
    graph.output.append(helper.make_tensor_value_info(answers, score, [_BATCH, *rest]))
    constants = {
        "axes": np.array([0], np.int64),
        "first": np.array(0, np.int64),
        "shape": np.array([batch] + [1] * len(sides), np.int64),
    }
    graph.initializer.extend(
        numpy_helper.from_array(value, _INNER + name) for name, value in constants.items()
    )
    return copy


def _described(value: onnx.ValueInfoProto) -> tuple[int, list[int | None]]:
    """Return the type of a value, and its shape without the batch."""
    tensor = value.type.tensor_type
    return tensor.elem_type, [max(dim.dim_value, 0) or None for dim in tensor.shape.dim[1:]]
