"""Calibrate a network, or a bundle, on validation images: temperatures, curves and thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from shopwindow.bundle import KINDS_OUTPUT, Bundle, BundleInfo, Families, Threshold
from shopwindow.bundle.prediction_sets import PredictionSets
from shopwindow.bundle.training_sample import KEY as TRAINING_SAMPLE
from shopwindow.calibration.calibrated_graph import with_calibration
from shopwindow.calibration.curves import Confidence, fit_confidence, softmax
from shopwindow.calibration.novelty_graph import append_novelty, known_by, remeasure_novelty
from shopwindow.calibration.prediction_sets import HeldOutAnswers, fit_prediction_sets
from shopwindow.calibration.temperature import as_logits, fit_temperature
from shopwindow.calibration.thresholds import (
    FAMILY_PRECISION,
    NEVER,
    SURE_PRECISION,
    by_family,
    judged,
    pooled,
    strictest,
)
from shopwindow.data.dataset import Dataset
from shopwindow.errors import DataError
from shopwindow.evaluation.asking import Probs, ValidationSet, ask
from shopwindow.evaluation.embedding_sample import embed_sample
from shopwindow.evaluation.leakage import out_of_fold_answers
from shopwindow.evaluation.measuring import quality_of
from shopwindow.evaluation.verify import MAX_DIFFERENCE, Draft, write_verified_bundle
from shopwindow.inference.predictor import Predictor, sure_rows


@dataclass(frozen=True)
class Calibration:
    """What export puts on top of a network.

    Attributes:
        temperatures: One per label column, by which logits are divided.
        confidence: What then makes the main column honest, for each kind of photo; None where too
            few images were judged.
        curves: `source` and `images` for each data set that has a curve: to how many it was fitted.
        threshold: Where an answer of the main column is sure.
        families: Coarser answers, each with a threshold of its own.
        prediction_sets: How many labels to name so that the right one is among them; None where
            nothing can be promised.
    """

    temperatures: dict[str, float]
    confidence: Confidence | None
    curves: tuple[dict[str, Any], ...]
    threshold: Threshold
    families: tuple[Families, ...]
    prediction_sets: PredictionSets | None = None

    @property
    def kinds(self) -> int:
        """How many kinds of photo the graph has to tell apart for the sets; fewer than 2: none."""
        return 0 if self.prediction_sets is None else len(self.prediction_sets.kinds)

    def probs(self, logits: Probs) -> Probs:
        """Return calibrated probabilities, (n, C) per label column."""
        cooled = _cooled(logits, self.temperatures)
        if self.confidence is not None:
            cooled[next(iter(cooled))] = self.confidence(cooled)
        return cooled

    def kinds_of(self, logits: Probs) -> NDArray[np.float64] | None:
        """Return (n, K) how likely each image is of each kind; None where none are told apart."""
        if self.confidence is None or self.confidence.domains is None:
            return None
        return self.confidence.domains(_cooled(logits, self.temperatures))


def _cooled(logits: Probs, temperatures: dict[str, float]) -> Probs:
    """Return the probabilities at these temperatures, (n, C) per label column."""
    return {name: softmax(part / temperatures[name]) for name, part in logits.items()}


def calibrate(
    validation_sets: Sequence[ValidationSet],
    families: dict[str, tuple[str, ...]],
    *,
    precision: float,
) -> Calibration:
    """Fit a temperature per label column, and curves and thresholds for the main one.

    Temperatures and thresholds are for the images of all data sets together, curves for each data
    set (see `curves`). Together, each data set counts by its weight, not by the number of its
    held-out images: otherwise a few hundred phone photos would hardly matter beside ten times as
    many of a catalogue.

    A label is sure where `precision` holds for all images together, so counted. A family is shown
    where the label is in doubt, so it has to be nearly certain for each kind of photo by itself;
    see `strictest`.

    Args:
        validation_sets: The main data set first; no image of them was trained on.
        families: By kind of family, the family of each label of the main column.
        precision: The fraction of right labels, 0 to 1, among those that are sure.
    """
    columns = list(validation_sets[0].logits)
    main = columns[0]
    weights = [one.weight for one in validation_sets]
    allowed = [one.allowed(main) for one in validation_sets]
    temperatures = {name: _temperature(name, validation_sets) for name in columns}
    cooled = [_cooled(one.logits, temperatures) for one in validation_sets]
    confidence = fit_confidence(
        cooled,
        [judged(rows[main], right) for rows, right in zip(cooled, allowed, strict=True)],
        weights,
    )
    fitted_to = {} if confidence is None else confidence.fitted_to
    curves = tuple(
        {"source": validation_sets[number].name, "images": images}
        for number, images in fitted_to.items()
    )
    fitted = Calibration(temperatures, confidence, curves, NEVER, ())
    probs = [fitted.probs(one.logits)[main] for one in validation_sets]
    answers = [judged(rows, right) for rows, right in zip(probs, allowed, strict=True)]
    by_kind = {
        kind: [
            judged(*by_family(kind, of, rows, right))
            for rows, right in zip(probs, allowed, strict=True)
        ]
        for kind, of in families.items()
    }
    fitted = replace(
        fitted,
        threshold=pooled(answers, weights, precision),
        families=tuple(
            Families(kind, of, strictest(by_kind[kind], FAMILY_PRECISION))
            for kind, of in families.items()
        ),
    )
    return replace(fitted, prediction_sets=_prediction_sets(fitted, validation_sets, probs))


def _prediction_sets(
    fitted: Calibration,
    validation_sets: Sequence[ValidationSet],
    probs: Sequence[NDArray[np.float32]],
) -> PredictionSets | None:
    """Fit the sets of each kind of photo to those images of its data set that are told as such.

    Where kinds are not told apart, to those of the data set that has the curve, or of the main one.

    Args:
        fitted: All but the sets.
        validation_sets: All data sets.
        probs: Of each, (n, C) calibrated probabilities of the main column.
    """
    main = next(iter(validation_sets[0].logits))
    kinds = []
    for kind, number in enumerate(fitted.confidence.fitted_to if fitted.confidence else [0]):
        one = validation_sets[number]
        allowed = one.allowed(main)
        chosen = allowed.any(axis=1)
        if (like := fitted.kinds_of(one.logits)) is not None:
            if KINDS_OUTPUT in one.logits:  # a label column has the name of the output
                return None
            chosen &= like.argmax(axis=1) == kind
        answers = probs[number][chosen]
        sure = sure_rows(fitted.threshold, answers)
        groups = one.dataset.groups[one.indices[chosen]]
        kinds.append(HeldOutAnswers(one.name, answers, allowed[chosen], sure, groups))
    return fit_prediction_sets(kinds)


def _temperature(column: str, validation_sets: Sequence[ValidationSet]) -> float:
    """Return the temperature of a label column; 1 where no image is labelled in it."""
    known = [one for one in validation_sets if one.has(column)]
    if not known:
        return 1.0
    logits = np.concatenate([one.logits[column] for one in known])
    targets = [one.targets(column, one.logits[column]) for one in known]
    weights = _image_weights([one.weight for one in known], targets)
    some = weights > 0
    if not some.any():
        return 1.0
    return fit_temperature(logits[some], np.concatenate(targets)[some], weights[some])


def _image_weights(
    dataset_weights: Sequence[float], targets: Sequence[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Return what each image counts: 0 without a label, else 1 in the mean.

    Args:
        dataset_weights: Of each data set; those without any label leave theirs to the others.
        targets: Of each data set, (n,) codes, -1 where there is no label.
    """
    rows = [
        np.where(codes >= 0, weight / max(1, int((codes >= 0).sum())), 0.0)
        for weight, codes in zip(dataset_weights, targets, strict=True)
    ]
    weights: NDArray[np.float64] = np.concatenate(rows)
    some = weights > 0
    return weights / float(weights[some].mean()) if some.any() else weights


def families_of(dataset: Dataset, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the family of each main label: the one that most of its images have.

    Args:
        dataset: The main data set.
        columns: Label columns that name the main label more coarsely.

    Returns:
        By column, one family per main label; a label without any is a family of its own.
    """
    main = dataset.label_columns[0]
    labels, codes = dataset.vocabularies[main], dataset.codes[main]
    result = {}
    for column in columns:
        names = dataset.vocabularies[column]
        counts = np.zeros((len(labels), len(names)), np.int64)
        both = (codes >= 0) & (codes < len(labels))
        both &= (dataset.codes[column] >= 0) & (dataset.codes[column] < len(names))
        np.add.at(counts, (codes[both], dataset.codes[column][both]), 1)
        result[column] = tuple(
            names[row.argmax()] if row.any() else label
            for label, row in zip(labels, counts, strict=True)
        )
    return result


def calibrate_bundle(
    bundle: Bundle, dataset: Dataset, indices: NDArray[np.int64], out: Path, *, source: str
) -> BundleInfo:
    """Write a copy of a bundle, with confidences, threshold and figures fitted to labelled images.

    The answers stay what they are; what changes is how sure they are (see `calibrate`). Export does
    the same for a network that was trained here.

    Args:
        bundle: What to calibrate.
        dataset: Images at the bundle's size, whose main column has the bundle's labels.
        indices: (n,) which of them; the network has never learned from these.
        out: Where the new bundle goes.
        source: What to call the data.

    Returns:
        What the new bundle says about itself.

    Raises:
        DataError: None of the images shows a label.
        TrainingError: The graph does not answer as the calibration says.
    """
    logits = as_logits(ask(Predictor(bundle, engine="onnxruntime"), dataset, indices))
    validation = [ValidationSet(source, dataset, indices, logits, weight=1.0)]
    if not validation[0].allowed(bundle.info.main.name).any():
        raise DataError(f"expected images with labels to measure by, found none in {source}")
    families = {one.name: one.of for one in bundle.info.families}
    calibration = calibrate(validation, families, precision=SURE_PRECISION)
    graph = onnx.load_model_from_string(bundle.model)
    known = known_by(validation, out_of_fold=False)
    if bundle.info.novelty is None:
        novelty = append_novelty(graph, bundle.info.main.name, [], known)
    else:  # what is known stays; how much of these photos counts as such is measured
        novelty = remeasure_novelty(Predictor(bundle, engine="onnxruntime"), known)
        novelty = novelty or bundle.info.novelty
    fitted = recalibrated(bundle.info, calibration, version=f"{datetime.now(UTC):%Y.%m.%d}")
    fitted = replace(fitted, novelty=novelty)
    data = fitted.data | {"measured_on": {"source": source, "images": len(indices)}}
    if (carried := out_of_fold_answers(bundle)) is not None:
        answers = calibration.probs(as_logits(carried.answers))
        data |= replace(carried, answers=answers).as_json()
    info = replace(fitted, data=data)

    def finish(draft: Draft) -> BundleInfo:
        quality = quality_of(validation, draft.predictor, draft.answers, calibration.threshold)
        # An imported bundle knows none of its training photos; these are the nearest to them.
        parts = [] if TRAINING_SAMPLE in data else [(dataset, indices, 1.0)]
        sample = embed_sample(draft.predictor, parts, seed=0)
        return replace(info, quality=quality, data=data | sample)

    return write_verified_bundle(
        out,
        [with_calibration(graph, calibration)],
        info,
        calibration.probs(logits),
        lambda predictor: ask(predictor, dataset, indices),
        finish,
        allowed=MAX_DIFFERENCE,
    )


def recalibrated(info: BundleInfo, calibration: Calibration, *, version: str) -> BundleInfo:
    """Return what a newly calibrated bundle says about itself before its figures are known."""
    return replace(
        info,
        version=version,
        created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        threshold=calibration.threshold,
        families=calibration.families,
        prediction_sets=calibration.prediction_sets,
        quality={},
        data=info.data | {"curves": list(calibration.curves)},
    )
