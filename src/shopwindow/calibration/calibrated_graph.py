"""Calibration inside the graph of a bundle, so that every client gets the honest confidences.

The steps are written in ONNX's text syntax (https://onnx.ai/onnx/repo-docs/Syntax.html), each name
once. Names that no step makes are the inputs and the constants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper, parser

from shopwindow.bundle import KINDS_OUTPUT
from shopwindow.calibration.curves import FLOOR, LEAD, NEAR_TIE, TINY, Confidence
from shopwindow.calibration.temperature import LEAST
from shopwindow.errors import TrainingError

if TYPE_CHECKING:
    from shopwindow.calibration.calibrating import Calibration

# softmax(log(probabilities) / temperature)
_TEMPERATURE = """
    positive = Max (answers, least)
    logits = Log (positive)
    scaled = Mul (logits, factor)
    calibrated = Softmax <axis = 1> (scaled)
"""

# What `Confidence.__call__` does to the main label column, in steps of opset 9 (which has no
# GatherElements): C labels, K curves. The products with `same`, which is 1, change nothing: without
# them, OpenVINO 2026.4 makes one loop of all these steps, and runs out of registers for it.
_CONFIDENCE = """
    # (N, 1): the highest probability, the sum of all others, and the highest of these.
    best = ArgMax <axis = 1, keepdims = 1> (answers)
    is_best = Equal (labels, best)
    only_best = Where (is_best, answers, none)
    highest = MatMul (only_best, all_labels)
    some = Add (answers, tiny)
    others = Where (is_best, none, some)
    rest = MatMul (others, all_labels)
    next = ArgMax <axis = 1, keepdims = 1> (others)
    is_next = Equal (labels, next)
    only_next = Where (is_next, others, none)
    second = MatMul (only_next, all_labels)

    # (N, K): what each curve makes of the highest; below `lowest`, a straight line to 0.
    known = Max (highest, lowest)
    inside = Min (known, ceiling)
    log_inside = Log (inside)
    outside = Sub (one, inside)
    log_outside = Log (outside)
    rising = MatMul (log_inside, rises)
    falling = MatMul (log_outside, falls)
    unshifted = Sub (rising, falling)
    curve_logits = Add (unshifted, shifts)
    curve = Sigmoid (curve_logits)
    height = Div (highest, lowest)
    line = Min (height, one)
    by_curve = Mul (curve, line)
    {mean}

    # (N, 1): not below the second label, and changed less the nearer that is.
    of_both = Add (rest, second)
    equal = Div (second, of_both)
    at_least = Mul (equal, lead)
    least = MatMul (at_least, same)
    curved = Max (mean, least)
    gap = Sub (highest, second)
    gaps = Mul (gap, per_nearness)
    not_below = Max (gaps, none)
    not_above = Min (not_below, one)
    apart = MatMul (not_above, same)
    change = Sub (curved, highest)
    changed = Mul (apart, change)
    sum = Add (highest, changed)
    confidence = MatMul (sum, same)

    # (N, C): the others divide what is left.
    left = Sub (one, confidence)
    factor = Div (left, rest)
    shared = Mul (others, factor)
    calibrated = Where (is_best, confidence, shared)
"""
_ONE_CURVE = "mean = MatMul (by_curve, all_curves)"
# Each curve counts by how likely the image is of the kind that the curve was fitted to.
_CURVE_BY_DOMAIN = """
    all_answers = Concat <axis = 1> ({columns})
    positive = Max (all_answers, floor)
    logarithms = Log (positive)
    unbiased = MatMul (logarithms, weights)
    domain_logits = Add (unbiased, bias)
    domains = Softmax <axis = 1> (domain_logits)
    weighted = Mul (by_curve, domains)
    mean = MatMul (weighted, all_curves)
"""


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
        kinds=calibration.kinds,
    )


def with_temperatures(graph: onnx.ModelProto, temperatures: Mapping[str, float]) -> onnx.ModelProto:
    """Return a graph whose outputs (N, C) are softmax(log(probabilities) / temperature).

    Args:
        graph: From images to probabilities, an output per label column; it is changed.
        temperatures: By the name of the output, above 0; 1 leaves the output as it is.

    Raises:
        TrainingError: No step of the graph makes such an output.
    """
    for name, temperature in temperatures.items():
        if temperature != 1:
            _append(graph, name, _TEMPERATURE, {"least": LEAST, "factor": 1 / temperature})
    return graph


def with_confidence(
    graph: onnx.ModelProto,
    confidence: Confidence | None,
    columns: Sequence[str],
    *,
    kinds: int = 0,
) -> onnx.ModelProto:
    """Return a graph that does to its answers what `confidence` does; of opset 9 or later.

    Args:
        graph: From images to probabilities, an output per label column; it is changed.
        confidence: None leaves the graph as it is.
        columns: The names of these outputs, the main one first.
        kinds: How many kinds of photo the output `KINDS_OUTPUT` tells apart; below 2, the graph
            gets no such output. One of an earlier calibration is taken away.

    Raises:
        TrainingError: No step of the graph makes such an output.
    """
    _take_away_kinds(graph)
    if confidence is None:
        return graph
    main, *further = columns
    shapes = {one.name: one.type.tensor_type.shape for one in graph.graph.output}
    count = shapes[main].dim[1].dim_value
    curves, domains = confidence.curves, confidence.domains
    constants: dict[str, ArrayLike] = {
        "ceiling": 1 - FLOOR,
        "one": 1,
        "none": 0,
        "tiny": TINY,
        "lead": LEAD,
        "per_nearness": 1 / NEAR_TIE,
        "same": np.ones((1, 1)),
        "labels": np.arange(count)[None],
        "all_labels": np.ones((count, 1)),
        "all_curves": np.ones((len(curves), 1)),
        "rises": np.diag([curve.rise for curve in curves]),
        "falls": np.diag([curve.fall for curve in curves]),
        "shifts": [[curve.shift for curve in curves]],
        "lowest": [[max(curve.lowest, FLOOR) for curve in curves]],
    }
    inputs = {f"column_{number}": name for number, name in enumerate(further)}
    mean = _ONE_CURVE
    if domains is not None:
        constants |= {"floor": FLOOR, "weights": domains.weights, "bias": domains.bias}
        mean = _CURVE_BY_DOMAIN.format(columns=", ".join(["answers", *inputs]))
    if kinds > 1:
        inputs["domains"] = KINDS_OUTPUT
        output = helper.make_tensor_value_info(KINDS_OUTPUT, TensorProto.FLOAT, ["N", kinds])
        graph.graph.output.append(output)
    _append(graph, main, _CONFIDENCE.format(mean=mean), constants, inputs)
    return graph


def _append(
    graph: onnx.ModelProto,
    output: str,
    steps: str,
    constants: Mapping[str, ArrayLike],
    inputs: Mapping[str, str] | None = None,
) -> None:
    """Put steps behind an output of a graph.

    Args:
        graph: It is changed.
        output: Its name; the steps call it `answers`, and `calibrated` what takes its place.
        steps: In ONNX's text syntax, with lines of comments.
        constants: By the names that the steps have for them; whole numbers are labels.
        inputs: What else of the graph the steps read, or give out, by the names that they have.

    Raises:
        TrainingError: No step of the graph makes such an output.
    """
    # A second calibration goes behind the first, so that names must be new each time.
    prefix = f"{output}/calibration-{len(graph.graph.node)}"
    names = {**(inputs or {}), "answers": f"{prefix}/answers", "calibrated": output}
    _rename_output(graph, output, names["answers"])
    code = "\n".join(line for line in steps.splitlines() if not line.strip().startswith("#"))
    for node in parser.parse_graph(f"steps () => (float calibrated) {{{code}}}").node:
        for sides in (node.input, node.output):
            sides[:] = [names.get(name, f"{prefix}/{name}") for name in sides]
        graph.graph.node.append(node)
    for name, value in constants.items():
        dtype = np.int64 if name == "labels" else np.float32
        tensor = numpy_helper.from_array(np.asarray(value, dtype), f"{prefix}/{name}")
        graph.graph.initializer.append(tensor)


def _take_away_kinds(graph: onnx.ModelProto) -> None:
    """Remove the output `KINDS_OUTPUT`; the steps that make it stay, as others need them."""
    for output in [one for one in graph.graph.output if one.name == KINDS_OUTPUT]:
        graph.graph.output.remove(output)
        _rename_output(graph, KINDS_OUTPUT, f"{KINDS_OUTPUT}/{len(graph.graph.node)}")


def _rename_output(graph: onnx.ModelProto, name: str, new: str) -> None:
    """Give what makes an output of a graph, and all that reads it, a new name for it."""
    if not any(name in node.output for node in graph.graph.node):
        raise TrainingError(f"expected a step that makes the output {name!r}, found none")
    for node in graph.graph.node:
        for sides in (node.input, node.output):
            sides[:] = [new if one == name else one for one in sides]
