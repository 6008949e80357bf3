"""A network in 8 bits: static quantisation, by onnxruntime's own tools.

The settings are those that every engine answers right with; docs/decisions/engine.md has
the figures of the others.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from shopwindow.bundle import INPUT_NAME
from shopwindow.bundle.writing import in_half_precision
from shopwindow.errors import TrainingError

_KINDS = ["Conv", "Add", "Relu", "Clip"]  # a ReLU6 is a Clip
# Of the values that an activation takes, those that its range holds; the rest is cut off.
PERCENTILE = 99.99
_FIRST_PART = 6  # one in so many convolutions, the first ones, stays in float
# All that the network computes for so many images is held in memory at a time.
_IMAGES_AT_A_TIME = 16


def to_int8(graph: onnx.ModelProto, images_nhwc: NDArray[np.uint8]) -> onnx.ModelProto:
    """Return a copy that computes with 8-bit weights and activations where most of the work is.

    That is in the convolutions, but for the first sixth and the depthwise ones, and in what
    connects them: ReLUs and the additions of residual blocks. The others and the answers compute
    in float32 as before; of the weights that stay float, the large ones are stored as float16. The
    range of an activation holds all but one in ten thousand of the values that the images call
    forth.

    Args:
        graph: From uint8 `images` (N, H, W, 3) to whatever it answers, in float.
        images_nhwc: (N, H, W, 3) uint8 that the network was trained on; some 256 are enough.

    Raises:
        TrainingError: There is nothing to be gained: it has no convolution beside the first.
    """
    if (at_a_time := min(_IMAGES_AT_A_TIME, len(images_nhwc))) > 0:
        images_nhwc = images_nhwc[: len(images_nhwc) // at_a_time * at_a_time]
    with TemporaryDirectory() as scratch:
        source, prepared, target = (Path(scratch, f"{n}.onnx") for n in ("float", "ready", "int8"))
        onnx.save_model(graph, source)  # of a graph in memory, onnxruntime 1.32 loses the weights
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        with redirect_stdout(io.StringIO()):  # it tells how it goes about it
            quantize_static(
                prepared,
                target,
                _Images(images_nhwc),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_KINDS,
                nodes_to_quantize=_heavy_nodes(onnx.load(prepared).graph),
                per_channel=True,
                # Seven bits of weight: without VNNI, the sum of two products must fit into 16 bits.
                reduce_range=True,
                # Unsigned: onnxruntime is twice as fast with it, and half of what a ReLU6 leaves
                # would be wasted on signed numbers.
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={
                    "CalibPercentile": PERCENTILE,
                    # Named after another method, but heeded by all; it must divide the number.
                    "CalibStridedMinMax": at_a_time,
                },
            )
        return in_half_precision(onnx.load(target))


def _heavy_nodes(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the nodes that are to compute in 8 bits."""
    weights = {initializer.name for initializer in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    # In 8 bits, the first ones cost the most, and OpenVINO goes wrong with depthwise ones.
    first = max(1, len(convolutions) // _FIRST_PART)
    heavy = [node.name for node in convolutions[first:] if not _is_depthwise(node)]
    if not heavy:
        raise TrainingError(
            "8 bits: expected a network of convolutions, as little else is quantised, found "
            f"{len(convolutions)} of them; export it without --int8"
        )
    # What connects them lies before the last of them, but for its own ReLU. Behind it, confidences
    # are worked out. An addition of a constant is no residual block, but a bias.
    last = max(place for place, node in enumerate(graph.node) if node.op_type == "Conv")
    body = [*graph.node[:last], *_activations_of(graph, graph.node[last])]
    return heavy + [
        node.name
        for node in body
        if node.op_type in _KINDS[1:]
        and weights.isdisjoint(node.input[:1] if node.op_type == "Clip" else node.input)
    ]


def _activations_of(graph: onnx.GraphProto, convolution: onnx.NodeProto) -> list[onnx.NodeProto]:
    made = set(convolution.output)
    return [n for n in graph.node if n.op_type in ("Relu", "Clip") and n.input[0] in made]


def _is_depthwise(convolution: onnx.NodeProto) -> bool:
    groups = [one.i for one in convolution.attribute if one.name == "group"]
    return bool(groups) and groups[0] > 1


class _Images(CalibrationDataReader):  # type: ignore[misc]
    """Hands one image after the other to onnxruntime, of all or of a part of them."""

    def __init__(self, images_nhwc: NDArray[np.uint8]) -> None:
        self._images = images_nhwc
        self.set_range(0, len(images_nhwc))

    def __len__(self) -> int:
        return len(self._images)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left: Iterator[NDArray[np.uint8]] = iter(self._images[start_index:end_index])

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._left, None)
        return None if image is None else {INPUT_NAME: image[None]}
