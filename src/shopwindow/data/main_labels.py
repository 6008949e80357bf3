"""Which of the main labels are learned, and why an image or a label is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from shopwindow.data.label_sets import Bars, LabelMap, split_cell
from shopwindow.plain_text import NONE_OF_THEM, listed


@dataclass(frozen=True)
class MainLabels:
    """The main labels of N images, and those that are learned.

    Attributes:
        cells: Of each image the labels that it allows: those of the vocabulary, unless it is left
            out.
        reasons: Why an image is left out; "" where it is not.
        vocabulary: The labels that are learned.
        counts: Of each label, the images to learn from that have it alone.
        read: The cells before labels that are not learned were taken out.
    """

    cells: list[tuple[str, ...]]
    reasons: list[str]
    vocabulary: tuple[str, ...]
    counts: Counter[str]
    read: list[tuple[str, ...]]

    def name_lost(self, lost: Sequence[str], min_images: int) -> list[str]:
        """Return a sentence about labels that are not learned, if there are any, in a list."""
        if not lost:
            return []
        alone = {cell[0] for cell in self.read if len(cell) == 1}
        beside = {label for cell in self.read if len(cell) > 1 for label in cell}

        def why(label: str) -> str:
            if self.counts[label]:
                return f"{self.counts[label]} of {min_images} images"
            if label in alone:
                return "no image to learn from"
            return "never alone in its cell" if label in beside else "no usable image"

        named = listed([f"{label} ({why(label)})" for label in lost], 8)
        what = f"{len(lost):,} labels are" if len(lost) > 1 else "1 label is"
        return [f"{what} lost: {named}"]


def choose_main_labels(
    texts: Sequence[str | None],
    failures: Mapping[int, str],
    to_learn: Sequence[bool],
    *,
    bars: Bars,
    label_map: LabelMap | None,
    min_images: int,
    vocabulary: Sequence[str] | None,
    corrected: Mapping[int, str | None] = MappingProxyType({}),
) -> MainLabels:
    """Choose the labels to learn, and the images that have one of them.

    Args:
        texts: Of each image, its cell.
        failures: Images that could not be decoded, with the reason.
        to_learn: Whether each image is one to learn from, rather than to judge by.
        bars: What a bar in a cell means.
        label_map: What the labels mean in other words.
        min_images: Labels with fewer images to learn from are left out.
        vocabulary: The labels, where they are given.
        corrected: By index, the labels that are right whatever the cells say; None where an image
            is to be left out.
    """
    read, reasons = [], []
    for index, text in enumerate(texts):
        cell, reason = _read_cell(text or "", bars, label_map)
        if index in corrected:
            label = corrected[index]
            cell, reason = ((label,), "") if label else (cell, "left out by a correction")
        read.append(cell)
        reasons.append(f"unreadable image: {failures[index]}" if index in failures else reason)
    counts = Counter(
        cell[0]
        for cell, reason, learns in zip(read, reasons, to_learn, strict=True)
        if learns and not reason and len(cell) == 1
    )
    if is_given := vocabulary is not None:
        chosen = tuple(vocabulary or ())
    else:
        chosen = tuple(sorted(label for label, count in counts.items() if count >= min_images))
    known, cells = set(chosen), list(read)
    for index, cell in enumerate(read):
        if reasons[index] or not cell:  # an empty cell allows nothing, and is meant so
            continue
        cells[index] = tuple(label for label in cell if label in known)
        if not cells[index]:
            names = " or ".join(map(repr, cell))
            reasons[index] = (
                f"label that the model does not have: {names}"
                if is_given
                else f"label with too few images: {names} has {counts[cell[0]]} of {min_images}"
            )
    return MainLabels(cells, reasons, chosen, counts, read)


def lost_labels(named: Iterable[str], known: Sequence[str], bars: Bars) -> tuple[str, ...]:
    """Return the labels that rows or folders name, and that are not learned, sorted."""
    labels = {label for text in named if text != NONE_OF_THEM for label in split_cell(text, bars)}
    return tuple(sorted(labels - set(known)))


def _read_cell(text: str, bars: Bars, label_map: LabelMap | None) -> tuple[tuple[str, ...], str]:
    """Return the labels that a cell allows, and why its image is left out ("" where it is not)."""
    cell = split_cell(text, bars)
    if not cell:
        return cell, "no label"
    if text == NONE_OF_THEM:
        return (), ""
    if label_map is None:
        return cell, ""
    if text not in label_map:
        return cell, f"label that the label map does not name: {text!r}"
    allowed = label_map[text]
    if allowed is None:
        return cell, f"label that the label map leaves out: {text!r}"
    return allowed, ""
