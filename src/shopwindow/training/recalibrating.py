"""A bundle measured on labelled images: honest confidences, where "sure" begins, the figures.

What export does for a network that was trained here, for one that is a bundle already, such as one
that was imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from shopwindow.bundle import Bundle, BundleInfo
from shopwindow.dataset.dataset import Dataset
from shopwindow.errors import DataError
from shopwindow.inference.predictor import Predictor
from shopwindow.training.calibrating import (
    SURE_PRECISION,
    Calibration,
    Judged,
    calibrate,
)
from shopwindow.training.confidence import Shares, rename_output, with_confidence
from shopwindow.training.measuring import ask, quality_of
from shopwindow.training.proof import write_proven_bundle

# Softmax of the logarithm of a probability is that probability, so a bundle's answers do as logits.
# The least normal float32 stands for 0, which has no logarithm.
_LEAST = float(np.finfo(np.float32).tiny)
# The same is done to the answers, here in numpy and there in the graph: to within rounding.
_ALLOWED = 0.001


def calibrate_bundle(
    bundle: Bundle, dataset: Dataset, indices: NDArray[np.int64], out: Path, *, source: str
) -> BundleInfo:
    """Write a bundle anew whose confidences, threshold and figures are those of labelled images.

    The answers stay what they are; what changes is how sure they are (see `calibrate`).

    Args:
        bundle: What to measure.
        dataset: Images at the bundle's size, whose main column has the bundle's labels.
        indices: (n,) which of them; the network has never learned from these.
        out: Where the new bundle goes.
        source: What to call the data.

    Returns:
        What the new bundle says about itself.

    Raises:
        DataError: None of the images shows a label.
        TrainingError: The graph would not answer as was worked out.
    """
    logits = as_logits(ask(Predictor(bundle, engine="onnxruntime"), dataset, indices))
    judged = [Judged(source, dataset, indices, logits, share=1.0)]
    if not judged[0].allowed(bundle.info.main.name).any():
        raise DataError(f"expected images with labels to measure by, found none in {source}")
    families = {one.name: one.of for one in bundle.info.families}
    calibration = calibrate(judged, families, precision=SURE_PRECISION)
    fitted = recalibrated(bundle.info, calibration, version=f"{datetime.now(UTC):%Y.%m.%d}")
    info = replace(
        fitted, data=fitted.data | {"measured_on": {"source": source, "images": len(indices)}}
    )
    return write_proven_bundle(
        out,
        [with_calibration(onnx.load_model_from_string(bundle.model), calibration)],
        info,
        calibration.shares(logits),
        lambda predictor: ask(predictor, dataset, indices),
        lambda proof: replace(info, quality=quality_of(judged, proof, calibration.threshold)),
        allowed=_ALLOWED,
    )


def recalibrated(info: BundleInfo, calibration: Calibration, *, version: str) -> BundleInfo:
    """Return what a bundle that was made anew says about itself before its figures are known."""
    return replace(
        info,
        version=version,
        created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        threshold=calibration.threshold,
        families=calibration.families,
        quality={},
        data=info.data | {"curves": list(calibration.curves)},
    )


def with_calibration(graph: onnx.ModelProto, calibration: Calibration) -> onnx.ModelProto:
    """Return a graph whose answers are those that `calibration.shares` returns; it is changed.

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
        constants = {"least": _LEAST, "factor": 1 / temperature}
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


def as_logits(shares: Shares) -> Shares:
    """Return finite numbers (n, C) whose softmax is these probabilities, per label column."""
    return {name: np.log(np.maximum(rows, np.float32(_LEAST))) for name, rows in shares.items()}
