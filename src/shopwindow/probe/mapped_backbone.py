"""The backbone with its feature map as a second output, for answers that show their evidence."""

from __future__ import annotations

from dataclasses import replace

import onnx
from onnx import TensorProto, helper

from shopwindow.inference.engine import EngineName, open_engine
from shopwindow.probe.backbone import FEATURES, MAP, Backbone, open_backbone


def open_mapped_backbone(*, engine: EngineName = "auto", streams: int = 1) -> Backbone:
    """Open the backbone of this package with `FEATURES` and `MAP` as outputs.

    The map is (N, D, rows, columns) float32, and its means over rows and columns are the features.

    Args:
        engine: What runs it; see `choose_engine`.
        streams: See `open_engine`.

    Raises:
        BundleError: The file is missing, or not a backbone.
    """
    backbone = open_backbone(engine="onnxruntime")
    graph = onnx.load_model_from_string(backbone.model)
    assert [output.name for output in graph.graph.output] == [FEATURES]  # noqa: S101 (ours)
    graph.graph.output.append(
        helper.make_tensor_value_info(MAP, TensorProto.FLOAT, ["N", None, "rows", "columns"])
    )
    engine_ = open_engine(graph.SerializeToString(), streams=streams, name=engine)
    return replace(backbone, engine=engine_)
