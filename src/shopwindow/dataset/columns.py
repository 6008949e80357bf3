"""Tables of any kind, and which of their columns names the images: one answer for all commands."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from shopwindow.dataset.folder import ImageFolder
from shopwindow.dataset.parquet import ParquetTable
from shopwindow.dataset.tables import DelimitedTable, LabelTable
from shopwindow.errors import UsageError

IMAGE_COLUMN_NAMES = ("image", "path", "file", "filename", "file_name", "image_path", "id")
_LOOKED_AT = 500  # rows that say which of several columns names the images


def open_table(path: Path, source: Any = None, *, needs_header: bool = True) -> LabelTable:
    """Open a table of any kind, so that it means the same to every command.

    Args:
        path: The file; its ending tells the kind.
        source: An open file to read a Parquet table from, where it does not lie at `path`.
        needs_header: Whether a first line that names an image is refused; if not, it is a row, and
            the columns are called 1, 2 and so on.

    Raises:
        MissingExtraError: A Parquet file, and pyarrow is not installed.
        DataError: It cannot be read.
    """
    if path.suffix.lower() in (".parquet", ".pq"):
        return ParquetTable(path, source)
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
    return max(named, key=lambda name: _images_found(table, folder, name))


def listed_columns(table: LabelTable) -> str:
    """Return the names of the columns, for a message."""
    more = f" and {len(table.columns) - 50:,} more" if len(table.columns) > 50 else ""
    return f"The columns of {table.path} are: {', '.join(table.columns[:50])}{more}"


def _numbers(table: LabelTable) -> tuple[str, ...]:
    """Return the columns of a table without a header whose first row names an image."""
    return table.image_numbers if isinstance(table, DelimitedTable) else ()


def _images_found(table: LabelTable, folder: ImageFolder, column: str) -> int:
    """Count of the first rows those whose cell names an image, or holds one."""
    if isinstance(table, ParquetTable) and table.holds_bytes(column):
        return _LOOKED_AT
    rows = islice(table.rows((column,)), _LOOKED_AT)
    return sum(not row.problem and not folder.find(row.cells[0])[1] for row in rows)
