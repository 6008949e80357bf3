"""OpenVINO as an engine: in 8 bits, or in bfloat16 where the processor has it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import INPUT_NAME, arithmetic_of
from shopwindow.errors import BundleError
from shopwindow.inference.engine import Engine


class OpenVinoEngine(Engine):
    """A model compiled for this processor. Thread-safe: each run has an infer request of its own.

    Args:
        model: The bytes of an ONNX file whose bundle was checked by `read_bundle`.
        threads: Processor threads for one run.
        bf16: Whether to compute in bfloat16 what is not in 8 bits.

    Raises:
        BundleError: OpenVINO cannot compile it.
    """

    def __init__(self, model: bytes, *, threads: int, bf16: bool) -> None:
        import openvino  # takes 300 ms and 180 MB: only where it is used

        core = openvino.Core()
        try:
            self._compiled: Any = core.compile_model(
                core.read_model(model),
                "CPU",
                {
                    "INFERENCE_NUM_THREADS": threads,
                    "NUM_STREAMS": 1,
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
                    # Each process would pin its threads to the first cores, and all to the same.
                    "ENABLE_CPU_PINNING": False,
                },
            )
        except RuntimeError as error:
            raise BundleError(
                "expected a model that OpenVINO can run, but it says: "
                f"{str(error).strip().splitlines()[-1][:200]}; to go without it, set "
                "SHOPWINDOW_ENGINE=onnxruntime"
            ) from error
        arithmetic: str = arithmetic_of(model)
        if bf16:
            arithmetic = "bfloat16" if arithmetic == "float32" else f"{arithmetic} and bfloat16"
        self.name = f"openvino {arithmetic}"
        shape = self._compiled.input(INPUT_NAME).get_partial_shape()
        self.input_shape = tuple(shape[axis].get_length() for axis in (1, 2, 3))
        self._output_names = [output.get_any_name() for output in self._compiled.outputs]
        self._idle: list[Any] = []  # infer requests, as many as ever ran at the same time
        self._lock = threading.Lock()

    def run(
        self, images_nhwc: NDArray[np.uint8], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """See `Engine.run`."""
        self.check(images_nhwc)
        with self._lock:
            request = self._idle.pop() if self._idle else self._compiled.create_infer_request()
        try:
            request.infer({INPUT_NAME: np.ascontiguousarray(images_nhwc)})
            # Copies, since the next run writes to the same memory.
            return {
                name: np.array(request.get_tensor(name).data, np.float32)
                for name in (self._output_names if outputs is None else outputs)
            }
        finally:
            with self._lock:
                self._idle.append(request)
