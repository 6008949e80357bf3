"""A table -> the paths or the image bytes in one of its columns, row by row.

It is read as a training reads it, so that the table that trains can be predicted: the same
separators, columns and names without extension. Only what is not in its folder is taken too: other
folders, and URLs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from shopwindow.bulk.remote import is_url, open_url
from shopwindow.dataset.columns import choose_image_column, open_table
from shopwindow.dataset.folder import ImageFolder
from shopwindow.dataset.parquet import ParquetTable
from shopwindow.dataset.tables import TABLE_SUFFIXES, LabelTable
from shopwindow.errors import DataError, MissingExtraError, UsageError

BUFFER_BYTES = 1 << 20  # read by the piece, not by the column chunk, which may have gigabytes

Cell = tuple[str, str, int]


def is_table(place: str) -> bool:
    """Say whether a file or URL is called like a table."""
    return place.lower().endswith(TABLE_SUFFIXES)


def read_table(
    place: str, image_column: str | None, usual_column: str | None = None
) -> Iterator[Cell]:
    """Yield (path, column, row) of every row; column and row are those of a cell of image bytes.

    A path is relative to the folder of the table, and may lack its extension or the folder
    `images`. One row without a path is one with an empty path.

    Args:
        place: The table: a file or a URL.
        image_column: Its column; None takes the one that a training would take.
        usual_column: What it was called in the training of the model; taken where there is one.

    Raises:
        UsageError: The table cannot be read, or has no such column.
        MissingExtraError: Parquet without pyarrow.
    """
    folder = place.rpartition("/")[0]
    try:
        with _opened(place) as table:
            files = None if is_url(place) else _Files(folder)
            listed = None if files is None else files.listed
            column = choose_image_column(table, listed, image_column, usual_column)
            if isinstance(table, ParquetTable) and table.holds_bytes(column):
                for row in range(len(table)):
                    yield place, column, row
                return
            for one in table.rows((column,)):
                # Of a row that is too short, only its first cell is known.
                whole = not one.problem or column == table.columns[0]
                cell = one.cells[0] if one.cells and whole else ""
                path = _beside(folder, cell)
                yield path if files is None else files.find(cell, path), "", -1
    except DataError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{place} cannot be read: {error.strerror or error}.") from error


class _Files:
    """The files in the folder of a table, listed only where a cell is not simply one of them."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    @cached_property
    def listed(self) -> ImageFolder:
        return ImageFolder(Path(self._folder or "."))

    def find(self, cell: str, path: str) -> str:
        """Return the path of what a training would find by this cell; without any, as it stands."""
        if not cell or is_url(cell) or os.path.isabs(cell) or os.path.isfile(path):  # noqa: PTH113, PTH117
            return path
        reference, problem = self.listed.find(cell)
        return path if problem else _beside(self._folder, reference)


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
