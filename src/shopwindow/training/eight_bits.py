"""A network in 8 bits: static quantisation, by onnxruntime's own tools.

The settings are those that every engine answers right with; docs/decisions/0023-eight-bits.md has
the figures of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from shopwindow.bundle import INPUT_NAME
from shopwindow.errors import TrainingError
from shopwindow.training.graph import in_half_precision

_KINDS = ["Conv", "Add", "Relu"]


def in_eight_bits(graph: onnx.ModelProto, images_nhwc: NDArray[np.uint8]) -> onnx.ModelProto:
    """Return a copy that computes with 8-bit weights and activations where most of the work is.

    That is in the convolutions but the first, and in what connects them: ReLUs and the additions of
    residual blocks. The first convolution and the answers compute in float32 as before; of the
    weights that stay float, the large ones are stored as float16. The ranges of the activations are
    the least and greatest that the images call forth.

    Args:
        graph: From uint8 `images` (N, H, W, 3) to whatever it answers, in float.
        images_nhwc: (N, H, W, 3) uint8 that the network was trained on; some 256 are enough.

    Raises:
        TrainingError: There is nothing to be gained: it has no convolution beside the first.
    """
    with TemporaryDirectory() as scratch:
        source, prepared, target = (Path(scratch, f"{n}.onnx") for n in ("float", "ready", "int8"))
        onnx.save_model(graph, source)  # of a graph in memory, onnxruntime 1.32 loses the weights
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
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
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            # Without a zero point: OpenVINO goes wrong with one on such processors.
            extra_options={"ActivationSymmetric": True},
        )
        return in_half_precision(onnx.load(target))


def _heavy_nodes(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the nodes that are to compute in 8 bits."""
    weights = {initializer.name for initializer in graph.initializer}
    convolutions = [node.name for node in graph.node if node.op_type == "Conv"]
    if len(convolutions) < 2:
        raise TrainingError(
            "8 bits: expected a network of convolutions, as little else is quantised, found "
            f"{len(convolutions)} of them; export it without --int8"
        )
    # In 8 bits, the first convolution makes OpenVINO answer nonsense on a processor without VNNI.
    # An addition of a constant is no residual block, but a bias: that of an answer, say.
    return convolutions[1:] + [
        node.name
        for node in graph.node
        if node.op_type in _KINDS[1:] and weights.isdisjoint(node.input)
    ]


class _Images(CalibrationDataReader):  # type: ignore[misc]
    """Hands one image after the other to onnxruntime."""

    def __init__(self, images_nhwc: NDArray[np.uint8]) -> None:
        self._left: Iterator[NDArray[np.uint8]] = iter(images_nhwc)

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._left, None)
        return None if image is None else {INPUT_NAME: image[None]}
