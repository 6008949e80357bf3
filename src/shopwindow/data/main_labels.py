"""Which of the main labels are learned, and why an image or a label is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import cast, get_args

from shopwindow.data.label_sets import Bars, LabelMap, split_cell
from shopwindow.errors import UsageError
from shopwindow.plain_text import NONE_OF_THEM

Cells = list[tuple[str, ...] | None]


def wanted_bars(bars: str | None) -> Bars | None:
    """Check `--bars`.

    Raises:
        UsageError: It is something else, or what no model here can learn.
    """
    if bars == "several":
        raise UsageError(
            "--bars several: a model of shopwindow gives one label of each column, not several at "
            "once; give each question a column of its own, and name the further ones with --also."
        )
    if bars is None:
        return None
    if bars in get_args(Bars):
        return cast(Bars, bars)
    raise UsageError(f"--bars: expected any or path, got {bars!r}.")


def read_main_labels(
    texts: Sequence[str | None],
    failures: Mapping[int, str],
    label_map: LabelMap | None,
    bars: Bars,
) -> tuple[Cells, list[str]]:
    """Return what each image allows, and why it is left out ("" where it is not)."""
    cells: Cells = []
    reasons: list[str] = []
    for index, text in enumerate(texts):
        text = text or ""
        cell: tuple[str, ...] | None = split_cell(text, bars)
        reason = ""
        if index in failures:
            reason = f"unreadable image: {failures[index]}"
        elif not cell:
            reason = "no label"
        elif text == NONE_OF_THEM:
            cell = ()
        elif label_map is not None:
            if text not in label_map:
                reason = f"label that the label map does not name: {text!r}"
            elif (cell := label_map[text]) is None:
                reason = f"label that the label map leaves out: {text!r}"
        cells.append(cell)
        reasons.append(reason)
    return cells, reasons


def count_labels(cells: Cells, reasons: Sequence[str], learned: Sequence[bool]) -> Counter[str]:
    """Count the images to learn from that have a label alone."""
    return Counter(
        cell[0]
        for cell, reason, learns in zip(cells, reasons, learned, strict=True)
        if learns and not reason and cell and len(cell) == 1
    )


def keep_known(
    cells: Cells,
    reasons: list[str],
    known: Sequence[str],
    counts: Mapping[str, int],
    least: int,
    *,
    fixed: bool,
) -> None:
    """Take unknown labels out of the cells, and images out that had only such."""
    vocabulary = set(known)
    for index, cell in enumerate(cells):
        if reasons[index] or not cell:  # an empty cell allows nothing, and is meant so
            continue
        cells[index] = tuple(label for label in cell if label in vocabulary)
        if cells[index]:
            continue
        names = " or ".join(map(repr, cell))
        reasons[index] = (
            f"label that the model does not have: {names}"
            if fixed
            else f"label with too few images: {names} has {counts.get(cell[0], 0)} of {least}"
        )


def lost_labels(named: Iterable[str], known: Sequence[str], bars: Bars) -> tuple[str, ...]:
    """Return the labels that rows or folders name, and that are not learned, sorted."""
    labels = {label for text in named if text != NONE_OF_THEM for label in split_cell(text, bars)}
    return tuple(sorted(labels - set(known)))


def name_lost(
    lost: Sequence[str], cells: Cells, counts: Mapping[str, int], least: int
) -> list[str]:
    """Return a sentence about labels that are not learned, if there are any, in a list."""
    if not lost:
        return []
    alone = {cell[0] for cell in cells if cell and len(cell) == 1}
    beside = {label for cell in cells if cell and len(cell) > 1 for label in cell}

    def why(label: str) -> str:
        if counts.get(label):
            return f"{counts[label]} of {least} images"
        if label in alone:
            return "no image to learn from"
        return "never alone in its cell" if label in beside else "no usable image"

    listed = ", ".join(f"{label} ({why(label)})" for label in lost[:8])
    more = f" and {len(lost) - 8:,} more" if len(lost) > 8 else ""
    what = f"{len(lost):,} labels are" if len(lost) > 1 else "1 label is"
    return [f"{what} lost: {listed}{more}"]
