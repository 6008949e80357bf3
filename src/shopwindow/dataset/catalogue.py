"""Labelled images as they lie on disk: a table and a folder, class folders, or Parquet.

Nothing is decoded here. Every row and every image file that is left out has its reason.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from shopwindow.dataset.columns import choose_image_column, listed_columns, open_table
from shopwindow.dataset.folder import ImageFolder
from shopwindow.dataset.parquet import ParquetTable
from shopwindow.dataset.tables import TABLE_SUFFIXES, LabelTable
from shopwindow.errors import DataError, UsageError

LABEL_COLUMN_NAME = "label"
_MAX_LABEL_CHARACTERS = 200
_SPLIT_FOLDERS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))


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
    """

    label_columns: tuple[str, ...]
    references: list[str]
    labels: dict[str, list[str | None]]
    where: list[str]
    dropped: list[DroppedRow]
    source: ImageSource
    image_column: str | None = None

    def __len__(self) -> int:
        return len(self.references)

    def read_bytes(self, index: int) -> bytes:
        """Return the original bytes of one image.

        Raises:
            ImageError: It is gone, may not be read, or is too large.
        """
        return self.source.read_bytes(self.references[index])


def read_catalogue(
    data: Path,
    *,
    labels_file: Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    also: Sequence[str] = (),
    group_column: str | None = None,
) -> LabelledImages:
    """Read which image has which labels.

    Args:
        data: A folder with one table (`.csv`, `.tsv`, `.parquet`) and images in it or in its
            `images` folder; or a folder with one folder per class; or a table, whose folder holds
            the images.
        labels_file: The table, relative to the working directory or to `data`. By default the only
            one in `data`; where there is none, each folder in `data` is a class.
        image_column: Column with the image: a path, or a file name with or without extension; in
            Parquet also the image's bytes. By default that of `IMAGE_COLUMN_NAMES` by which most
            images are found.
        label_column: Column with the main label, by default `label`.
        also: Further label columns. Their cells may be empty.
        group_column: Column of what images have in common, such as who took them; the last of the
            label columns that are returned.

    Raises:
        UsageError: A path or column that is not there. The message lists the columns there are.
        MissingExtraError: A Parquet file, and pyarrow is not installed.
        DataError: A table that cannot be read, or no usable image in it.
    """
    folder_path, table_path = _locate(data, labels_file)
    if table_path is None:
        for option, value in (
            ("--image-column", image_column),
            ("--label-column", label_column),
            ("--also", also),
            ("--group-column", group_column),
        ):
            if value:
                raise UsageError(
                    f"{option} has no effect, since {data} holds no table (.csv, .tsv, .parquet): "
                    "its folders are the labels. Name a table with --labels."
                )
        catalogue = _read_class_folders(ImageFolder(folder_path))
    else:
        table = open_table(table_path)
        folder = ImageFolder(folder_path)
        image_column, label_columns = _choose_columns(
            table, folder, image_column, label_column, also, group_column
        )
        if isinstance(table, ParquetTable) and table.holds_bytes(image_column):
            source = table.open_images(image_column)
            catalogue = _read_table(table, None, source, image_column, label_columns)
        else:
            catalogue = _read_table(table, folder, folder, image_column, label_columns)
    if not catalogue.references:
        raise DataError(nothing_left(data, catalogue.dropped))
    return catalogue


def nothing_left(data: Path, dropped: Sequence[DroppedRow]) -> str:
    """Return the sentence for a data set in which no image is left."""
    if not dropped:
        return f"No image is left in {data}: it holds no rows and no image files."
    kinds = Counter(row.kind for row in dropped).most_common(4)
    counts = "; ".join(f"{count:,} × {kind}" for kind, count in kinds)
    first = next(row for row in dropped if row.kind == kinds[0][0])
    return (
        f"No image is left in {data}: {len(dropped):,} rows and image files were left out "
        f"({counts}). The first, {first.where} ({first.reference[:100]!r}): {first.reason}."
    )


def _locate(data: Path, labels_file: Path | None) -> tuple[Path, Path | None]:
    """Return the folder with the images, and the table if there is one."""
    if data.is_file():
        if labels_file is not None:
            raise UsageError(
                f"{data} is a file, and {labels_file} names the labels: with --labels, DATA is the "
                "folder with the images."
            )
        if data.suffix.lower() not in TABLE_SUFFIXES:
            raise UsageError(
                f"{data} is a file: expected a folder of images, or a table "
                f"({', '.join(TABLE_SUFFIXES)})."
            )
        return data.parent, data
    if not data.is_dir():
        raise UsageError(f"There is no folder {data}.")
    if labels_file is not None:
        for path in (labels_file, data / labels_file):
            if path.is_file():
                return data, path
        raise UsageError(f"There is no file {labels_file}, neither here nor in {data}.")
    try:
        tables = sorted(path for path in data.iterdir() if _is_table(path))
    except OSError as error:
        raise DataError(f"{data} cannot be listed: {error.strerror}.") from error
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise UsageError(f"{data} holds {len(tables)} tables ({names}): name one with --labels.")
    return data, tables[0] if tables else None


def table_columns(data: Path, labels_file: Path | None = None) -> tuple[str, ...] | None:
    """Return the columns of the table that `read_catalogue` reads; None where it reads none.

    Raises:
        UsageError: A table that is not there, or one of several.
        DataError: It cannot be read.
    """
    _, table_path = _locate(data, labels_file)
    return None if table_path is None else open_table(table_path).columns


def has_table(data: Path) -> bool:
    """Say whether there is a table of labels where `read_catalogue` looks for one."""
    return data.is_file() or (data.is_dir() and any(map(_is_table, data.iterdir())))


def _is_table(path: Path) -> bool:
    hidden = path.name.startswith(".")  # macOS leaves a `._labels.csv` beside each `labels.csv`
    return not hidden and path.suffix.lower() in TABLE_SUFFIXES and path.is_file()


def _choose_columns(
    table: LabelTable,
    folder: ImageFolder,
    image_column: str | None,
    label_column: str | None,
    also: Sequence[str],
    group_column: str | None,
) -> tuple[str, tuple[str, ...]]:
    listed = listed_columns(table)
    image_column = choose_image_column(table, folder, image_column)
    groups = () if group_column is None else (group_column,)
    label_columns = (label_column or LABEL_COLUMN_NAME, *also, *groups)
    options = (
        "--image-column",
        "--label-column",
        *["--also"] * len(also),
        *["--group-column"] * len(groups),
    )
    for option, name in zip(options, (image_column, *label_columns), strict=True):
        count = table.columns.count(name)
        if count != 1:
            what = "There is no column" if count == 0 else f"There are {count} columns"
            if option == "--label-column" and label_column is None:
                raise UsageError(
                    f"{what} {name!r}. {listed}. Name the one with the labels with --label-column."
                )
            raise UsageError(f"{what} {name!r} for {option}. {listed}.")
    if len({image_column, *label_columns}) < 1 + len(label_columns):
        raise UsageError(
            "Each column can have one role: expected different columns for the image "
            f"({image_column}), the labels and the groups ({', '.join(label_columns)})."
        )
    return image_column, label_columns


def _read_table(
    table: LabelTable,
    folder: ImageFolder | None,
    source: ImageSource,
    image_column: str,
    label_columns: tuple[str, ...],
) -> LabelledImages:
    dropped: list[DroppedRow] = []
    kept: list[tuple[str, str, tuple[str | None, ...]]] = []
    named: set[str] = set()
    for row in table.rows((image_column, *label_columns)):
        where = f"row {row.number}"
        name = row.cells[0] if row.cells else ""
        reference, problem = name, row.problem
        if not problem and folder is not None:
            reference, problem = folder.find(name)
            named.add(reference)
        if not problem:
            problem = _label_problem(label_columns, row.cells[1:])
        if problem:
            dropped.append(DroppedRow(where, name[:_MAX_LABEL_CHARACTERS], problem))
        else:
            cells = (unicodedata.normalize("NFC", cell) for cell in row.cells[1:])
            kept.append((reference, where, tuple(cell or None for cell in cells)))
    unique, repeated = _drop_repeated(kept)
    dropped += repeated
    if folder is not None:
        dropped += [
            DroppedRow("file", name, folder.refused.get(name, "no row names this image file"))
            for name in sorted({*folder.images, *folder.refused} - named)
        ]
    found = _build(label_columns, unique, dropped, source)
    return replace(found, image_column=image_column)


def _label_problem(columns: Sequence[str], cells: Sequence[str]) -> str:
    if not cells[0]:
        return "no label"
    for column, cell in zip(columns, cells, strict=True):
        if len(cell) > _MAX_LABEL_CHARACTERS:
            return f"label too long: {len(cell):,} characters in column {column}"
    return ""


def _drop_repeated(
    rows: list[tuple[str, str, tuple[str | None, ...]]],
) -> tuple[list[tuple[str, str, tuple[str | None, ...]]], list[DroppedRow]]:
    """Keep one row per image, and none of an image that has two labels: either may be wrong."""
    labels_of: dict[str, list[str]] = {}
    for reference, _, (label, *_) in rows:
        found = labels_of.setdefault(reference, [])
        if label is not None and label not in found:
            found.append(label)
    kept, dropped = [], []
    first: dict[str, str] = {}
    for reference, where, labels in rows:
        if len(labels_of[reference]) > 1:
            names = ", ".join(repr(label) for label in labels_of[reference])
            dropped.append(DroppedRow(where, reference, f"different labels for one image: {names}"))
        elif reference in first:
            reason = f"repeated: same image and label as {first[reference]}"
            dropped.append(DroppedRow(where, reference, reason))
        else:
            first[reference] = where
            kept.append((reference, where, labels))
    return kept, dropped


def _read_class_folders(folder: ImageFolder) -> LabelledImages:
    dropped = [DroppedRow("file", name, reason) for name, reason in sorted(folder.refused.items())]
    kept: list[tuple[str, str, tuple[str | None, ...]]] = []
    for name in folder.images:
        label, slash, _ = name.partition("/")
        if not slash:
            dropped.append(DroppedRow("file", name, "not in a class folder"))
        elif not _is_unicode(label):
            dropped.append(DroppedRow("file", name, "the name of its folder is not UTF-8"))
        else:
            kept.append((name, "file", (unicodedata.normalize("NFC", label),)))
    found = {labels[0] for _, _, labels in kept}
    if found and all(label is not None and label.lower() in _SPLIT_FOLDERS for label in found):
        names = ", ".join(sorted(label for label in found if label))
        raise UsageError(
            f"The folders of {folder.root} are parts of a data set ({names}), not labels: name one "
            "of them as DATA."
        )
    return _build((LABEL_COLUMN_NAME,), kept, dropped, folder)


def _is_unicode(text: str) -> bool:
    """Say whether a name can be written into a bundle: odd bytes of a file system cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _build(
    label_columns: tuple[str, ...],
    rows: list[tuple[str, str, tuple[str | None, ...]]],
    dropped: list[DroppedRow],
    source: ImageSource,
) -> LabelledImages:
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
