"""What is worth knowing about a data set before training on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shopwindow.data.dataset import Dataset
from shopwindow.data.labelled_images import DroppedRow


@dataclass(frozen=True)
class ColumnSizes:
    """How many images each label of a column has.

    Attributes:
        name: The column.
        sizes: (label, number of images), most images first.
        missing: Number of images without a label in this column.
    """

    name: str
    sizes: tuple[tuple[str, int], ...]
    missing: int


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that show the same picture.

    Attributes:
        indices: Two or more images of the data set, ascending.
        labels: The different main labels that they have, sorted.
        exact: Whether their pixels are equal, rather than nearly so.
    """

    indices: tuple[int, ...]
    labels: tuple[str, ...]
    exact: bool


@dataclass(frozen=True)
class DroppedKind:
    """Rows and image files that were left out for one kind of reason, as they were read."""

    kind: str
    rows: tuple[DroppedRow, ...]


@dataclass(frozen=True)
class Findings:
    """What `find_out` found.

    Attributes:
        columns: One entry per label column, the main one first.
        duplicates: Largest group first.
        dropped: Most frequent kind first.
    """

    columns: tuple[ColumnSizes, ...]
    duplicates: tuple[DuplicateGroup, ...]
    dropped: tuple[DroppedKind, ...]

    @property
    def contradictions(self) -> tuple[DuplicateGroup, ...]:
        """Duplicates with different main labels."""
        return tuple(group for group in self.duplicates if len(group.labels) > 1)


def find_out(dataset: Dataset) -> Findings:
    """Count labels, group duplicates, and group what was left out."""
    columns = tuple(_column_sizes(dataset, name) for name in dataset.label_columns)
    return Findings(columns, _duplicate_groups(dataset), _dropped_kinds(dataset.dropped))


def _column_sizes(dataset: Dataset, name: str) -> ColumnSizes:
    codes = dataset.codes[name]
    # Images that allow several labels are counted by what stands in their cell.
    names = dataset.cell_names(name)
    counts = np.bincount(codes[codes >= 0], minlength=len(names)).tolist()
    # Labels are sorted, and so stay where counts are equal.
    sizes = sorted(zip(names, counts, strict=True), key=lambda size: -size[1])
    return ColumnSizes(name, tuple(sizes), int((codes < 0).sum()))


def _duplicate_groups(dataset: Dataset) -> tuple[DuplicateGroup, ...]:
    numbers = dataset.duplicate_groups()
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    main = dataset.label_columns[0]
    names, codes = dataset.cell_names(main), dataset.codes[main]
    groups = []
    for members in np.split(order, starts[1:]):
        if len(members) > 1:
            images = dataset.images(members)
            labels = tuple(names[code] for code in np.unique(codes[members]))
            exact = bool((images == images[0]).all())
            groups.append(DuplicateGroup(tuple(members.tolist()), labels, exact))
    return tuple(sorted(groups, key=lambda group: (-len(group.indices), group.indices)))


def _dropped_kinds(dropped: Sequence[DroppedRow]) -> tuple[DroppedKind, ...]:
    by_kind: dict[str, list[DroppedRow]] = {}
    for row in dropped:
        by_kind.setdefault(row.kind, []).append(row)
    counts = Counter({kind: len(rows) for kind, rows in by_kind.items()})
    return tuple(DroppedKind(kind, tuple(by_kind[kind])) for kind, _ in counts.most_common())
