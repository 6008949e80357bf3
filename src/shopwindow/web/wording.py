"""What a number is called in plain words: the page says it, the tests check it.

The script of the page gets the same words as data attributes, so each is written here alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shopwindow.bundle import BundleInfo, Threshold
from shopwindow.inference.prediction import Prediction

QUESTION = "What is this?"
NOT_SURE = "Not sure"
# The least confidence (0 to 1) for each wording of a sure answer, most confident first. There is
# nothing below "Likely", as the model's threshold has already told the guesses apart.
LEVELS: tuple[tuple[float, str], ...] = (
    (0.99, "Almost certain"),
    (0.9, "Very likely"),
    (0.0, "Likely"),
)
_NARROW_SPACE = "\u202f"  # no-break, so that a figure and its sign stay on one line


def per_cent(share: float, decimals: int = 0) -> str:
    """Return a share (0 to 1) as a percentage that never claims more than was measured.

    A probability is never shown as nought or as certain: 0.9999 is ">99 %" and 0.0001 is "<1 %".
    """
    step = 10.0**-decimals
    percentage = share * 100
    if percentage > 100 - step / 2:
        return f">{100 - step:.{decimals}f}{_NARROW_SPACE}%"
    if percentage < step / 2:
        return f"<{step:.{decimals}f}{_NARROW_SPACE}%"
    return f"{percentage:.{decimals}f}{_NARROW_SPACE}%"


def measured_per_cent(share: float) -> str:
    """Return a measured rate (0 to 1), where exactly none and exactly all do occur."""
    return f"{share * 100:.4g}{_NARROW_SPACE}%"


def confidence_in_words(prediction: Prediction) -> str:
    """Return the wording for a prediction, "Not sure" below the model's own threshold."""
    if not prediction.sure:
        return NOT_SURE
    return next(words for least, words in LEVELS if prediction.confidence >= least)


def sure_note(threshold: Threshold) -> str:
    """Return what being sure has been worth, as measured on validation images."""
    return (
        f"On photos like those it learned from, it was right {round(threshold.precision * 100)} "
        "times in 100 when it was this sure."
    )


def unsure_note(threshold: Threshold) -> str:
    """Return why an answer is only a guess, and what the visitor can do about it."""
    advice = "A photo more like those it learned from may help."
    if threshold.coverage <= 0:
        return f"This model is never sure enough to promise, so take it as a guess. {advice}"
    return (
        f"It takes {per_cent(threshold.min_confidence)} to be sure here, "
        f"so take this as a guess. {advice}"
    )


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
    """Return the summary of the model's card, or one made from what it can tell apart."""
    count = len(info.columns[0].labels)
    return _text(info.card, "summary") or (
        f"Show a photo, and this model picks the best of {count} answers."
    )


def _text(card: dict[str, Any], key: str) -> str:
    text = card.get(key)
    return text.strip() if isinstance(text, str) else ""
