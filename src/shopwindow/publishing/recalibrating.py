"""A bundle measured on labelled images: honest confidences, where "sure" begins, the figures.

What export does for a network that was trained here, for one that is a bundle already, such as one
that was imported.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from shopwindow.bundle import Bundle, BundleInfo
from shopwindow.calibration.fitting import (
    SURE_PRECISION,
    Calibration,
    ValidationSet,
    as_logits,
    calibrate,
)
from shopwindow.calibration.graph import with_calibration
from shopwindow.data.dataset import Dataset
from shopwindow.errors import DataError
from shopwindow.fairness import out_of_fold_answers
from shopwindow.inference.predictor import Predictor
from shopwindow.publishing.measuring import ask, quality_of
from shopwindow.publishing.proof import write_proven_bundle

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
    judged = [ValidationSet(source, dataset, indices, logits, weight=1.0)]
    if not judged[0].allowed(bundle.info.main.name).any():
        raise DataError(f"expected images with labels to measure by, found none in {source}")
    families = {one.name: one.of for one in bundle.info.families}
    calibration = calibrate(judged, families, precision=SURE_PRECISION)
    fitted = recalibrated(bundle.info, calibration, version=f"{datetime.now(UTC):%Y.%m.%d}")
    data = fitted.data | {"measured_on": {"source": source, "images": len(indices)}}
    if (carried := out_of_fold_answers(bundle)) is not None:
        answers = calibration.probs(as_logits(carried.answers))
        data |= replace(carried, answers=answers).as_json()
    info = replace(fitted, data=data)
    return write_proven_bundle(
        out,
        [with_calibration(onnx.load_model_from_string(bundle.model), calibration)],
        info,
        calibration.probs(logits),
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
