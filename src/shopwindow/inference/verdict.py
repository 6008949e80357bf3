"""How sure a prediction is, in words: the page and the table on a terminal say the same."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from shopwindow.inference.prediction import Prediction

NOT_SURE = "Not sure"
UNKNOWN = "Hard to tell"
UNLIKE = "Unlike the photos it learned from"
NOTHING_STANDS_OUT = "No answer stands out"
# The least confidence (0 to 1) for each verdict on a label or family that is sure, highest first.
# There is none below "Likely": what does not reach the threshold is a guess.
_LEVELS: tuple[tuple[float, str], ...] = (
    (0.99, "Almost certain"),
    (0.9, "Very likely"),
    (0.0, "Likely"),
)
_NARROW_SPACE = "\u202f"  # no-break, so that a number and its sign stay on one line


def verdict_on(prediction: Prediction) -> str:
    """Return the confidence of a prediction in words; docs/page.md has the table."""
    if prediction.known is False:
        return UNLIKE
    shown = prediction.shown
    if shown is None:
        return NOTHING_STANDS_OUT
    if prediction.doubt == "unsure":
        return NOT_SURE
    return next(words for least, words in _LEVELS if shown.confidence >= least)


def per_cent(probability: float, decimals: int = 0) -> str:
    """Return a probability (0 to 1) as a percentage that is never 0 or 100.

    0.9999 is ">99 %" and 0.0001 is "<1 %".
    """
    step = 10.0**-decimals
    percentage = probability * 100
    if percentage > 100 - step / 2:
        return f">{100 - step:.{decimals}f}{_NARROW_SPACE}%"
    if percentage < step / 2:
        return f"<{step:.{decimals}f}{_NARROW_SPACE}%"
    # Halves go up, as in the browser's `toFixed`.
    rounded = Decimal(percentage).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    return f"{rounded}{_NARROW_SPACE}%"
