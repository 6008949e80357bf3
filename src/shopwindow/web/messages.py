"""The sentences of the page: what a prediction is in words, and what is said about feedback.

The page's script gets the same words from the API, so each is written only here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from shopwindow.bundle import BundleInfo, Novelty, Threshold
from shopwindow.bundle.quality import QualityTable
from shopwindow.inference.prediction import Doubt, Prediction
from shopwindow.inference.verdict import UNKNOWN, per_cent, verdict_on
from shopwindow.plain_text import counted

QUESTION = "What is this?"
MAY_BE_NONE = "It may be none of the labels that this model knows."
ADVICE = "A photo more like those it learned from may help."
# A longer list of labels, one of which is right, tells a visitor nothing.
_SHORT_LIST = 3
# Fewer test images than this promise nothing about the next one.
_MIN_IMAGES = 30
# Where one word ends and the next begins: "_", "-", before "C" in "baseColour" and in "SKUCode".
_WORDS = re.compile(r"[_\-.]+|(?<=[^\W_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][^\W\d_A-Z])")
_NARROW_SPACE = "\u202f"  # no-break, so that a number and its sign stay on one line


def measured_per_cent(rate: float) -> str:
    """Return a measured rate (0 to 1) as a percentage in three digits; only 1 is 100 %."""
    percent = rate * 100 if rate == 1 else min(rate * 100, 99.9)
    return f"{percent:.3g}{_NARROW_SPACE}%"


@dataclass(frozen=True, slots=True)
class Words:
    """A prediction as the page says it, alone or in a grid, with and without its script.

    Attributes:
        kind: How sure the answer is, and of what: see `Prediction.doubt`.
        heading: The label, the family, or that there is none.
        confidence: The confidence in the heading, 0 to 1; None for `unknown`.
        share: The same as text, such as "87 %"; empty for `unsure` and `unknown`.
        verdict: The confidence in words.
        note: How often such answers were right, and what the visitor can do.
        names: What to call each further label column.
        doubted: The further label columns whose answer is only a guess.
    """

    kind: Doubt
    heading: str
    confidence: float | None
    share: str
    verdict: str
    note: str
    names: dict[str, str]
    doubted: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the words by their names."""
        confidence = None if self.confidence is None else round(self.confidence, 6)
        return asdict(self) | {"confidence": confidence}


def in_words(prediction: Prediction, info: BundleInfo) -> Words:
    """Return what to say about a prediction of the model that `info` describes.

    docs/page.md has the table.
    """
    kind, shown = prediction.doubt, prediction.shown
    measured = like_note(info.quality_table, prediction.confidence)
    guess = f"Its best guess is {prediction.label}, with {per_cent(prediction.confidence)}."
    few = set_note(prediction, info)
    confidence, share = None, ""
    if prediction.known is False:
        after_all = f"If it shows one of the labels after all, i{guess.removeprefix('I')}"
        note = f"{unlike_note(info.novelty)} {after_all}"
    elif kind == "unknown":
        note = f"{guess} {MAY_BE_NONE} {few or measured}".strip()
    elif kind == "unsure":
        note = f"{guess} {few or unsure_note(info.threshold, measured)}"
    elif kind == "family":
        note = f"Not sure which kind. {guess} {few or ADVICE}"
    else:
        note = measured or sure_note(info.threshold)
    if shown is not None:
        confidence = shown.confidence
    if shown is not None and kind != "unsure":
        share = per_cent(shown.confidence)
    hesitant = kind in ("unsure", "unknown")
    return Words(
        kind,
        shown.label if shown else UNKNOWN,
        confidence,
        share,
        verdict_on(prediction),
        note,
        names={column: display_name(column) for column in prediction.attributes},
        doubted=tuple(
            column
            for column, score in prediction.attributes.items()
            if hesitant or score.confidence < 0.5
        ),
    )


def unlike_note(novelty: Novelty | None) -> str:
    """Return how rarely a photo is called unknown although the model has learned from such."""
    most = max((one.unknown for one in novelty.known), default=None) if novelty else None
    if most is None:
        return "The model has not seen anything like this."
    return (
        "The model has not seen anything like this; in tests, it said so of "
        f"{per_cent(most, 1)} of the photos like those it learned from."
    )


def like_note(quality: QualityTable, confidence: float) -> str:
    """Return how often answers of about this confidence were right; "" where too few were seen."""
    like = quality.bin_for(confidence)
    if like is None or like.accuracy is None or like.images < _MIN_IMAGES:
        return ""
    if like.accuracy > 0.995:
        return "In tests, more than 99 in 100 answers like this were right."
    return f"In tests, {round(like.accuracy * 100)} in 100 answers like this were right."


def set_note(prediction: Prediction, info: BundleInfo) -> str:
    """Return which few labels the right one is almost always among; "" where they are not few."""
    labels, sets = prediction.prediction_set or (), info.prediction_sets
    if sets is None or prediction.sure or not 2 <= len(labels) <= _SHORT_LIST:
        return ""
    return (
        f"If the model knows it, it is one of these: {', '.join(labels)}. "
        f"Such lists hold the right label about {round(sets.level * 100)} times in 100."
    )


def sure_note(threshold: Threshold) -> str:
    """Return how often sure answers were right on validation images."""
    return (
        f"On photos like those it learned from, it was right {round(threshold.precision * 100)} "
        "times in 100 when it was this sure."
    )


def unsure_note(threshold: Threshold, measured: str = "") -> str:
    """Return why an answer is only a guess, and what the visitor can do about it."""
    if measured:
        return f"{measured} {ADVICE}"
    if threshold.least is None:
        return f"In tests, no level of confidence was right often enough to count as sure. {ADVICE}"
    return f"An answer counts as sure from {per_cent(threshold.least)}. {ADVICE}"


def size_in_words(size_bytes: int) -> str:
    """Return a limit in bytes as people write it: 10485760 and 10000000 are both "10 MB"."""
    for unit_bytes, unit in ((1_000_000, "MB"), (1_000, "kB")):
        if size_bytes >= unit_bytes:
            binary_bytes = 1_048_576 if unit == "MB" else 1_024
            whole = size_bytes % binary_bytes == 0
            return f"{size_bytes / (binary_bytes if whole else unit_bytes):.3g} {unit}"
    return f"{size_bytes} bytes"


def list_in_words(words: Sequence[str], joint: str = "or") -> str:
    """Return "a, b or c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {joint} {words[-1]}"


def title_of(info: BundleInfo) -> str:
    """Return the title of the model's card, or its name."""
    return _text(info.card, "title") or info.name


def summary_of(info: BundleInfo) -> str:
    """Return the summary of the model's card, or one made from the number of its labels."""
    count = len(info.columns[0].labels)
    return _text(info.card, "summary") or (
        f"Show this model a photo, and it picks the best of {counted(count, 'label')}."
    )


@dataclass(frozen=True, slots=True)
class FeedbackWords:
    """What the page says about feedback, with "{}" where a label or a day belongs.

    Attributes:
        help: What is kept of a photo, before one is chosen.
        offer: The choice to have the photo kept.
        offer_all: The same for many photos.
        noted_right: After the visitor has called the answer right.
        noted_other: After another label.
        noted_none: After none of the labels.
        undone: After an undo.
        kept: What is kept without the photo.
        kept_photo: What is kept with the photo.
        kept_until: The same, once the day is known.
        full: Why a photo is not kept although the visitor wanted it.
    """

    help: str
    offer: str
    offer_all: str
    noted_right: str
    noted_other: str
    noted_none: str
    undone: str
    kept: str
    kept_photo: str
    kept_until: str
    full: str

    def noted(self, label: str) -> str:
        """Return what to say about the label that a visitor gave; "" for none of them."""
        return self.noted_other.format(label) if label else self.noted_none

    def kept_now(self, until: datetime | None) -> str:
        """Return what is kept of feedback: with its photo until some day, or without it."""
        if until is None:
            return self.kept
        return self.kept_until.format(f"{until.day} {until:%B %Y}")


def feedback_words(keep_days: int, embeds: bool) -> FeedbackWords:
    """Return the sentences where photos are kept for so many days.

    Args:
        keep_days: How many.
        embeds: Whether the embedding of a photo is kept with it.
    """
    for_days = f"for {keep_days} day{'s' if keep_days > 1 else ''}"
    says = "Kept: the answer and yours, the time and a fingerprint of the photo;"
    without = "without where and when it was taken."
    if embeds:
        without += " Numbers that describe how it looks are kept and deleted with it."
    return FeedbackWords(
        help="Nothing is kept unless you say whether it was right.",
        offer=f"Keep the photo too, {for_days}, to learn from it",
        offer_all=f"Keep the photos that I call right or wrong, {for_days}, to learn from them",
        noted_right="Noted: that is right.",
        noted_other="Noted: it is {}.",
        noted_none="Noted: none of the labels.",
        undone="Withdrawn. None of it is kept.",
        kept=f"{says} not the photo itself, nor who you are.",
        kept_photo=f"{says} the photo itself {for_days}, {without}",
        kept_until=f"{says} the photo itself until {{}}, {without}",
        full="The photo is not kept: there is no room for more.",
    )


def display_name(column: str) -> str:
    """Return the name of a label column as people write it: "baseColour" is "Base colour".

    Underscores, hyphens and camel case become spaces, and abbreviations stay. A name with a space
    was written for people already.
    """
    words = column.split()
    if len(words) == 1:
        words = _WORDS.sub(" ", words[0]).split()
        words = [word if word.isupper() and len(word) > 1 else word.lower() for word in words]
    name = " ".join(words)
    return name[:1].upper() + name[1:] or column


def _text(card: dict[str, Any], key: str) -> str:
    text = card.get(key)
    return text.strip() if isinstance(text, str) else ""
