"""One ONNX graph of a backbone and the heads that were fitted to its features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from shopwindow.bundle import ACTIVATION_OUTPUT, INPUT_NAME
from shopwindow.calibration.regression import LinearHead
from shopwindow.probe.backbone import FEATURES, MAP, Backbone

_BODY, _HEAD = "backbone/", "head/"


def probe_graph(
    backbone: Backbone,
    heads: Mapping[str, LinearHead],
    temperatures: Mapping[str, float],
    *,
    mapped: bool,
) -> onnx.ModelProto:
    """Return the graph of a bundle.

    Args:
        backbone: What turns images into features.
        heads: By label column, the main one first.
        temperatures: By label column, what its logits are divided by.
        mapped: Whether to add the class activation map (Zhou et al. 2016, arXiv:1512.04150): how
            much each place speaks for the answer, less the mean over all labels.
    """
    # A prefix, since a label column may have any name that a tensor of the backbone has.
    graph = compose.add_prefix(
        onnx.load_model_from_string(backbone.model), _BODY, rename_inputs=False
    )
    del graph.metadata_props[:]
    del graph.graph.output[:]
    features, feature_map = _BODY + FEATURES, _BODY + MAP
    sizes = [len(head.bias) for head in heads.values()]
    constants: dict[str, NDArray[np.generic]] = {
        "weights": np.concatenate([head.weights for head in heads.values()], 1),
        "bias": np.concatenate([head.bias for head in heads.values()]),
        "inverse temperatures": np.concatenate(
            [
                np.full(len(head.bias), 1 / temperatures[name], np.float32)
                for name, head in heads.items()
            ]
        ),
        "sizes": np.array(sizes, np.int64),
    }
    main = next(iter(heads))
    if mapped:
        constants["mean weights"] = heads[main].weights.mean(axis=1)
        constants["places"] = np.array([2, 3], np.int64)
        constants["channels"] = np.array([1], np.int64)
    for name, value in constants.items():
        graph.graph.initializer.append(numpy_helper.from_array(value, _HEAD + name))

    def step(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        graph.graph.node.append(helper.make_node(kind, inputs, outputs, **attributes))

    logits = [f"{_HEAD}logits of {name}" for name in heads]
    step("MatMul", [features, _HEAD + "weights"], [_HEAD + "products"])
    step("Add", [_HEAD + "products", _HEAD + "bias"], [_HEAD + "logits"])
    step("Mul", [_HEAD + "logits", _HEAD + "inverse temperatures"], [_HEAD + "cooled"])
    step("Split", [_HEAD + "cooled", _HEAD + "sizes"], logits, axis=1)
    for name, part, size in zip(heads, logits, sizes, strict=True):
        step("Softmax", [part], [name], axis=1)
        graph.graph.output.append(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
        )
    if mapped:
        step("ArgMax", [logits[0]], [_HEAD + "best"], axis=1, keepdims=0)
        step("Gather", [_HEAD + "weights", _HEAD + "best"], [_HEAD + "chosen"], axis=1)
        graph.graph.node.append(
            helper.make_node("Transpose", [_HEAD + "chosen"], [_HEAD + "rows"], perm=[1, 0])
        )
        step("Sub", [_HEAD + "rows", _HEAD + "mean weights"], [_HEAD + "lead"])
        step("Unsqueeze", [_HEAD + "lead", _HEAD + "places"], [_HEAD + "everywhere"])
        step("Mul", [feature_map, _HEAD + "everywhere"], [_HEAD + "spoken"])
        step("ReduceSum", [_HEAD + "spoken", _HEAD + "channels"], [ACTIVATION_OUTPUT], keepdims=0)
        graph.graph.output.append(
            helper.make_tensor_value_info(
                ACTIVATION_OUTPUT, TensorProto.FLOAT, ["N", "rows", "columns"]
            )
        )
    (taken,) = graph.graph.input
    assert taken.name == INPUT_NAME  # noqa: S101 (scripts/make-backbone names it so)
    onnx.checker.check_model(graph)
    return graph
