"""A table -> the paths or the image bytes in one of its columns, row by row.

It is read as a training reads it, so that the table that trains can be predicted: the same
separators, columns and names. Only what is not in its folder is taken too: other
folders, and URLs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from shopwindow.bulk.listing import Notes
from shopwindow.bulk.remote import is_url, open_url
from shopwindow.data.columns import choose_image_column, open_table
from shopwindow.data.folder import ImageFolder
from shopwindow.data.matching import match_names
from shopwindow.data.parquet import ParquetTable
from shopwindow.data.tables import TABLE_SUFFIXES, LabelTable, TableRow
from shopwindow.errors import DataError, MissingExtraError, UsageError

BUFFER_BYTES = 1 << 20  # read by the piece, not by the column chunk, which may have gigabytes

_MATCHED_AT_ONCE = 100_000  # rows whose names are compared with those of the files

Cell = tuple[str, str, int]


def is_table(place: str) -> bool:
    """Say whether a file or URL is called like a table."""
    return place.lower().endswith(TABLE_SUFFIXES)


def read_table(
    place: str,
    image_column: str | None,
    usual_column: str | None = None,
    notes: Notes | None = None,
) -> Iterator[Cell]:
    """Yield (path, column, row) of every row; column and row are those of a cell of image bytes.

    A path is relative to the folder of the table, and may differ from that of its file as in a
    training; see `match_names`. One row without a path is one with an empty path.

    Args:
        place: The table: a file or a URL.
        image_column: Its column; None takes the one that a training would take.
        usual_column: What it was called in the training of the model; taken where there is one.
        notes: Is told which names were taken for which files.

    Raises:
        UsageError: The table cannot be read, or has no such column.
        MissingExtraError: Parquet without pyarrow.
    """
    folder = place.rpartition("/")[0]
    try:
        with _opened(place) as table:
            listed = None if is_url(place) else ImageFolder(Path(folder or "."))
            column = choose_image_column(table, listed, image_column, usual_column)
            if isinstance(table, ParquetTable) and table.holds_bytes(column):
                for row in range(len(table)):
                    yield place, column, row
                return
            cells = (_cell_of(row, column == table.columns[0]) for row in table.rows((column,)))
            for path in _paths(cells, folder, listed, notes):
                yield path, "", -1
    except DataError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{place} cannot be read: {error.strerror or error}.") from error


def _cell_of(row: TableRow, is_first: bool) -> str:
    """Return the cell of a row; of one that is too short, only the first is known."""
    return row.cells[0] if row.cells and (is_first or not row.problem) else ""


def _paths(
    cells: Iterator[str], folder: str, listed: ImageFolder | None, notes: Notes | None
) -> Iterator[str]:
    """Yield the path of what a training would find by each cell; without any, as it stands."""
    while block := list(islice(cells, _MATCHED_AT_ONCE)):
        lost = [cell for cell in block if listed is not None and _is_lost(cell, folder)]
        found: dict[str, str] = {}
        if listed is not None and lost:
            matches, told = match_names(lost, listed)
            found = {
                cell: reference
                for cell, (reference, problem) in zip(lost, matches, strict=True)
                if not problem
            }
            if notes is not None:
                notes.sentences += told
        for cell in block:
            yield _beside(folder, found.get(cell, cell))


def _is_lost(cell: str, folder: str) -> bool:
    """Say whether a cell is not simply the path of a file."""
    if not cell or is_url(cell):
        return False
    return not os.path.isfile(_beside(folder, cell))  # noqa: PTH113


@contextmanager
def _opened(place: str) -> Iterator[LabelTable]:
    path = PurePosixPath(place)
    if not is_url(place):
        yield open_table(Path(place), needs_header=False)
    elif path.suffix.lower() == ".parquet":
        with open_url(place) as file:
            yield open_table(Path(place), file)
    else:
        with tempfile.TemporaryDirectory(prefix="shopwindow-") as folder:
            copy = Path(folder) / path.name
            with open_url(place) as file, copy.open("wb") as target:
                shutil.copyfileobj(file, target)
            yield open_table(copy, needs_header=False)


def open_parquet(place: str) -> Any:
    """Return a `pyarrow.parquet.ParquetFile` that is read piece by piece.

    Raises:
        UsageError: It is not a Parquet file, or cannot be read.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("Reading Parquet", "parquet") from error
    try:
        source = open_url(place) if is_url(place) else place
        return parquet.ParquetFile(source, buffer_size=BUFFER_BYTES)
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"{place} is not a Parquet file that can be read: {error}") from error


def bytes_columns(file: Any) -> list[str]:
    """Return the columns of image bytes: binary ones, and structs as Hugging Face writes them."""
    from pyarrow import types

    return [
        field.name
        for field in file.schema_arrow
        if types.is_binary(field.type)
        or types.is_large_binary(field.type)
        or (types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
    ]


def _beside(folder: str, cell: str) -> str:
    """Return a path that is relative to the folder of the table as one that can be opened."""
    if not cell or not folder or is_url(cell) or os.path.isabs(cell):  # noqa: PTH117
        return cell
    return f"{folder}/{cell}"
