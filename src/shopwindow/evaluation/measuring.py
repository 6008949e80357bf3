"""The figures that a bundle carries, from the predictions of the bundle itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import BundleInfo, LabelColumn, Threshold
from shopwindow.bundle.quality import QualityTable
from shopwindow.evaluation.asking import Probs, ValidationSet, ask
from shopwindow.evaluation.grades import Grades
from shopwindow.evaluation.metrics import grade, reliability, sure_answers
from shopwindow.inference.predictor import Predictor, with_families
from shopwindow.plain_text import counted, percent

# Narrow where most answers are, and where a visitor would read the difference.
CONFIDENCE_EDGES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
MAX_CONFUSIONS = 40
MIN_CONFUSED = 2  # one image taken for another is chance
# Of fewer answers, chance alone may make a good model look like a bad one.
ENOUGH_TO_TELL = 20


def quality_of(
    validation_sets: Sequence[ValidationSet],
    predictor: Predictor,
    served: Probs,
    threshold: Threshold,
) -> dict[str, Any]:
    """Return the figures of the card.

    Args:
        validation_sets: The images that `served` is about first; then those of further data sets.
        predictor: Serves the bundle.
        served: Its answers to the first of them, (n, C) per label column.
        threshold: Where an answer is sure.
    """
    first, *further = validation_sets
    main, *others = predictor.bundle.info.columns
    served = with_families(predictor.bundle.info, served)
    targets = first.targets(main.name, served[main.name])
    grades = grade(served[main.name], targets, main.labels)
    quality: dict[str, Any] = {
        "images": len(first.indices),
        "accuracy": round(float(grades.accuracy), 5),
        "accuracy_interval": [round(edge, 5) for edge in grades.accuracy_interval],
        "commonest": commonest(targets, main.labels),
        "top3_accuracy": round(float(grades.top3_accuracy), 5),
        "top5_accuracy": round(float(grades.top5_accuracy), 5),
        "macro_f1": round(float(grades.macro_f1), 5),
        "ece": round(float(grades.ece), 5),
        **measure(grades, served[main.name], targets).as_json(),
        "attributes": {},
    }
    for column in others:
        if not first.has(column.name):
            continue
        codes = first.targets(column.name, served[column.name])
        if (codes >= 0).any():
            known = grade(served[column.name], codes, column.labels)
            quality["attributes"][column.name] = {"accuracy": round(float(known.accuracy), 5)}
    if further:
        quality["also"] = [_further_quality(one, predictor, main, threshold) for one in further]
    return quality


def commonest(targets: NDArray[np.integer], labels: Sequence[str]) -> dict[str, Any]:
    """Return the label that most images have, and the fraction of images that have it.

    Args:
        targets: (N,) codes; those below 0 have no label.
        labels: What the codes mean.
    """
    counts = np.bincount(targets[targets >= 0], minlength=len(labels))
    share = float(counts.max() / counts.sum())
    return {"label": labels[int(counts.argmax())], "share": round(share, 5)}


def verdict(info: BundleInfo, path: Path) -> str:
    """Return what to tell people about a bundle that a training has written, in a few lines."""
    quality = info.quality
    low, high = quality["accuracy_interval"]
    folds = quality.get("folds")
    how = (
        f"cross-validated on {counted(quality['images'], 'image')}"
        if folds
        else (f"on {counted(quality['images'], 'image')} that it has not learned from")
    )
    lines = [
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; {percent(quality['accuracy'], 1)} right, "
        f"{how} (95 % interval {percent(low, 1)} to {percent(high, 1)})"
    ]
    label, share = quality["commonest"]["label"], percent(quality["commonest"]["share"], 1)
    if is_no_better_than_commonest(info):
        lines.append(
            f"THIS MODEL HAS LEARNED NOTHING USEFUL: always predicting {label!r} would be right on "
            f"{share}. Do not serve it. Look at the photos with shopwindow inspect: are the labels "
            "right, and can a person tell them apart? Then add photos"
        )
        return "\n".join(lines)
    if low <= quality["commonest"]["share"]:
        lines.append(
            f"Too few images to tell whether it is better than always predicting {label!r}, which "
            f"is right on {share}; add images"
        )
    return "\n".join([*lines, f"Serve it: shopwindow serve --model {path}"])


def _further_quality(
    further: ValidationSet, predictor: Predictor, main: LabelColumn, threshold: Threshold
) -> dict[str, Any]:
    """Return the figures for a further data set, by its own validation part."""
    probs = ask(predictor, further.dataset, further.indices)[main.name]
    targets = further.targets(main.name, probs)
    figures: dict[str, Any] = {"source": further.name, "images": len(further.indices)}
    if not (targets >= 0).any():  # it shows what is none of the labels, and nothing of it is right
        sure_share = float(np.mean([threshold.is_sure(float(row.max())) for row in probs]))
        return figures | {
            "accuracy": None,
            "ece": None,
            "sure": {"precision": None, "coverage": round(sure_share, 5)},
        }
    grades = grade(probs, targets, main.labels)
    sure = sure_answers(probs, targets, threshold.least)
    return figures | {
        "accuracy": round(float(grades.accuracy), 5),
        "ece": round(float(grades.ece), 5),
        "sure": {
            "precision": None if sure.precision is None else round(sure.precision, 5),
            "coverage": round(sure.coverage, 5),
        },
    }


def measure(
    grades: Grades, probabilities: NDArray[np.float32], targets: NDArray[np.integer]
) -> QualityTable:
    """Return the rows that a bundle carries: by confidence, by label, and confusions.

    Args:
        grades: Of the main label column, over the same images.
        probabilities: (N, C) answers of the bundle.
        targets: (N,) true codes; those below 0 have none and are left out.
    """
    known = targets >= 0
    confidences = probabilities[known].max(axis=1)
    right = probabilities[known].argmax(axis=1) == targets[known]
    bins = reliability(confidences, right, CONFIDENCE_EDGES, edge_belongs="above")
    return QualityTable(
        tuple(one for one in bins if one.images),
        grades.per_class,
        tuple(one for one in grades.confusions[:MAX_CONFUSIONS] if one.images >= MIN_CONFUSED),
    )


def is_no_better_than_commonest(info: BundleInfo) -> bool:
    """Say whether a model is right no more often than always answering the commonest label.

    Of fewer than `ENOUGH_TO_TELL` images nobody can say, and it is taken to be better; so is a
    bundle from before this was measured.
    """
    found = info.quality.get("commonest")
    accuracy = info.quality.get("accuracy")
    if not isinstance(found, dict) or not isinstance(accuracy, int | float):
        return False
    images = info.quality.get("images", 0)
    return bool(images >= ENOUGH_TO_TELL and accuracy <= found.get("share", 0))
