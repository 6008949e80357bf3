"""Novelty as an output of a graph: what to read there, and the steps of `NoveltyScore` in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from shopwindow.bundle import EMBEDDING_OUTPUT, NOVELTY_OUTPUT, Novelty
from shopwindow.bundle.embedding_output import find_layer
from shopwindow.calibration.novelty import (
    LEAST,
    MIN_IMAGES,
    Ellipsoid,
    NoveltyScore,
    Signs,
    fit_novelty,
    measure_novelty,
    novelty_out_of_fold,
)
from shopwindow.data.dataset import Dataset
from shopwindow.evaluation.asking import ValidationSet, allowed_in
from shopwindow.inference.engine import open_engine
from shopwindow.inference.predictor import Predictor

# Enough to fit and to measure by, in seconds.
_IMAGES_PER_KIND = 1000
_BATCH = 32
_MAX_BLOCK = 1024  # features; wider blocks would not fit into the bundle
_LOGITS, _BLOCK = f"{NOVELTY_OUTPUT}/logits", f"{NOVELTY_OUTPUT}/block"


@dataclass(frozen=True)
class KnownSet:
    """Images of a data set that a model should know.

    Attributes:
        name: Of the data set.
        images: (n,) indices -> (n, H, W, 3) uint8, RGB, at the size of the graph's input.
        indices: (n,) which.
        weight: What they count together, above 0 to 1.
        logits: (n, C) of the main column, out of fold; None for those that the graph gives.
    """

    name: str
    images: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
    indices: NDArray[np.int64]
    weight: float
    logits: NDArray[np.float32] | None = None

    def some(self) -> KnownSet:
        """Return at most `_IMAGES_PER_KIND` of them, the same every time."""
        rows = np.random.default_rng(0).permutation(len(self.indices))[:_IMAGES_PER_KIND]
        logits = None if self.logits is None else self.logits[rows]
        return replace(self, indices=self.indices[rows], logits=logits)


def known_set(
    name: str,
    dataset: Dataset,
    indices: NDArray[np.int64],
    weight: float,
    logits: NDArray[np.float32] | None = None,
) -> KnownSet:
    """Return those of the images that show a label of the main column, which is the first."""
    labelled = allowed_in(dataset, dataset.label_columns[0], indices).any(axis=1)
    logits = None if logits is None else logits[labelled]
    return KnownSet(name, dataset.images, indices[labelled], weight, logits)


def known_by(validation_sets: Sequence[ValidationSet], *, out_of_fold: bool) -> list[KnownSet]:
    """Return the images of validation sets.

    Args:
        validation_sets: The main data set first.
        out_of_fold: Whether the graph has learned from them, so that only their own logits count.
    """
    return [
        known_set(
            one.name,
            one.dataset,
            one.indices,
            one.weight,
            next(iter(one.logits.values())) if out_of_fold else None,
        )
        for one in validation_sets
    ]


def remeasure_novelty(predictor: Predictor, held_out: Sequence[KnownSet]) -> Novelty | None:
    """Return where novelty begins for a bundle that measures it, by other images or in 8 bits."""
    values = []
    for one in map(KnownSet.some, held_out):
        images = one.images(one.indices)
        values.append(predictor.probabilities(images, with_novelty=True)[NOVELTY_OUTPUT])
    return measure_novelty([one.name for one in held_out], values)


def append_novelty(
    graph: onnx.ModelProto,
    column: str,
    learned: Sequence[KnownSet],
    held_out: Sequence[KnownSet],
) -> Novelty | None:
    """Give a graph the output `NOVELTY_OUTPUT`, (N,) float32, fitted to the images given.

    Args:
        graph: With an embedding; it is changed, unless there is nothing to fit.
        column: The name of the output of the main label column.
        learned: What to fit to, the main data set first; may be empty.
        held_out: What to measure by, the main data set first. Without `learned`, the score is
            fitted to these, and measured on each image by one that was fitted to others.

    Returns:
        Where novelty begins; None where the graph has no embedding, or there are too few images.
    """
    labels = next(one.type.tensor_type.shape for one in graph.graph.output if one.name == column)
    layer = find_layer(graph)
    if layer is None or not 2 <= (count := labels.dim[1].dim_value) <= layer.scores:
        return None
    if any(NOVELTY_OUTPUT in node.output for node in graph.graph.node):
        return None  # a label column of that name
    signs = onnx.ModelProto()
    signs.CopyFrom(graph)
    block = _expose(signs, layer.logits, count)
    known = [one.some() for one in learned or held_out]
    if len(known[0].indices) < MIN_IMAGES:
        return None
    known = [one for one in known if len(one.indices) >= MIN_IMAGES]
    found = [_signs_of(signs, one, block) for one in known]
    weights = [one.weight for one in known]
    score = fit_novelty(found, weights)
    if learned:
        names = [one.name for one in held_out]
        values = [score(_signs_of(signs, one.some(), block)) for one in held_out]
    else:
        names, values = [one.name for one in known], novelty_out_of_fold(found, weights)
    novelty = measure_novelty(names, values)
    if novelty is not None:
        _expose(graph, layer.logits, count)
        _append(graph, score)
        del graph.graph.output[len(graph.graph.output) - 1 - (2 if block else 1) : -1]
    return novelty


def _signs_of(graph: onnx.ModelProto, known: KnownSet, block: int) -> Signs:
    engine = open_engine(graph.SerializeToString(), name="onnxruntime")
    names = [_LOGITS, EMBEDDING_OUTPUT, *([_BLOCK] if block else [])]
    parts = [
        engine.run(known.images(known.indices[start : start + _BATCH]), names)
        for start in range(0, max(1, len(known.indices)), _BATCH)
    ]
    logits, embedding, *rest = (np.concatenate([part[name] for part in parts]) for name in names)
    empty = np.empty((len(logits), 0), np.float32)
    return Signs(
        logits if known.logits is None else known.logits, embedding, rest[0] if rest else empty
    )


def _expose(graph: onnx.ModelProto, logits: str, count: int) -> int:
    """Add outputs with the logits of the main column and the block; return the width of that."""
    first = _constant(graph, "first", np.arange(count))
    nodes = [
        helper.make_node("Cast", [logits], [f"{_LOGITS}/all"], to=TensorProto.FLOAT),
        helper.make_node("Gather", [f"{_LOGITS}/all", first], [_LOGITS], axis=1),
    ]
    outputs = [helper.make_tensor_value_info(_LOGITS, TensorProto.FLOAT, ["N", count])]
    found, width = _find_block(graph)
    if width:
        shape = _constant(graph, "block_shape", [-1, width])
        mean, floats = f"{_BLOCK}/mean", f"{_BLOCK}/floats"
        nodes += [
            helper.make_node("GlobalAveragePool", [found], [mean]),
            helper.make_node("Cast", [mean], [floats], to=TensorProto.FLOAT),
            helper.make_node("Reshape", [floats, shape], [_BLOCK]),
        ]
        outputs.append(helper.make_tensor_value_info(_BLOCK, TensorProto.FLOAT, ["N", width]))
    graph.graph.node.extend(nodes)
    graph.graph.output.extend(outputs)
    return width


def _find_block(graph: onnx.ModelProto) -> tuple[str, int]:
    """Return the residual sum (N, B, h, w) a third of the way through, and B; 0 where none is.

    Later ones know little more than the last layer, earlier ones little of shapes.
    """
    shapes = {
        one.name: [dim.dim_value for dim in one.type.tensor_type.shape.dim]
        for one in onnx.shape_inference.infer_shapes(graph).graph.value_info
    }
    constants = {one.name for one in graph.graph.initializer}
    sums = [
        node.output[0]
        for node in graph.graph.node
        if node.op_type == "Add"
        and constants.isdisjoint(node.input)
        and all(len(shapes.get(name, ())) == 4 for name in (*node.input, *node.output))
    ]
    sums = [name for name in sums if 0 < shapes[name][1] <= _MAX_BLOCK]
    if not sums:
        return "", 0
    chosen = sums[len(sums) // 3]
    return chosen, shapes[chosen][1]


def _append(graph: onnx.ModelProto, score: NoveltyScore) -> None:
    """Append what `NoveltyScore.__call__` does, in steps that all opsets from 9 on have."""

    def step(kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        output = f"{NOVELTY_OUTPUT}/{name}"
        graph.graph.node.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(name: str, value: ArrayLike) -> str:
        return _constant(graph, name, np.asarray(value, np.float32))

    def scaled(values: str, name: str, scale: float, shift: float) -> str:
        times = step("Mul", [values, constant(f"{name}_scale", [[scale]])], f"{name}_scaled")
        return step("Add", [times, constant(f"{name}_shift", [[shift]])], f"{name}_shifted")

    def distance(features: str, name: str, one: Ellipsoid) -> str:
        across = step("Sub", [features, constant(f"{name}_centre", one.centre[None])], f"{name}_of")
        # Half precision is enough for them, and half the size.
        half = _constant(graph, f"{name}_half", one.directions.astype(np.float16))
        axes = step("Cast", [half], f"{name}_directions", to=TensorProto.FLOAT)
        along = step("MatMul", [across, axes], f"{name}_along")
        squares = step("Mul", [along, along], f"{name}_squares")
        ones = constant(f"{name}_ones", np.ones((one.directions.shape[1], 1)))
        total = step("MatMul", [squares, ones], f"{name}_total")
        least = step("Max", [total, constant(f"{name}_least", [[LEAST]])], f"{name}_least_total")
        return scaled(step("Log", [least], f"{name}_log"), name, one.scale, one.shift)

    # x - log softmax(x) is log sum exp x, for each of the C labels; their mean is taken.
    logs = step("LogSoftmax", [_LOGITS], "log_softmax", axis=1)
    sums = step("Sub", [_LOGITS, logs], "log_sums")
    count = next(one for one in graph.graph.output if one.name == _LOGITS)
    labels = count.type.tensor_type.shape.dim[1].dim_value
    mean = step("MatMul", [sums, constant("mean", np.full((labels, 1), -1 / labels))], "energy")
    total = scaled(mean, "energy", *score.energy)
    near = distance(EMBEDDING_OUTPUT, "embedding", score.embedding)
    total = step("Add", [total, near], "of_two")
    if score.blocks:
        kinds = [distance(_BLOCK, f"block_{n}", one) for n, one in enumerate(score.blocks)]
        nearest = scaled(step("Min", kinds, "nearest"), "nearest", *score.nearest)
        total = step("Add", [total, nearest], "of_three")
    flat = _constant(graph, "flat", [-1])
    graph.graph.node.append(helper.make_node("Reshape", [total, flat], [NOVELTY_OUTPUT]))
    graph.graph.output.append(
        helper.make_tensor_value_info(NOVELTY_OUTPUT, TensorProto.FLOAT, ["N"])
    )


def _constant(graph: onnx.ModelProto, name: str, value: ArrayLike) -> str:
    array = np.asarray(value)
    tensor = numpy_helper.from_array(array, f"{NOVELTY_OUTPUT}/{name}")
    graph.graph.initializer.append(tensor)
    return tensor.name
