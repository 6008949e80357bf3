"""A data set that is ready for training: decoded, filtered, and its labels numbered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shopwindow.data.cache import ImageCache, open_cache
from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.duplicates import open_duplicates
from shopwindow.data.label_sets import (
    SEPARATOR,
    LabelMap,
    bars_of,
    meaning_of_bars,
    name_bars,
    number_labels,
    split_cell,
)
from shopwindow.data.labelled_images import (
    LABEL_COLUMN_NAME,
    DroppedRow,
    LabelledImages,
    nothing_left,
)
from shopwindow.data.layout import Role, held_out_role
from shopwindow.data.main_labels import (
    count_labels,
    keep_known,
    lost_labels,
    name_lost,
    read_main_labels,
    wanted_bars,
)
from shopwindow.errors import DataError, UsageError
from shopwindow.imaging.preprocess import ResizeRule
from shopwindow.plain_text import NONE_OF_THEM, printable


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
        roles: Of each image, what the part of the data set that it is in is for; empty where it has
            no parts.
        notes: What was taken for what, and what got lost: sentences for people to see.
        lost_labels: Main labels that rows or folders name, and that are not learned; empty where
            the labels are given.
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
    roles: tuple[Role, ...]
    notes: tuple[str, ...]
    lost_labels: tuple[str, ...]
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

    @property
    def given_split(self) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The images to learn from, and those of the part that is there to judge by, if there is.

        Where there is a validation part, a test part is in neither.
        """
        judge = held_out_role(self.roles)
        if judge is None:
            return None
        learned = [role not in ("valid", "test") for role in self.roles]
        return np.flatnonzero(learned), np.flatnonzero([role == judge for role in self.roles])

    @property
    def is_whole(self) -> bool:
        """Whether every row, image, label and file of the data is in use."""
        return not (self.dropped or self.catalogue.unused or self.lost_labels)

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
    bars: str | None = None,
    with_test: bool = True,
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
        bars: What `Tshirts|Tops` means: `any` of these labels would be right, or `path`: it is one
            label, below another. By default it is told from the cells, or from the given
            vocabularies.
        with_test: Whether to take in the test part of a data set that also has a validation part:
            a training has no use for it.
        cache_dir: See `open_cache`.
        progress: Show a progress bar on stderr while decoding.

    Raises:
        UsageError: A wrong path, column or number.
        MissingExtraError: A Parquet file, and pyarrow is not installed.
        DataError: A table that cannot be read, no image left, or no room for the cache.
    """
    if min_images < 1:
        raise UsageError(f"--min-images: expected 1 or more, got {min_images}.")
    wanted = wanted_bars(bars)
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
    if vocabularies and main not in vocabularies and LABEL_COLUMN_NAME in vocabularies:
        # The column was told from the file, and has a name of its own.
        vocabularies = {**vocabularies, main: vocabularies[LABEL_COLUMN_NAME]}
    bars_in = {
        column: wanted
        or (bars_of(vocabularies[column]) if vocabularies and column in vocabularies else None)
        or meaning_of_bars(set(filter(None, catalogue.labels[column])))
        for column in label_columns
    }
    cells, reasons = read_main_labels(
        catalogue.labels[main], cache.failures, label_map, bars_in[main]
    )
    roles = catalogue.roles
    judge = held_out_role(roles)
    learned = [
        judge is None or role not in ("valid", "test") for role in roles or [""] * len(cells)
    ]
    counts = count_labels(cells, reasons, learned)
    read = list(cells)  # as they are, before unknown labels are taken out
    known = (
        vocabularies[main]
        if vocabularies
        else tuple(sorted(label for label, count in counts.items() if count >= min_images))
    )
    keep_known(cells, reasons, known, counts, min_images, fixed=vocabularies is not None)
    lost = (
        lost_labels(catalogue.named_labels, known, bars_in[main])
        if vocabularies is None and label_map is None
        else ()
    )
    positions = [
        index
        for index, reason in enumerate(reasons)
        if not reason and (with_test or judge != "valid" or roles[index] != "test")
    ]
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
            kept = [split_cell(texts[index] or "", bars_in[column]) or None for index in positions]
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
    dataset = Dataset(
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
        roles=tuple(roles[index] for index in positions) if roles else (),
        notes=(
            *catalogue.notes,
            *(
                note
                for column in label_columns
                if column != main or label_map is None
                for note in name_bars(
                    column, [*filter(None, catalogue.labels[column])], bars_in[column]
                )
            ),
            *name_lost(lost, read, counts, min_images),
        ),
        lost_labels=lost,
        _cache=cache,
        _positions=np.array(positions, np.int64),
    )
    notes = (*dataset.notes, *_notes_on_copies(dataset))
    return replace(dataset, notes=tuple(map(printable, notes)))


def _notes_on_copies(dataset: Dataset) -> Iterator[str]:
    """Say where the part that judges shows pictures that are learned from."""
    if dataset.given_split is None:
        return
    groups = dataset.duplicate_groups()
    learned, judging = dataset.given_split
    known = np.isin(groups[judging], groups[learned])
    if known.any():
        yield (
            f"{int(known.sum()):,} of the {len(known):,} held-out images show the same picture as "
            "one that is learned from: the grade comes out too good"
        )


def _number_groups(names: Sequence[str | None], positions: Sequence[int]) -> NDArray[np.int64]:
    """Return a number per image, the same for the same name; without a name, one of its own."""
    keys = [names[index] or ("", index) for index in positions]
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
