"""Tables of any kind, and which of their columns names the images: one answer for all commands."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from shopwindow.dataset.folder import ImageFolder
from shopwindow.dataset.matching import match_names
from shopwindow.dataset.parquet import ParquetTable
from shopwindow.dataset.records import JSON_LINES_SUFFIXES, SHEET_SUFFIXES, RecordTable
from shopwindow.dataset.shards import PARQUET_SUFFIXES, ParquetShards
from shopwindow.dataset.tables import DelimitedTable, LabelTable
from shopwindow.errors import UsageError

IMAGE_COLUMN_NAMES = ("image", "path", "file", "filename", "file_name", "image_path", "id")
LOOKED_AT = 500  # rows that say which of several columns names the images


def open_table(path: Path, source: Any = None, *, needs_header: bool = True) -> LabelTable:
    """Open a table of any kind, so that it means the same to every command.

    Args:
        path: The file; its ending tells the kind. Or a folder of `find_shards`.
        source: An open file to read a Parquet table from, where it does not lie at `path`.
        needs_header: Whether a first line that names an image is refused; if not, it is a row, and
            the columns are called 1, 2 and so on.

    Raises:
        MissingExtraError: A Parquet file, and pyarrow is not installed.
        DataError: It cannot be read.
    """
    if path.is_dir():
        return ParquetShards(path)
    if path.suffix.lower() in PARQUET_SUFFIXES:
        return ParquetTable(path, source)
    if path.name.lower().endswith((*SHEET_SUFFIXES, *JSON_LINES_SUFFIXES)):
        return RecordTable(path)
    return DelimitedTable(path, needs_header=needs_header)


def choose_image_column(
    table: LabelTable,
    folder: ImageFolder | None,
    wanted: str | None,
    remembered: str | None = None,
) -> str:
    """Return the column that names the images, or holds them.

    Args:
        table: The table.
        folder: Where its images are looked for; None for a table from elsewhere.
        wanted: What was asked for.
        remembered: What it was called in a training; taken where the table has it.

    Raises:
        UsageError: There is no such column, or it cannot be told which.
    """
    columns = table.columns
    if wanted is not None:
        if columns.count(wanted) != 1:
            count = columns.count(wanted)
            what = "There is no column" if count == 0 else f"There are {count} columns"
            raise UsageError(f"{what} {wanted!r} for --image-column. {listed_columns(table)}.")
        return wanted
    if remembered is not None and columns.count(remembered) == 1:
        return remembered
    held = [one for one in columns if isinstance(table, ParquetTable) and table.holds_bytes(one)]
    for only in (columns, held):
        if len(only) == 1:
            return only[0]
    named = [name for name in (*IMAGE_COLUMN_NAMES, *_numbers(table)) if columns.count(name) == 1]
    if not named:
        raise UsageError(
            f"No column is called {', '.join(IMAGE_COLUMN_NAMES)}. {listed_columns(table)}. Name "
            "the one with the images with --image-column."
        )
    if folder is None or len(named) == 1:
        return named[0]
    # The first of them, unless another finds more images: `id` may be the row's number.
    return max(named, key=lambda name: images_found(table, folder, name))


def listed_columns(table: LabelTable) -> str:
    """Return the names of the columns, for a message."""
    more = f" and {len(table.columns) - 50:,} more" if len(table.columns) > 50 else ""
    return f"The columns of {table.path} are: {', '.join(table.columns[:50])}{more}"


def _numbers(table: LabelTable) -> tuple[str, ...]:
    """Return the columns of a table without a header whose first row names an image."""
    return table.image_numbers if isinstance(table, DelimitedTable) else ()


def images_found(table: LabelTable, folder: ImageFolder, column: str) -> int:
    """Count of the first rows those whose cell names an image, or holds one."""
    if isinstance(table, ParquetTable) and table.holds_bytes(column):
        return LOOKED_AT
    rows = islice(table.rows((column,)), LOOKED_AT)
    names = [row.cells[0] for row in rows if not row.problem]
    plain = sum(not folder.find(name)[1] for name in names)
    if 2 * plain >= len(names):  # rules take a second, and are for tables that need one
        return plain
    return sum(not problem for _, problem in match_names(names, folder)[0])
