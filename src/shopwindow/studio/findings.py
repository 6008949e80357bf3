"""What a measurement says to people: figures, confusions, wrong labels, and what to add next.

Everything is worked out from answers to photos that were not learned from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.evaluation.grades import Grades
from shopwindow.evaluation.measuring import commonest
from shopwindow.plain_text import counted
from shopwindow.studio.fitting import Measured

FEW_PHOTOS = 10  # a label with fewer is often missed, as a training says too
ADD = 10
MAX_DOUBTS = 200
_MAX_CONFUSIONS, _MAX_PAIRS, _MAX_NEXT = 20, 8, 5
_LEAST_CONFUSED = 0.1  # of the photos of a label, for a piece of advice
_LEAST_DOUBT = 0.5  # probability of another label than the given one


@dataclass(frozen=True)
class Doubt:
    """A label that is probably wrong.

    Attributes:
        name: Of the photo.
        label: Its label.
        guess: What it probably shows.
        confidence: In that, 0 to 1.
        twin: A photo of the same thing with the label `guess`; "" where an answer says so.
    """

    name: str
    label: str
    guess: str
    confidence: float
    twin: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return JSON-ready data, as the studio's page gets it."""
        return {
            "id": self.name,
            "label": self.label,
            "guess": self.guess,
            "confidence": round(self.confidence, 3),
            "why": "twin" if self.twin else "guess",
            "twin": self.twin or None,
        }


def find_doubts(measured: Measured, dismissed: Mapping[str, str]) -> list[Doubt]:
    """Return the labels that are probably wrong, the most probable first.

    Confident learning (Northcutt, Jiang, Chuang 2021, arXiv:1911.00068): a photo counts as another
    label's where that is at least as probable as it is on average for photos that have it. Photos
    that show the same thing and have different labels are in doubt as well.

    Args:
        measured: Answers to photos that were not learned from.
        dismissed: Labels by name that somebody has found to be right.
    """
    examples, probs = measured.examples, measured.probs
    labels, codes = examples.labels, examples.codes
    rows = np.arange(len(codes))
    usual = np.array(
        [
            probs[codes == code, code].mean() if (codes == code).any() else 1.0
            for code in range(len(labels))
        ]
    )
    others = np.where(probs >= np.maximum(usual, _LEAST_DOUBT), probs, 0.0)
    others[rows, codes] = 0.0
    guesses, sure = others.argmax(axis=1), others.max(axis=1)
    found = [
        Doubt(examples.names[row], labels[codes[row]], labels[guesses[row]], float(sure[row]))
        for row in np.flatnonzero(sure > 0)
    ]
    known = {doubt.name for doubt in found}
    found += [doubt for doubt in _twins(measured) if doubt.name not in known]
    wanted = [doubt for doubt in found if dismissed.get(doubt.name) != doubt.label]
    return sorted(wanted, key=lambda doubt: -doubt.confidence)[:MAX_DOUBTS]


def _twins(measured: Measured) -> list[Doubt]:
    """Return photos whose group has another label, of which there are at least as many."""
    examples = measured.examples
    members: dict[int, list[int]] = {}
    for row, group in enumerate(examples.groups.tolist()):
        members.setdefault(group, []).append(row)
    found = []
    for rows in members.values():
        counts = np.bincount(examples.codes[rows], minlength=len(examples.labels))
        if (counts > 0).sum() < 2:
            continue
        most = int(counts.argmax())
        like = next(row for row in rows if examples.codes[row] == most)
        found += [
            Doubt(
                examples.names[row],
                examples.labels[examples.codes[row]],
                examples.labels[most],
                float(counts[most] / counts.sum()),
                examples.names[like],
            )
            for row in rows
            if examples.codes[row] != most
        ]
    return found


def figures(measured: Measured) -> dict[str, Any]:
    """Return how good the model is on photos that it has not learned from."""
    examples, grades = measured.examples, measured.grades
    return {
        "accuracy": round(grades.accuracy, 4),
        "interval": [round(edge, 4) for edge in grades.accuracy_interval],
        "measured_on": grades.images,
        "commonest": commonest(examples.codes, examples.labels)["share"],
    }


def confusions(measured: Measured) -> list[dict[str, Any]]:
    """Return which labels are taken for which, with pairs of photos that look alike."""
    examples, grades = measured.examples, measured.grades
    codes, answers = examples.codes, measured.probs.argmax(axis=1)
    known = {label: code for code, label in enumerate(examples.labels)}
    found = []
    for pair in grades.confusions[:_MAX_CONFUSIONS]:
        of, taken_for = known[pair.label], known[pair.taken_for]
        wrong = np.flatnonzero((codes == of) & (answers == taken_for))
        wrong = wrong[np.argsort(-measured.probs[wrong, taken_for], kind="stable")][:_MAX_PAIRS]
        like = _nearest(examples.features, wrong, np.flatnonzero(codes == taken_for))
        pairs = [
            {
                "id": examples.names[row],
                "like": examples.names[near],
                "confidence": round(float(measured.probs[row, taken_for]), 3),
            }
            for row, near in zip(wrong, like, strict=True)
        ]
        found.append(
            {
                "label": pair.label,
                "taken_for": pair.taken_for,
                "photos": pair.images,
                "share": round(pair.share, 4),
                "pairs": pairs,
            }
        )
    return found


def _nearest(
    features: NDArray[np.float32], rows: NDArray[np.int64], among: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return for each row the one of the others that it is most like, by the cosine."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    nearest: NDArray[np.int64] = among[(unit[rows] @ unit[among].T).argmax(axis=1)]
    return nearest


def what_next(
    counts: Mapping[str, int], unlabelled: int, grades: Grades | None
) -> list[dict[str, Any]]:
    """Return what would help most, the most useful first.

    The rule: two labels first; then photos of labels that have few; then photos of labels of which
    a tenth or more is taken for one other label, by how many that are; then labels for photos that
    have none.

    Args:
        counts: Photos by label.
        unlabelled: Photos without one.
        grades: What was measured; None where nothing was yet.
    """
    advice = []
    if len(counts) < 2:
        text = "Label photos of at least two things: none has a label yet."
        for label in counts:
            text = f"Label photos of a second thing: so far all that have a label are {label}."
        advice.append(_advice("labels", "", None, ADD, text))
    for label, photos in sorted(counts.items(), key=lambda pair: pair[1]):
        if photos < FEW_PHOTOS:
            more = FEW_PHOTOS - photos
            text = f"{label} has {counted(photos, 'photo')}: {more} more would help."
            advice.append(_advice("few", label, None, more, text))
    for pair in () if grades is None else grades.confusions:
        if pair.images > 1 and pair.share >= _LEAST_CONFUSED:
            text = (
                f"{pair.label} is taken for {pair.taken_for} in {pair.images:,} of "
                f"{round(pair.images / pair.share):,} photos: ten more photos of {pair.label} that "
                f"look like {pair.taken_for} would help most."
            )
            advice.append(_advice("confused", pair.label, pair.taken_for, ADD, text))
    if unlabelled:
        how = "confirm what the model thinks" if len(counts) > 1 else "select some, then label them"
        text = f"{counted(unlabelled, 'photo')} without a label: {how}."
        advice.append(_advice("unlabelled", "", None, unlabelled, text))
    return advice[:_MAX_NEXT]


def _advice(kind: str, label: str, taken_for: str | None, add: int, text: str) -> dict[str, Any]:
    return {"kind": kind, "label": label, "taken_for": taken_for, "add": add, "sentence": text}


def per_label(counts: Mapping[str, int], grades: Grades | None) -> list[dict[str, Any]]:
    """Return count, recall and precision of each label; None where not measured."""
    known = {} if grades is None else {row.label: row for row in grades.per_class}
    rows: Sequence[tuple[str, int]] = sorted(counts.items())
    return [
        {
            "label": label,
            "photos": photos,
            "recall": _rounded(known[label].recall) if label in known else None,
            "precision": _rounded(known[label].precision) if label in known else None,
        }
        for label, photos in rows
    ]


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 4)
