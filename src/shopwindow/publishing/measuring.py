"""The figures that a bundle carries, from the answers of the bundle itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from shopwindow.bundle import BundleInfo, LabelColumn, Threshold
from shopwindow.calibration.fitting import ValidationSet
from shopwindow.data.dataset import Dataset
from shopwindow.evaluation.grades import Grades
from shopwindow.evaluation.metrics import grade, sure_answers
from shopwindow.evaluation.summary import percent
from shopwindow.grading import is_no_better_than_commonest
from shopwindow.inference.predictor import Predictor
from shopwindow.measured import Confusion, LabelFigures, Measured, Reliability
from shopwindow.plain_text import counted
from shopwindow.publishing.proof import Answers, Proof

# Narrow where most answers are, and where a visitor would read the difference.
CONFIDENCE_EDGES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
MAX_CONFUSIONS = 40
MIN_CONFUSED = 2  # one image taken for another is chance


def ask(
    predictor: Predictor, dataset: Dataset, indices: NDArray[np.int64], batch_size: int = 64
) -> Answers:
    """Ask what serves a bundle about images of a data set: (n, C) for each label column."""
    columns = [column.name for column in predictor.bundle.info.columns]
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in columns}
    for start in tqdm(
        range(0, len(indices), batch_size), desc="bundle", unit="batch", disable=None
    ):
        answers = predictor.probabilities(dataset.images(indices[start : start + batch_size]))
        for name, answer in answers.items():
            parts[name].append(answer)
    return {name: np.concatenate(part) for name, part in parts.items()}


def quality_of(
    judged: Sequence[ValidationSet], proof: Proof, threshold: Threshold
) -> dict[str, Any]:
    """Return the figures of the card.

    Args:
        judged: The images that `proof` is about first; then those of further data sets.
        proof: Has the answers.
        threshold: Where an answer is sure.
    """
    first, *further = judged
    served = proof.answers
    main, *others = proof.predictor.bundle.info.columns
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
        quality["also"] = [_side_quality(one, proof.predictor, main, threshold) for one in further]
    return quality


def commonest(targets: NDArray[np.integer], labels: Sequence[str]) -> dict[str, Any]:
    """Return the label that most images have, and the share of images that have it.

    Args:
        targets: (N,) codes; those below 0 have no label.
        labels: What the codes mean.
    """
    counts = np.bincount(targets[targets >= 0], minlength=len(labels))
    share = float(counts.max() / counts.sum())
    return {"label": labels[int(counts.argmax())], "share": round(share, 5)}


def verdict(info: BundleInfo, path: Path) -> str:
    """Return what a training says of the bundle that it has written, in a few lines."""
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
            f"THIS MODEL HAS LEARNED NOTHING OF USE: always answering {label!r} would be right on "
            f"{share}. Do not serve it. Look at the photos with shopwindow inspect: are the labels "
            "right, and can a person tell them apart? Then add photos"
        )
        return "\n".join(lines)
    if low <= quality["commonest"]["share"]:
        lines.append(
            f"Too few images to tell whether it is better than always answering {label!r}, which "
            f"is right on {share}; add images"
        )
    return "\n".join([*lines, f"Serve it: shopwindow serve --model {path}"])


def _side_quality(
    judged: ValidationSet, predictor: Predictor, main: LabelColumn, threshold: Threshold
) -> dict[str, Any]:
    """The figures for a further data set, by its own validation part."""
    shares = ask(predictor, judged.dataset, judged.indices)[main.name]
    targets = judged.targets(main.name, shares)
    figures: dict[str, Any] = {"source": judged.name, "images": len(judged.indices)}
    if not (targets >= 0).any():  # it shows what is none of the labels, and nothing of it is right
        sure_share = float(np.mean([threshold.is_sure(float(row.max())) for row in shares]))
        return figures | {
            "accuracy": None,
            "ece": None,
            "sure": {"precision": None, "coverage": round(sure_share, 5)},
        }
    grades = grade(shares, targets, main.labels)
    sure = sure_answers(shares, targets, threshold.least)
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
) -> Measured:
    """Work out what a bundle says about itself by confidence, by label and by mix-up.

    Args:
        grades: Of the main label column, over the same images.
        probabilities: (N, C) answers of the bundle.
        targets: (N,) true codes; those below 0 have none and are left out.
    """
    known = targets >= 0
    confidences = probabilities[known].max(axis=1)
    right = probabilities[known].argmax(axis=1) == targets[known]
    return Measured(
        reliability=_reliability(confidences, right),
        labels=tuple(
            LabelFigures(
                score.label, score.support, _rounded(score.recall), _rounded(score.precision)
            )
            for score in grades.per_class
        ),
        confusions=tuple(
            Confusion(pair.true, pair.predicted, pair.count, round(pair.share, 4))
            for pair in grades.confused_pairs[:MAX_CONFUSIONS]
            if pair.count >= MIN_CONFUSED
        ),
    )


def _reliability(
    confidences: NDArray[np.floating], right: NDArray[np.bool_]
) -> tuple[Reliability, ...]:
    rows = []
    for low, high in pairwise(CONFIDENCE_EDGES):
        here = (confidences >= low) & ((confidences < high) | (high == CONFIDENCE_EDGES[-1]))
        if here.any():
            rows.append(
                Reliability(low, high, int(here.sum()), round(float(right[here].mean()), 4))
            )
    return tuple(rows)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
