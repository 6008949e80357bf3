"""onnxruntime, wrapped so that the rest of shopwindow need not know it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import ACTIVATION_OUTPUT, INPUT_NAME


class Engine:
    """A model that is ready to run. Thread-safe: onnxruntime's `run` is.

    Args:
        model: The bytes of an ONNX file whose bundle was checked by `read_bundle`.
        threads: Processor threads for one `run`; None takes one per physical core.
    """

    def __init__(self, model: bytes, *, threads: int | None = None) -> None:
        import onnxruntime  # 60 ms that only those pay who run a model

        if threads is not None and threads < 1:
            raise ValueError(f"threads: expected at least 1 (or None), got {threads}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; warnings about the graph help no user
        # Threads that wait busily for more work would take the cores away from decoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._input_shape = tuple(self._session.get_inputs()[0].shape[1:])
        names = [node.name for node in self._session.get_outputs()]
        self._output_names = [name for name in names if name != ACTIVATION_OUTPUT]

    def check(self, images_nhwc: NDArray[np.uint8]) -> None:
        """Make sure that these are images for this model.

        Raises:
            ValueError: Another shape than (N, H, W, 3), or not uint8.
        """
        if images_nhwc.dtype != np.uint8 or images_nhwc.shape[1:] != self._input_shape:
            raise ValueError(
                f"images: expected (N, {', '.join(map(str, self._input_shape))}) uint8, "
                f"got {images_nhwc.shape} {images_nhwc.dtype}"
            )

    def run(
        self, images_nhwc: NDArray[np.uint8], *, with_activation: bool = False
    ) -> dict[str, NDArray[np.float32]]:
        """Return the probabilities of each label column.

        Args:
            images_nhwc: (N, H, W, 3) uint8, RGB, at the size of the bundle's resize rule; N may
                be 0.
            with_activation: Whether to return the activation map too, which the bundle must have;
                it costs no second pass.

        Returns:
            By label column, (N, C) float32; each row sums to 1. Under `ACTIVATION_OUTPUT`, if
            asked for, (N, rows, columns) float32.

        Raises:
            ValueError: Another shape or dtype.
        """
        self.check(images_nhwc)
        names = self._output_names + ([ACTIVATION_OUTPUT] if with_activation else [])
        outputs = self._session.run(names, {INPUT_NAME: images_nhwc})
        return dict(zip(names, outputs, strict=True))
