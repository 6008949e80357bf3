"""A model that is ready to run, behind one small interface; `open_engine` picks what runs it.

Why onnxruntime is the default, and when it is not: docs/decisions/engine.md.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import INPUT_NAME, arithmetic_of
from shopwindow.errors import MissingExtraError

EngineName = Literal["auto", "onnxruntime", "openvino"]
# What `auto` and `openvino` mean on a given machine; the arithmetic is for what is not in 8 bits.
ChosenEngine = Literal["onnxruntime", "openvino float32", "openvino bfloat16"]


class Engine(ABC):
    """A model that is ready to run. Thread-safe.

    Attributes:
        name: What runs it, and how exactly: "onnxruntime float32".
        input_shape: (H, W, 3) of the images that it takes.
    """

    name: str
    input_shape: tuple[int, ...]

    def check(self, images_nhwc: NDArray[np.uint8]) -> None:
        """Refuse what are no images for this model.

        Raises:
            ValueError: Another shape than (N, H, W, 3), or not uint8.
        """
        if images_nhwc.dtype != np.uint8 or images_nhwc.shape[1:] != self.input_shape:
            raise ValueError(
                f"images: expected (N, {', '.join(map(str, self.input_shape))}) uint8, "
                f"got {images_nhwc.shape} {images_nhwc.dtype}"
            )

    @abstractmethod
    def run(
        self, images_nhwc: NDArray[np.uint8], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Return what the model says about images.

        Args:
            images_nhwc: (N, H, W, 3) uint8, RGB, at the size of the bundle's resize rule; N may
                be 0.
            outputs: The names of those to return; None returns all. The others are not copied.

        Returns:
            By name of the output, float32; docs/bundle.md has their shapes.

        Raises:
            ValueError: Another shape or dtype.
        """


def open_engine(
    model: bytes,
    *,
    threads: int | None = None,
    streams: int = 1,
    name: EngineName | ChosenEngine = "auto",
) -> Engine:
    """Make a model ready to run.

    Args:
        model: The bytes of an ONNX file whose bundle was checked by `read_bundle`.
        threads: Processor threads for one run; None takes one per core that this process may use.
        streams: Runs at a time to expect. With more than one, onnxruntime gives all threads to a
            run that is alone, and one to each of several.
        name: What runs it; see `choose_engine`.

    Raises:
        MissingExtraError: OpenVINO was asked for and is not installed.
        BundleError: OpenVINO cannot run it.
        ValueError: `threads` or `streams` is below 1, or another name.
    """
    if streams < 1:
        raise ValueError(f"streams: expected at least 1, got {streams}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads: expected at least 1 (or None), got {threads}")
    chosen = choose_engine(model, name)
    if chosen == "onnxruntime":
        return OnnxRuntimeEngine(model, threads=threads, streams=streams)
    from shopwindow.inference.openvino import OpenVinoEngine

    bf16 = chosen == "openvino bfloat16"
    return OpenVinoEngine(model, threads=threads or available_cores(), bf16=bf16)


def choose_engine(model: bytes, name: EngineName | ChosenEngine = "auto") -> ChosenEngine:
    """Return what will run a model on this machine, and in which arithmetic.

    Args:
        model: See `open_engine`.
        name: `auto` takes OpenVINO where it is installed and much faster, as measured: where the
            processor has bfloat16; else onnxruntime. A choice made before, here or on another
            machine, stays as it is.

    Raises:
        MissingExtraError: OpenVINO was asked for and is not installed.
        ValueError: Another name.
    """
    names = (*get_args(EngineName), *get_args(ChosenEngine)[1:])
    if name not in names:
        raise ValueError(f"engine: expected {', '.join(names)}, got {name!r}")
    installed = importlib.util.find_spec("openvino") is not None
    if name == "auto":
        in_float = arithmetic_of(model) == "float32"
        name = "openvino" if installed and in_float and computes_bf16() else "onnxruntime"
    if name == "onnxruntime":
        return name
    if not installed:
        raise MissingExtraError("Running a model with OpenVINO", "openvino")
    if name == "openvino":
        # In 8 bits little is left to gain, and answers would be rounded once more.
        native = computes_bf16() and arithmetic_of(model) == "float32"
        return "openvino bfloat16" if native else "openvino float32"
    return name


def available_cores() -> int:
    """Return how many processor cores this process may use, 1 or more.

    A container may have all cores and yet be held to half of one: by a quota of its control group.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(cores, _quota_of_cores(Path("/sys/fs/cgroup")) or cores)


def _quota_of_cores(groups: Path) -> int | None:
    """Return the quota of this process, rounded up; None where there is none, or not on Linux.

    Args:
        groups: Where control groups are mounted, version 2 or 1; a container sees its own there.
    """
    try:
        if (both := groups / "cpu.max").exists():
            quota, period = both.read_text().split()
        else:
            quota, period = (
                (groups / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
            )
        microseconds, each = int(quota), int(period)
    except (OSError, ValueError):  # "max" is no number
        return None
    return math.ceil(microseconds / each) if microseconds > 0 and each > 0 else None


def computes_bf16() -> bool:
    """Say whether this processor multiplies matrices of bfloat16 in hardware (AMX, on Linux).

    Elsewhere it is emulated, and slower than float32.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return re.search(r"^flags\s*:.*\bamx_bf16\b", flags, re.MULTILINE) is not None


class OnnxRuntimeEngine(Engine):
    """onnxruntime, in the arithmetic of the model; its `run` is thread-safe.

    Runs that share threads wait for each other in every layer. So with several streams there is a
    second session, in which each run has one thread; a run that is alone takes the first.

    Args:
        model: See `open_engine`.
        threads: See `open_engine`.
        streams: See `open_engine`.
    """

    def __init__(self, model: bytes, *, threads: int | None = None, streams: int = 1) -> None:
        self.name = f"onnxruntime {arithmetic_of(model)}"
        if threads is None and available_cores() < (os.cpu_count() or 1):
            threads = available_cores()  # onnxruntime would use, and pin, cores that are not ours
        self._alone = _open_session(model, threads or 0)
        narrow = streams > 1 and (threads or available_cores()) > 1
        self._side_by_side = _open_session(model, 1) if narrow else self._alone
        self._running = 0
        self._lock = threading.Lock()  # of the count
        self.input_shape = tuple(self._alone.get_inputs()[0].shape[1:])
        self._output_names = [node.name for node in self._alone.get_outputs()]

    def run(
        self, images_nhwc: NDArray[np.uint8], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """See `Engine.run`."""
        self.check(images_nhwc)
        names = self._output_names if outputs is None else outputs
        with self._lock:
            session = self._side_by_side if self._running else self._alone
            self._running += 1
        try:
            found = session.run(names, {INPUT_NAME: images_nhwc})
        finally:
            with self._lock:
                self._running -= 1
        return dict(zip(names, found, strict=True))


def _open_session(model: bytes, threads: int) -> Any:
    import onnxruntime  # takes 60 ms: only where a model is run

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; warnings about the graph help no user
    # Threads that spin while they wait would take the cores away from decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
