"""A data set that is ready for training: decoded, filtered, and its labels numbered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shopwindow.dataset.cache import ImageCache, open_cache
from shopwindow.dataset.catalogue import (
    DroppedRow,
    LabelledImages,
    nothing_left,
    read_catalogue,
)
from shopwindow.dataset.duplicates import open_duplicates
from shopwindow.dataset.label_sets import (
    NONE_OF_THEM,
    SEPARATOR,
    LabelMap,
    number_labels,
    split_cell,
)
from shopwindow.errors import DataError, UsageError
from shopwindow.imaging.preprocess import ResizeRule


@dataclass(frozen=True)
class Dataset:
    """N images with their labels as numbers, sorted by reference.

    Attributes:
        references: One unique name per image: a relative POSIX path, or `part.parquet#12`.
        label_columns: Names of the label columns; the first is the main one.
        vocabularies: The labels that occur in each column, sorted: a code is a position in it.
        codes: Per column (N,) int64: a position in the vocabulary; above it a set of labels, see
            `label_sets`; -1 where there is no label, in attributes only.
        sets: Per column (K, C) bool, the sets of labels that occur.
        groups: (N,) int64: images with the same number stay on one side of a split.
        dropped: Every row and image file that was left out, with its reason.
        rule: Size and method to which the images were resized.
        catalogue: What the data set was read from; also the images that were left out.
    """

    references: tuple[str, ...]
    label_columns: tuple[str, ...]
    vocabularies: dict[str, tuple[str, ...]]
    codes: dict[str, NDArray[np.int64]]
    sets: dict[str, NDArray[np.bool_]]
    groups: NDArray[np.int64]
    dropped: tuple[DroppedRow, ...]
    rule: ResizeRule
    catalogue: LabelledImages
    _cache: ImageCache = field(repr=False)
    _positions: NDArray[np.int64] = field(repr=False)  # of the N images in catalogue and cache

    def __len__(self) -> int:
        return len(self.references)

    def images(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Copy images out of the cache.

        Args:
            indices: (n,) whole numbers from 0 to N - 1.

        Returns:
            (n, S, T, 3) uint8, RGB, 0 to 255.
        """
        positions = self._positions[np.asarray(indices, dtype=np.int64)]
        # Without asarray the copy would still call itself a memory map.
        return np.asarray(self._cache.images_nhwc)[positions]

    def cached_images(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """Copy images by their rows in the cache, which `open_features` names."""
        return np.asarray(self._cache.images_nhwc)[np.asarray(rows, dtype=np.int64)]

    def open_features(
        self, name: str, width: int
    ) -> tuple[np.memmap[Any, np.dtype[np.float16]], NDArray[np.int64]]:
        """Open what a network has made of the images, kept beside their cache.

        Args:
            name: Of the network: letters and digits.
            width: Features of an image.

        Returns:
            A memory map of float16 (rows of the cache, width), NaN where there is nothing yet, to
            be read and written; and the (N,) rows of this data set's images in it.
        """
        return self._cache.open_features(name, width), self._positions

    def image_blocks(self, indices: ArrayLike, size: int = 1024) -> Iterator[NDArray[np.uint8]]:
        """Yield what `images` returns in blocks of at most `size`, for data larger than memory."""
        some = np.asarray(indices, dtype=np.int64)
        for start in range(0, len(some), size):
            yield self.images(some[start : start + size])

    def read_bytes(self, index: int) -> bytes:
        """Return the original bytes of one image.

        Raises:
            ImageError: It is gone, or may not be read.
        """
        return self.catalogue.read_bytes(int(self._positions[index]))

    @property
    def digests(self) -> NDArray[np.uint64]:
        """(N,) by what each image is known wherever it lies: `digest_of` its file."""
        return self._cache.digests[self._positions]

    def cell_names(self, column: str) -> list[str]:
        """Return what each code of a column stands for: a label, or `Tshirts|Tops` for a set."""
        vocabulary = self.vocabularies[column]
        sets = [
            SEPARATOR.join(vocabulary[code] for code in np.flatnonzero(row)) or NONE_OF_THEM
            for row in self.sets[column]
        ]
        return [*vocabulary, *sets]

    def duplicate_groups(self) -> NDArray[np.int64]:
        """Return (N,) int64: a number from 0 up, shared by images that show the same picture."""
        groups = open_duplicates(self._cache)[self._positions]
        numbers: NDArray[np.int64] = np.unique(groups, return_inverse=True)[1]
        return numbers.reshape(-1)


def load_dataset(
    data: Path,
    *,
    rule: ResizeRule,
    labels_file: Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    also: Sequence[str] = (),
    group_column: str | None = None,
    label_map: LabelMap | None = None,
    vocabularies: Mapping[str, Sequence[str]] | None = None,
    min_images: int = 2,
    cache_dir: Path | None = None,
    progress: bool = True,
) -> Dataset:
    """Read a data set, decode its images once, and leave out labels with too few of them.

    Args:
        data: See `read_catalogue`, also for `labels_file`, `image_column`, `label_column`, `also`.
        rule: Size and method to which images are resized.
        labels_file: The table with the labels.
        image_column: The column with the image.
        label_column: The column with the main label.
        also: Further label columns.
        group_column: Column of what images have in common, such as who took them: images of one
            group stay on one side of a split.
        label_map: What the main labels mean in other words; see `read_label_map`.
        vocabularies: The labels of each column, where another data set decides them. Images with
            none of them are left out. By default the labels that occur.
        min_images: Main labels with fewer usable images are left out; 1 keeps all. Has no effect
            on given `vocabularies`.
        cache_dir: See `open_cache`.
        progress: Show a progress bar on stderr while decoding.

    Raises:
        UsageError: A wrong path, column or number.
        MissingExtraError: A Parquet file, and pyarrow is not installed.
        DataError: A table that cannot be read, no image left, or no room for the cache.
    """
    if min_images < 1:
        raise UsageError(f"--min-images: expected 1 or more, got {min_images}.")
    catalogue = read_catalogue(
        data,
        labels_file=labels_file,
        image_column=image_column,
        label_column=label_column,
        also=also,
        group_column=group_column,
    )
    cache = open_cache(catalogue, rule, cache_dir, progress=progress)
    label_columns = catalogue.label_columns[: 1 + len(also)]
    main = label_columns[0]
    cells, reasons = _read_main_labels(catalogue.labels[main], cache.failures, label_map)
    known = vocabularies[main] if vocabularies else _frequent_labels(cells, reasons, min_images)
    _keep_known(cells, reasons, known, min_images, fixed=vocabularies is not None)
    positions = [index for index, reason in enumerate(reasons) if not reason]
    dropped = list(catalogue.dropped) + [
        DroppedRow(catalogue.where[index], catalogue.references[index], reason)
        for index, reason in enumerate(reasons)
        if reason
    ]
    if not positions:
        raise DataError(nothing_left(data, dropped))
    vocabulary_of, codes, sets = {}, {}, {}
    for column in label_columns:
        if column == main:
            kept = [cells[index] for index in positions]
        else:
            texts = catalogue.labels[column]
            kept = [split_cell(texts[index] or "") or None for index in positions]
        single = {cell[0] for cell in kept if cell and len(cell) == 1}
        given = vocabularies.get(column) if vocabularies else None
        vocabulary_of[column] = tuple(given if given is not None else sorted(single))
        if column != main:
            known_here = set(vocabulary_of[column])
            # Few different cells, many rows: each is looked at once.
            known_of = {
                cell: tuple(label for label in cell or () if label in known_here) or None
                for cell in set(kept)
            }
            kept = [known_of[cell] for cell in kept]
        codes[column], sets[column] = number_labels(kept, vocabulary_of[column])
    return Dataset(
        references=tuple(catalogue.references[index] for index in positions),
        label_columns=label_columns,
        vocabularies=vocabulary_of,
        codes=codes,
        sets=sets,
        groups=_number_groups(catalogue.labels[group_column], positions)
        if group_column is not None
        else np.arange(len(positions), dtype=np.int64),
        dropped=tuple(dropped),
        rule=rule,
        catalogue=catalogue,
        _cache=cache,
        _positions=np.array(positions, np.int64),
    )


_Cells = list[tuple[str, ...] | None]


def _read_main_labels(
    texts: Sequence[str | None], failures: Mapping[int, str], label_map: LabelMap | None
) -> tuple[_Cells, list[str]]:
    """Return what each image allows, and why it is left out ("" where it is not)."""
    cells: _Cells = []
    reasons: list[str] = []
    for index, text in enumerate(texts):
        text = text or ""
        cell: tuple[str, ...] | None = split_cell(text)
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


def _frequent_labels(cells: _Cells, reasons: Sequence[str], least: int) -> tuple[str, ...]:
    """Return the labels that at least so many images have alone, sorted."""
    usable = (cell for cell, reason in zip(cells, reasons, strict=True) if not reason)
    counts = Counter(cell[0] for cell in usable if cell and len(cell) == 1)
    return tuple(sorted(label for label, count in counts.items() if count >= least))


def _keep_known(
    cells: _Cells, reasons: list[str], known: Sequence[str], least: int, *, fixed: bool
) -> None:
    """Take unknown labels out of the cells, and images out that had only such."""
    vocabulary = set(known)
    usable = [cell for cell, reason in zip(cells, reasons, strict=True) if not reason]
    counts = Counter(cell[0] for cell in usable if cell and len(cell) == 1)
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
            else f"label with too few images: {names} has {counts[cell[0]]} of {least}"
        )


def _number_groups(names: Sequence[str | None], positions: Sequence[int]) -> NDArray[np.int64]:
    """Return a number per image, the same for the same name; without a name, one of its own."""
    keys = [names[index] or ("", index) for index in positions]
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
