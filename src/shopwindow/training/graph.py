"""From a PyTorch module to the ONNX file of a bundle."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from shopwindow.bundle import INPUT_NAME, METADATA_KEY, BundleInfo
from shopwindow.errors import TrainingError
from shopwindow.imaging.preprocess import ResizeRule


def to_onnx(model: nn.Module, rule: ResizeRule, output_names: Sequence[str]) -> onnx.ModelProto:
    """Export a module that takes uint8 (N, H, W, 3) images of the rule's size.

    Args:
        model: On the processor; put into evaluation mode.
        rule: Its height and width are those of the input.
        output_names: One per output of the module.

    Raises:
        TrainingError: PyTorch makes no valid graph of it.
    """
    # Two images, since an exporter is free to take a size of 1 for a constant.
    example = torch.zeros((2, rule.height_px, rule.width_px, 3), dtype=torch.uint8)
    with torch.inference_mode():
        program = torch.onnx.export(
            model.eval(),
            (example,),
            input_names=[INPUT_NAME],
            output_names=list(output_names),
            dynamic_shapes={"images": {0: torch.export.Dim("N", min=1, max=65536)}},
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise TrainingError("export: expected an ONNX program from PyTorch, got none")
    graph = program.model_proto
    _remove_paths(graph)
    try:
        onnx.checker.check_model(graph)
    except onnx.checker.ValidationError as error:
        first = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"export: expected a valid ONNX graph, got: {first}; if it names one of your label "
            "columns, rename that column"
        ) from error
    return graph


def _remove_paths(graph: onnx.ModelProto) -> None:
    """Remove where each step stood in the source: paths of the machine that exported."""
    del graph.graph.metadata_props[:]
    for part in (graph.graph, *graph.functions):
        for node in part.node:
            del node.metadata_props[:]
            node.doc_string = ""
        for value in part.value_info:
            del value.metadata_props[:]
    for value in (*graph.graph.input, *graph.graph.output):
        del value.metadata_props[:]


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
