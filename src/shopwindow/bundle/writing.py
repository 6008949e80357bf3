"""From an ONNX graph to the file of a bundle."""

from __future__ import annotations

import io
import json

import numpy as np
import onnx
from onnx import numpy_helper

from shopwindow.bundle import METADATA_KEY, BundleInfo


def in_half_precision(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose large weights are stored as float16."""
    half = onnx.ModelProto()
    half.CopyFrom(graph)
    for initializer in list(half.graph.initializer):
        _store_as_half(half, initializer)
    onnx.checker.check_model(half)
    return half


def _store_as_half(graph: onnx.ModelProto, initializer: onnx.TensorProto) -> None:
    """Store a large float32 weight as float16, cast back when the model is loaded.

    Halves the file. Runtimes fold the cast away at load time, so that speed stays what it was.
    Small tensors (biases, statistics of batch norm) keep their precision: they cost nothing.
    """
    if initializer.data_type != onnx.TensorProto.FLOAT:
        return
    values = numpy_helper.to_array(initializer)
    if values.size < 4096 or np.abs(values).max() > np.finfo(np.float16).max:
        return
    name = initializer.name
    half = numpy_helper.from_array(values.astype(np.float16), f"{name}_half")
    cast = onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT)
    graph.graph.initializer.remove(initializer)
    graph.graph.initializer.append(half)
    graph.graph.node.insert(0, cast)


def with_info(graph: onnx.ModelProto, info: BundleInfo) -> bytes:
    """Return the file: the graph, with `info` as its only metadata."""
    del graph.metadata_props[:]
    entry = graph.metadata_props.add()
    entry.key = METADATA_KEY
    text = json.dumps(info.as_json(), ensure_ascii=False, sort_keys=True)
    # A folder whose name is not UTF-8 may be where the data came from.
    entry.value = text.encode("utf-8", "replace").decode("utf-8")
    buffer = io.BytesIO()
    onnx.save_model(graph, buffer)
    return buffer.getvalue()
