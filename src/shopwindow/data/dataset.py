"""A data set that is ready for training: decoded, filtered, and its labels numbered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shopwindow.data.cache import ImageCache, open_cache
from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.corrections import Corrections, correction_key, count_corrections
from shopwindow.data.duplicates import open_duplicates
from shopwindow.data.label_sets import (
    SEPARATOR,
    Bars,
    bars_of,
    keep_known,
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
from shopwindow.data.main_labels import choose_main_labels, lost_labels
from shopwindow.data.parts import Role, held_out_role
from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError
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
        roles: What each image is for; empty where the data set does not come in parts.
        notes: How the data was read, and what was lost: sentences for people to see.
        corrections: Those that were applied, as a bundle records them; None where none were asked.
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
    corrections: Corrections | None
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
        """Open the features that a network made of the images, kept beside their cache.

        Args:
            name: Of the network: letters and digits.
            width: Features of an image.

        Returns:
            A writable memory map of float16 (rows of the cache, width), NaN where nothing was
            computed yet; and the (N,) rows of this data set's images in it.
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
        """(N,) `digest_of` each image's file, which identifies it wherever it is."""
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
        """The images to learn from, and those of the part to judge by, if there is such a part.

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
    vocabularies: Mapping[str, Sequence[str]] | None = None,
    with_test: bool = True,
    cache_dir: Path | None = None,
    progress: bool = True,
    **reading: Any,
) -> Dataset:
    """Read a data set, decode its images once, and leave out labels with too few of them.

    Args:
        data: A folder or a table; see `DataSpec`.
        rule: Size and method to which images are resized.
        vocabularies: See `DataSpec.load`, also for `with_test`, `cache_dir` and `progress`.
        with_test: Whether to take in the test part of data that has a validation part as well.
        cache_dir: Where decoded images are kept.
        progress: Show a progress bar on stderr while decoding.
        **reading: Further fields of `DataSpec`, such as `label_column`.

    Raises:
        UsageError: A wrong path, column or number.
        MissingExtraError: A Parquet file, and pyarrow is not installed.
        DataError: A table that cannot be read, no image left, or no room for the cache.
    """
    return DataSpec(data, **reading).load(
        rule=rule,
        vocabularies=vocabularies,
        with_test=with_test,
        cache_dir=cache_dir,
        progress=progress,
    )


def build_dataset(
    spec: DataSpec,
    *,
    rule: ResizeRule,
    vocabularies: Mapping[str, Sequence[str]],
    with_test: bool,
    cache_dir: Path | None,
    progress: bool,
) -> Dataset:
    """Do what `DataSpec.load` says."""
    catalogue = read_catalogue(spec)
    cache = open_cache(catalogue, rule, cache_dir, progress=progress)
    label_columns = catalogue.label_columns[: 1 + len(spec.also)]
    main, *further = label_columns
    if main not in vocabularies and LABEL_COLUMN_NAME in vocabularies:
        # The file itself says which column is the main one, by another name.
        vocabularies = {**vocabularies, main: vocabularies[LABEL_COLUMN_NAME]}
    bars = {
        column: spec.bars
        or (bars_of(vocabularies[column]) if column in vocabularies else None)
        or meaning_of_bars(set(filter(None, catalogue.labels[column])))
        for column in label_columns
    }
    roles: Sequence[Role] = catalogue.roles or [""] * len(catalogue)
    held_out = held_out_role(roles)
    corrected = _corrected(spec, catalogue, cache, vocabularies.get(main, ()), bars[main])
    chosen = choose_main_labels(
        catalogue.labels[main],
        cache.failures,
        [held_out is None or role not in ("valid", "test") for role in roles],
        bars=bars[main],
        label_map=spec.label_map,
        min_images=spec.min_images,
        vocabulary=vocabularies[main] if vocabularies else None,
        corrected=corrected,
    )
    positions, dropped = [], list(catalogue.dropped)
    for index, reason in enumerate(chosen.reasons):
        if reason:
            where = catalogue.where[index]
            dropped.append(DroppedRow(where, catalogue.references[index], reason))
        elif with_test or held_out != "valid" or roles[index] != "test":
            positions.append(index)
    if not positions:
        raise DataError(nothing_left(spec.data, dropped))
    known, codes, sets = {main: chosen.vocabulary}, {}, {}
    cells: list[tuple[str, ...] | None] = [chosen.cells[index] for index in positions]
    codes[main], sets[main] = number_labels(cells, known[main])
    for column in further:
        texts = catalogue.labels[column]
        found = [split_cell(texts[index] or "", bars[column]) for index in positions]
        single = {cell[0] for cell in found if len(cell) == 1}
        known[column] = tuple(vocabularies.get(column, sorted(single)))
        codes[column], sets[column] = number_labels(keep_known(found, known[column]), known[column])
    # Where labels are given or mapped, what the data calls them is not what is learned.
    is_own = not vocabularies and spec.label_map is None
    lost = lost_labels(catalogue.named_labels, known[main], bars[main]) if is_own else ()
    notes = [*catalogue.notes, *count_corrections(corrected)]
    for column in label_columns if spec.label_map is None else further:
        notes += name_bars(column, [*filter(None, catalogue.labels[column])], bars[column])
    notes += chosen.name_lost(lost, spec.min_images)
    dataset = Dataset(
        references=tuple(catalogue.references[index] for index in positions),
        label_columns=label_columns,
        vocabularies=known,
        codes=codes,
        sets=sets,
        groups=np.arange(len(positions), dtype=np.int64)
        if spec.group_column is None
        else _number_groups(catalogue.labels[spec.group_column], positions),
        dropped=tuple(dropped),
        rule=rule,
        catalogue=catalogue,
        roles=tuple(roles[index] for index in positions) if catalogue.roles else (),
        notes=(),
        lost_labels=lost,
        corrections=None
        if spec.corrections is None
        else Corrections(
            {
                correction_key(catalogue.references[index], int(cache.digests[index])): label
                for index, label in corrected.items()
            },
            is_recorded=True,
        ),
        _cache=cache,
        _positions=np.array(positions, np.int64),
    )
    notes += _name_copies(dataset)
    return replace(dataset, notes=tuple(map(printable, notes)))


def _corrected(
    spec: DataSpec,
    catalogue: LabelledImages,
    cache: ImageCache,
    vocabulary: Sequence[str],
    bars: Bars,
) -> dict[int, str | None]:
    """Return the corrections by the positions of their images in the catalogue."""
    if spec.corrections is None:
        return {}
    cells = {text for text in catalogue.labels[catalogue.label_columns[0]] if text}
    label_map = spec.label_map or {}
    meant = [label_map.get(text) or split_cell(text, bars) for text in cells]
    known = {*vocabulary, *chain.from_iterable(meant)}
    digests = [int(digest) for digest in cache.digests]
    return spec.corrections.of_images(catalogue.references, digests, known)


def _name_copies(dataset: Dataset) -> Iterator[str]:
    """Say whether the part that judges shows pictures that are learned from."""
    if dataset.given_split is None:
        return
    groups = dataset.duplicate_groups()
    learned, judging = dataset.given_split
    known = np.isin(groups[judging], groups[learned])
    if known.any():
        yield (
            f"{int(known.sum()):,} of the {len(known):,} held-out images show the same picture as "
            "a training image, so the grade will be too good"
        )


def _number_groups(names: Sequence[str | None], positions: Sequence[int]) -> NDArray[np.int64]:
    """Return a number per image, the same for the same name; without a name, one of its own."""
    keys = [names[index] or ("", index) for index in positions]
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
