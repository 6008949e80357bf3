"""A data set that is ready for training: decoded, filtered, and its labels numbered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
from shopwindow.errors import DataError, UsageError
from shopwindow.imaging.preprocess import ResizeRule


@dataclass(frozen=True)
class Dataset:
    """N images with their labels as numbers, sorted by reference.

    Attributes:
        references: One unique name per image: a relative POSIX path, or `part.parquet#12`.
        label_columns: Names of the label columns; the first is the main one.
        vocabularies: The labels that occur in each column, sorted: a code is a position in it.
        codes: Per column (N,) int64; -1 where there is no label, in attributes only.
        dropped: Every row and image file that was left out, with its reason.
        rule: Size and method to which the images were resized.
        catalogue: What the data set was read from; also the images that were left out.
    """

    references: tuple[str, ...]
    label_columns: tuple[str, ...]
    vocabularies: dict[str, tuple[str, ...]]
    codes: dict[str, NDArray[np.int64]]
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

    def read_bytes(self, index: int) -> bytes:
        """Return the original bytes of one image.

        Raises:
            ImageError: It is gone, or may not be read.
        """
        return self.catalogue.read_bytes(int(self._positions[index]))

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
    min_images: int = 11,
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
        min_images: Main labels with fewer usable images are left out; 1 keeps all.
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
    )
    cache = open_cache(catalogue, rule, cache_dir, progress=progress)
    dropped = list(catalogue.dropped)
    main = catalogue.labels[catalogue.label_columns[0]]
    counts = Counter(label for index, label in enumerate(main) if index not in cache.failures)
    positions = []
    for index, label in enumerate(main):
        if index in cache.failures:
            reason = f"unreadable image: {cache.failures[index]}"
        elif counts[label] < min_images:
            reason = f"label with too few images: {label!r} has {counts[label]} of {min_images}"
        else:
            positions.append(index)
            continue
        dropped.append(DroppedRow(catalogue.where[index], catalogue.references[index], reason))
    if not positions:
        raise DataError(nothing_left(data, dropped))
    vocabularies, codes = {}, {}
    for column, labels in catalogue.labels.items():
        kept = [labels[index] for index in positions]
        vocabularies[column] = tuple(sorted({label for label in kept if label is not None}))
        code_of: dict[str | None, int] = {
            label: code for code, label in enumerate(vocabularies[column])
        }
        codes[column] = np.array([code_of.get(label, -1) for label in kept], np.int64)
    return Dataset(
        references=tuple(catalogue.references[index] for index in positions),
        label_columns=catalogue.label_columns,
        vocabularies=vocabularies,
        codes=codes,
        dropped=tuple(dropped),
        rule=rule,
        catalogue=catalogue,
        _cache=cache,
        _positions=np.array(positions, np.int64),
    )
