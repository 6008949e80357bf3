"""From a PyTorch module to an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import torch
from torch import nn

from shopwindow.bundle import INPUT_NAME
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
