"""Calibration inside the graph of a bundle, so that every client gets the honest confidences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shopwindow.calibration.confidence import AHEAD, CRUMB, FLOOR, NEAR, Confidence
from shopwindow.calibration.fitting import LEAST, Calibration
from shopwindow.errors import TrainingError


def with_calibration(graph: onnx.ModelProto, calibration: Calibration) -> onnx.ModelProto:
    """Return a graph whose answers are those that `calibration.probs` returns; it is changed.

    Args:
        graph: From images to probabilities, an output per label column.
        calibration: Fitted to these probabilities, as `as_logits` has them.

    Raises:
        TrainingError: No step of the graph makes such an output.
    """
    return with_confidence(
        with_temperatures(graph, calibration.temperatures),
        calibration.confidence,
        list(calibration.temperatures),
    )


def with_temperatures(graph: onnx.ModelProto, temperatures: Mapping[str, float]) -> onnx.ModelProto:
    """Return a graph whose outputs (N, C) are softmax(log(probabilities) / temperature).

    Args:
        graph: From images to probabilities, an output per label column; it is changed.
        temperatures: By the name of the output, above 0; 1 leaves the output as it is.

    Raises:
        TrainingError: No step of the graph makes such an output.
    """
    for number, (name, temperature) in enumerate(temperatures.items()):
        if temperature == 1:
            continue
        # A second calibration goes behind the first, so that names must be new each time.
        prefix = f"{name}/calibrated-{len(graph.graph.node)}-{number}"
        before = rename_output(graph, name, f"{prefix}/probabilities")
        constants = {"least": LEAST, "factor": 1 / temperature}
        for key, value in constants.items():
            tensor = helper.make_tensor(f"{prefix}/{key}", TensorProto.FLOAT, [], [value])
            graph.graph.initializer.append(tensor)
        steps = [
            helper.make_node("Max", [before, f"{prefix}/least"], [f"{prefix}/positive"]),
            helper.make_node("Log", [f"{prefix}/positive"], [f"{prefix}/logits"]),
            helper.make_node("Mul", [f"{prefix}/logits", f"{prefix}/factor"], [f"{prefix}/scaled"]),
            helper.make_node("Softmax", [f"{prefix}/scaled"], [name], axis=1),
        ]
        graph.graph.node.extend(steps)
    return graph


def with_confidence(
    graph: onnx.ModelProto, confidence: Confidence | None, columns: Sequence[str]
) -> onnx.ModelProto:
    """Return a graph that does to its answers what `confidence` does; of opset 9 or later.

    Args:
        graph: From images to probabilities, an output per label column; it is changed.
        confidence: None leaves the graph as it is.
        columns: The names of these outputs, the main one first.

    Raises:
        TrainingError: No step of the graph makes such an output.
    """
    if confidence is None:
        return graph
    main = columns[0]
    # A second calibration goes behind the first, so that names must be new each time.
    prefix = f"{main}/confidence-{len(graph.graph.node)}"
    before = rename_output(graph, main, f"{prefix}/probabilities")
    shapes = {one.name: one.type.tensor_type.shape for one in graph.graph.output}
    count = shapes[main].dim[1].dim_value
    curves = confidence.curves
    numbers: dict[str, float] = {"floor": FLOOR, "ceiling": 1 - FLOOR, "one": 1, "none": 0}
    numbers |= {"crumb": CRUMB, "ahead": AHEAD, "per nearness": 1 / NEAR}
    constants: dict[str, NDArray[Any]] = {
        **{name: np.array(number, np.float32) for name, number in numbers.items()},
        "rises": np.diag([c.rise for c in curves]).astype(np.float32),
        "falls": np.diag([c.fall for c in curves]).astype(np.float32),
        "shifts": np.array([[c.shift for c in curves]], np.float32),
        "lowest": np.array([[max(c.lowest, FLOOR) for c in curves]], np.float32),
        "same": np.ones((1, 1), np.float32),
        "labels": np.arange(count, dtype=np.int64)[None],
        "all labels": np.ones((count, 1), np.float32),
        "ones": np.ones((len(curves), 1), np.float32),
    }
    if confidence.domains is not None:
        constants |= {"weights": confidence.domains.weights, "bias": confidence.domains.bias}
    for name, value in constants.items():
        graph.graph.initializer.append(numpy_helper.from_array(value, f"{prefix}/{name}"))

    def step(kind: str, inputs: str, output: str, **attributes: Any) -> None:
        names = [before if name == "answers" else f"{prefix}/{name}" for name in inputs.split(", ")]
        node = helper.make_node(kind, names, [f"{prefix}/{output}"], **attributes)
        graph.graph.node.append(node)

    def greatest(rows: str, name: str) -> None:
        """Of each row, its place and itself; without GatherElements, which opset 9 has not."""
        step("ArgMax", rows, f"place of {name}", axis=1, keepdims=1)
        step("Equal", f"labels, place of {name}", f"is {name}")
        step("Where", f"is {name}, {rows}, none", f"only {name}")
        step("MatMul", f"only {name}, all labels", name)

    # The best label, all others, and the best of these.
    greatest("answers", "highest")
    step("Add", "answers, crumb", "some")
    step("Where", "is highest, none, some", "others")
    step("MatMul", "others, all labels", "rest")
    greatest("others", "second")
    # (N, K): what the curve of each kind makes of the highest.
    step("Max", "highest, lowest", "known")
    step("Min", "known, ceiling", "inside")
    step("Log", "inside", "log")
    step("Sub", "one, inside", "outside")
    step("Log", "outside", "log outside")
    step("MatMul", "log, rises", "rising")
    step("MatMul", "log outside, falls", "falling")
    step("Sub", "rising, falling", "unshifted")
    step("Add", "unshifted, shifts", "logits")
    step("Sigmoid", "logits", "curve")
    step("Div", "highest, lowest", "height")
    step("Min", "height, one", "line")
    step("Mul", "curve, line", "by domain")
    if confidence.domains is not None:
        together = [before, *columns[1:]]
        graph.graph.node.append(helper.make_node("Concat", together, [f"{prefix}/all"], axis=1))
        step("Max", "all, floor", "positive")
        step("Log", "positive", "all logarithms")
        step("MatMul", "all logarithms, weights", "unbiased")
        step("Add", "unbiased, bias", "domain logits")
        step("Softmax", "domain logits", "domains", axis=1)
        step("Mul", "by domain, domains", "weighted")
        step("MatMul", "weighted, ones", "mean")
    else:
        step("MatMul", "by domain, ones", "mean")
    # Not below the second, and less changed the nearer that is. Without the products with 1,
    # OpenVINO 2026.4 makes one loop of all these steps, and runs out of registers for it.
    step("Add", "rest, second", "of both")
    step("Div", "second, of both", "equal")
    step("Mul", "equal, ahead", "a little more")
    step("MatMul", "a little more, same", "least")
    step("Max", "mean, least", "curved")
    step("Sub", "highest, second", "gap")
    step("Mul", "gap, per nearness", "gaps")
    step("Max", "gaps, none", "not below")
    step("Min", "not below, one", "not above")
    step("MatMul", "not above, same", "apart")
    step("Sub", "curved, highest", "change")
    step("Mul", "apart, change", "changed")
    step("Add", "highest, changed", "sum")
    step("MatMul", "sum, same", "confidence")
    # The others divide what is left.
    step("Sub", "one, confidence", "left")
    step("Div", "left, rest", "factor")
    step("Mul", "others, factor", "shared")
    step("Where", "is highest, confidence, shared", "honest")
    graph.graph.node[-1].output[0] = main
    return graph


def rename_output(graph: onnx.ModelProto, name: str, new: str) -> str:
    """Give what makes an output of a graph, and all that reads it, a new name for it.

    Raises:
        TrainingError: No step of the graph makes such an output.
    """
    if not any(name in node.output for node in graph.graph.node):
        raise TrainingError(f"expected a step that makes the output {name!r}, found none")
    for node in graph.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if one == name else one for one in names]
    return new
