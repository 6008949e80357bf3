"""Labels as numbers, including where one image allows several: a cell such as `Tshirts|Tops`.

A code below C is one of a column's C labels. A code from C on is a set of labels, any of which may
be right (a "partial label"); the row `code - C` of the column's table of sets says which. The empty
set is a picture that shows none of the labels at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shopwindow.errors import DataError
from shopwindow.plain_text import listed

SEPARATOR = "|"
NO_LABEL = -1

Bars = Literal["any", "path"]
LabelMap = Mapping[str, tuple[str, ...] | None]


@lru_cache(maxsize=100_000)  # a column has few different cells, and many rows
def split_cell(cell: str, bars: Bars = "any") -> tuple[str, ...]:
    """Return the labels that a cell allows: `Tshirts|Tops` -> ("Tops", "Tshirts").

    Args:
        cell: What stands in the table.
        bars: With `path`, all of a cell is one label: `Apparel|Tops` -> ("Apparel|Tops",).
    """
    parts = [part.strip() for part in cell.split(SEPARATOR) if part.strip()]
    if bars == "path":
        return (SEPARATOR.join(parts),) if parts else ()
    return tuple(sorted(set(parts)))


def meaning_of_bars(cells: Iterable[str]) -> Bars:
    """Find out from all cells of a column what the bars in them mean.

    In a path every name has its level: `Apparel|Tops` and `Apparel|Shoes`, and never `Tops` alone.
    Where any of the labels would be right, each also stands alone, or in another place.
    """
    levels: dict[str, int] = {}
    barred = False
    for cell in cells:
        parts = [part.strip() for part in cell.split(SEPARATOR) if part.strip()]
        barred = barred or len(parts) > 1
        if any(levels.setdefault(part, level) != level for level, part in enumerate(parts)):
            return "any"
    return "path" if barred else "any"


def bars_of(labels: Iterable[str]) -> Bars:
    """Return what a bar meant where these labels come from: in a path it is part of them."""
    return "path" if any(SEPARATOR in label for label in labels) else "any"


def name_bars(column: str, cells: Sequence[str], bars: Bars) -> list[str]:
    """Return a sentence about how the bars in a column are read, if there are any, in a list."""
    barred = [cell for cell in cells if len(split_cell(cell)) > 1]
    if not barred:
        return []
    count = f"{len(barred):,} cells of {column} have" if barred[1:] else f"1 cell of {column} has"
    what = f"{count} a bar, such as {barred[0][:80]}"
    if bars == "path":
        return [f"{what}: each is read as one label (--bars any: any part of it would be right)"]
    return [f"{what}: any of these labels is right (--bars path: all of it is one label)"]


def read_label_map(path: Path) -> dict[str, tuple[str, ...] | None]:
    """Read what the labels of one data set mean in those of another.

    The file is a JSON object: for each label a list of the labels that it allows, `[]` where the
    picture shows none of them, or `null` where the image is to be left out.

    Raises:
        DataError: The file cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error
    try:
        return as_label_map(content)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def as_label_map(content: object) -> dict[str, tuple[str, ...] | None]:
    """Return what JSON says that labels mean; see `read_label_map`.

    Raises:
        DataError: It is something else.
    """
    if not isinstance(content, dict) or not content:
        raise DataError("expected a JSON object with an entry for each label.")
    for label, allowed in content.items():
        if allowed is not None and not (
            isinstance(allowed, list) and all(isinstance(name, str) and name for name in allowed)
        ):
            raise DataError(f"expected a list of labels or null for {label!r}, found {allowed!r}.")
    return {
        label: None if allowed is None else tuple(sorted(set(allowed)))
        for label, allowed in content.items()
    }


def keep_known(
    cells: Sequence[tuple[str, ...]], vocabulary: Sequence[str]
) -> list[tuple[str, ...] | None]:
    """Take labels out that are not in the vocabulary; None for a cell in which none is left."""
    known = set(vocabulary)
    # Few different cells, many rows: each is looked at once.
    left = {cell: tuple(label for label in cell if label in known) or None for cell in set(cells)}
    return [left[cell] for cell in cells]


def number_labels(
    cells: Sequence[tuple[str, ...] | None], vocabulary: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Number the allowed labels of N images.

    Args:
        cells: Per image the labels that are allowed, () for none of them, None for unknown.
        vocabulary: The C labels in order; all labels in `cells` are among them.

    Returns:
        (N,) int64 codes, -1 for unknown, and (K, C) bool, the sets of the codes C to C + K - 1.
    """
    code_of = {label: code for code, label in enumerate(vocabulary)}
    several = sorted({cell for cell in cells if cell is not None and len(cell) != 1})
    sets = np.zeros((len(several), len(vocabulary)), np.bool_)
    for row, cell in zip(sets, several, strict=True):
        row[[code_of[label] for label in cell]] = True
    set_code = {cell: len(vocabulary) + number for number, cell in enumerate(several)}
    codes = [
        NO_LABEL if cell is None else code_of[cell[0]] if len(cell) == 1 else set_code[cell]
        for cell in cells
    ]
    return np.array(codes, np.int64), sets


def allowed_labels(codes: NDArray[np.int64], sets: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (N, C) bool: which labels are right for each of (N,) codes; none for -1.

    Args:
        codes: (N,) as from `number_labels`.
        sets: (K, C) the column's table of sets.
    """
    classes = sets.shape[1]
    table = np.concatenate(
        [np.eye(classes, dtype=np.bool_), sets, np.zeros((1, classes), np.bool_)]
    )
    rows: NDArray[np.bool_] = table[codes]  # -1 is the last row
    return rows


def likeliest_allowed(
    probabilities: NDArray[np.floating], codes: NDArray[np.int64], sets: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the label by which an answer is judged where several are right.

    It is the most probable of the allowed labels: the answer is right exactly if it is this label.

    Args:
        probabilities: (N, C) what the model says; logits, which may be below 0, do as well.
        codes: (N,) as from `number_labels`.
        sets: (K, C) the column's table of sets.

    Returns:
        (N,) int64, 0 to C - 1; -1 where no label is right.
    """
    allowed = allowed_labels(codes, sets)
    best = np.where(allowed, probabilities, -np.inf).argmax(axis=1)
    return np.where(allowed.any(axis=1), best, NO_LABEL).astype(np.int64)


def name_twins(labels: Iterable[str]) -> list[str]:
    """Name labels that differ in case, white space or hyphens only, if there are any, in a list."""
    alike: dict[str, list[str]] = {}
    for label in labels:
        key = "".join(sign for sign in label.casefold() if not sign.isspace() and sign not in "-_")
        alike.setdefault(key, []).append(label)
    found = [group for group in alike.values() if len(group) > 1]
    if not found:
        return []
    named = listed(list(map(" / ".join, found)), 4, "; ")
    return [f"Labels that may be one label in two spellings: {named}; --label-map can join them"]
