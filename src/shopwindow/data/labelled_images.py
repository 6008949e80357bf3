"""Images with their labels as they are on disk, and what was left out of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shopwindow.data.parts import Role
from shopwindow.plain_text import listed

LABEL_COLUMN_NAME = "label"
# What is not read, though it may hold the labels.
_FOREIGN_TABLES = (".json", ".xls", ".ods", ".numbers", ".db", ".sqlite", ".xml", ".txt", ".pkl")
# What an image is called, where it comes from, and its label in each column
Row = tuple[str, str, tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class DroppedRow:
    """A row or image file that is left out.

    Attributes:
        where: "row 17" (see `TableRow.number`), or "file" for an image file.
        reference: What the row calls its image, or the file's relative path.
        reason: "kind" or "kind: detail"; the kinds are few, so that a summary can count them.
    """

    where: str
    reference: str
    reason: str

    @property
    def kind(self) -> str:
        """The reason without its detail."""
        return self.reason.partition(": ")[0]

    @property
    def detail(self) -> str:
        """The reason without its kind."""
        return self.reason.partition(": ")[2]


class ImageSource(Protocol):
    """Where the bytes of the images come from."""

    @property
    def root(self) -> Path:
        """The folder, absolute."""

    def read_bytes(self, reference: str) -> bytes:
        """Return the original bytes of one image. Raises `ImageError` where it cannot."""

    def stamp(self, reference: str) -> tuple[int, int]:
        """Return size (bytes) and modification time (ns)."""


@dataclass(frozen=True)
class LabelledImages:
    """Images with labels, before any decoding, sorted by reference.

    Attributes:
        label_columns: Names of the label columns; the first is the main one.
        references: One name per image: a relative POSIX path, or `part.parquet#12`. Unique.
        labels: The label of each image by column. None, no label, occurs in attributes only.
        where: Where each image comes from, as in `DroppedRow.where`.
        dropped: What was left out, in the order in which it was read.
        source: Reads the bytes.
        image_column: The column that names the images, or holds them; None for class folders.
        roles: What each image is for, where the data set comes in parts.
        notes: How the data was read, a sentence each, for people to see.
        unused: Files of the folder that are neither images nor the table.
        named_labels: Every main label that a row or a class folder names, also without an image.
    """

    label_columns: tuple[str, ...]
    references: list[str]
    labels: dict[str, list[str | None]]
    where: list[str]
    dropped: list[DroppedRow]
    source: ImageSource
    image_column: str | None = None
    roles: tuple[Role, ...] = ()
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    named_labels: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.references)

    def read_bytes(self, index: int) -> bytes:
        """Return the original bytes of one image.

        Raises:
            ImageError: It is gone, may not be read, or is too large.
        """
        return self.source.read_bytes(self.references[index])


def build_images(
    label_columns: tuple[str, ...],
    rows: list[Row],
    dropped: list[DroppedRow],
    source: ImageSource,
) -> LabelledImages:
    """Put rows together, sorted by reference; each has as many labels as there are columns."""
    # Sorted, so that nothing later on depends on the order of the rows.
    rows = sorted(rows, key=lambda row: row[0])
    return LabelledImages(
        label_columns=label_columns,
        references=[reference for reference, _, _ in rows],
        labels={
            column: [labels[position] for _, _, labels in rows]
            for position, column in enumerate(label_columns)
        },
        where=[where for _, where, _ in rows],
        dropped=dropped,
        source=source,
    )


def nothing_left(data: Path, dropped: Sequence[DroppedRow], unused: Sequence[str] = ()) -> str:
    """Return the sentence for a data set in which no image is left."""
    if not dropped:
        others = "".join(f" {note}." for note in name_unused(unused))
        return f"No image is left in {data}: it holds no rows and no image files.{others}"
    kinds = Counter(row.kind for row in dropped).most_common(4)
    counts = "; ".join(f"{count:,} × {kind}" for kind, count in kinds)
    first = next(row for row in dropped if row.kind == kinds[0][0])
    foreign = [name for name in unused if name.lower().endswith(_FOREIGN_TABLES)]
    table = f" If {foreign[0]} is the table of the labels, save it as CSV." if foreign else ""
    return (
        f"No image is left in {data}: {len(dropped):,} rows and image files were left out "
        f"({counts}). The first, {first.where} ({first.reference[:100]!r}): {first.reason}.{table}"
    )


def name_unused(names: Sequence[str]) -> list[str]:
    """Return a sentence about files that are not images, if there are any, in a list."""
    if not names:
        return []
    if len(names) == 1:
        return [f"1 file is not an image, and is not used: {names[0]}"]
    return [f"{len(names):,} files are not images, and are not used: {listed(names, 3)}"]
