"""What was named on the command line -> one `Input` after another, never a list of all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from shopwindow.bulk.listing import Notes, has_wildcard, match_pattern, walk_folder
from shopwindow.bulk.remote import is_url, list_url, open_url
from shopwindow.data.columns import choose_image_column
from shopwindow.data.folder import ImageFolder
from shopwindow.data.matching import match_names
from shopwindow.data.parquet import ParquetTable, bytes_columns, open_parquet
from shopwindow.data.tables import TABLE_SUFFIXES, Table, TableRow, open_table
from shopwindow.errors import DataError, UsageError
from shopwindow.imaging.formats import IMAGE_SUFFIXES

_ROWS_MATCHED_AT_ONCE = 100_000  # whose names are compared with those of the files


class Input(NamedTuple):
    """One image to predict.

    Attributes:
        path: A file, an fsspec URL, or the Parquet file that holds the bytes.
        column: The column of bytes in that Parquet file; empty for files and URLs.
        row: The row in it, from 0; -1 for files and URLs.
    """

    path: str
    column: str = ""
    row: int = -1

    def __str__(self) -> str:
        """Return its name in the output: `photos/1.jpg`, or `shop.parquet#12`."""
        return self.path if self.row < 0 else f"{self.path}#{self.row}"


def list_inputs(
    names: Sequence[str],
    *,
    image_column: str | None = None,
    usual_column: str | None = None,
    notes: Notes | None = None,
) -> Iterator[Input]:
    """Yield the inputs that `names` stand for, in order.

    - A folder: its image files in name order, then those of its folders; see `walk_folder`.
    - A pattern such as `photos/**/*.jpg`: what matches, in name order.
    - A table (CSV, TSV, Parquet, ...): the paths or image bytes in one of its columns, row by row.
    - An fsspec URL such as `s3://bucket/photos`: an object, a folder, a pattern or a table.
    - Any other file: itself. A missing file is an input if its name is that of an image (its row
      will say so), and wrong usage if not.

    Memory holds the names of one folder at most; very many go to disk.

    Args:
        names: As given on the command line.
        image_column: The column of tables; None takes the one that training would take.
        usual_column: Its name when the model was trained.
        notes: Gets what has no row, and which names were taken for which files.

    Raises:
        UsageError: Nothing to predict, or something that cannot be read or does not exist.
        MissingExtraError: Parquet without pyarrow, a URL without fsspec.
    """
    tables = found = 0
    for name in names:
        for place in _expand(name, notes):
            if place.lower().endswith(TABLE_SUFFIXES):
                tables += 1
                for cell in _read_table(place, image_column, usual_column, notes):
                    found += 1
                    yield cell
            else:
                found += 1
                yield Input(place)
    if image_column is not None and not tables:
        raise UsageError(
            f"--image-column {image_column} has no effect: expected a table among the inputs "
            f"({', '.join(TABLE_SUFFIXES)})."
        )
    if not found:
        raise UsageError(
            f"No images found in {', '.join(names) or 'no path'}: expected files ending in "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}, or a table with a column of images."
        )


def parse_input(text: str) -> Input:
    """Return the input whose name in the output is `text`.

    Raises:
        UsageError: It is a cell of a table that cannot be read now.
        MissingExtraError: It is a cell of a table, and pyarrow is not installed.
    """
    match = re.fullmatch(r"(.+\.parquet)#(\d+)", text, re.IGNORECASE | re.DOTALL)
    if match is None or os.path.lexists(text):
        return Input(text)
    with open_parquet_at(match[1]) as file:
        columns = bytes_columns(file)
    if len(columns) != 1:
        raise UsageError(f"{match[1]} has {len(columns)} columns of image bytes: expected one.")
    return Input(match[1], columns[0], int(match[2]))


def _expand(name: str, notes: Notes | None) -> Iterator[str]:
    """Yield the files (or URLs of files) that one name stands for."""
    if is_url(name):
        yield from list_url(name)
    elif os.path.isdir(name):  # noqa: PTH112 (no `Path` for each of 100 million)
        yield from walk_folder(str(Path(name)), notes)
    elif not os.path.lexists(name) and has_wildcard(name):
        matches = match_pattern(name)
        first = next(matches, None)
        if first is None:
            raise UsageError(f"Nothing matches the pattern {name}.")
        for match in chain([first], matches):
            yield from _walk_if_folder(match, notes)
    elif os.path.lexists(name) or Path(name).suffix.lower() in IMAGE_SUFFIXES:
        yield str(Path(name))
    else:
        raise UsageError(
            f"{name} does not exist: expected an image, a folder, a pattern, a table or a URL."
        )


def _walk_if_folder(path: str, notes: Notes | None) -> Iterator[str]:
    if os.path.isdir(path):  # noqa: PTH112
        try:
            yield from walk_folder(path, notes)
        except UsageError:  # among many matches, an unreadable folder gets a row
            yield path
    else:
        yield path


def open_parquet_at(place: str) -> Any:
    """Return a `pyarrow.parquet.ParquetFile` of a file or a URL.

    Raises:
        UsageError: It is not a Parquet file, or cannot be read.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        return open_parquet(place, open_url(place) if is_url(place) else None)
    except DataError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{place} cannot be read: {error}") from error


def _read_table(
    place: str, image_column: str | None, usual_column: str | None, notes: Notes | None
) -> Iterator[Input]:
    """Yield the input of every row; one without a path has an empty path.

    The table is read as a training reads it, so that the table that trains can be predicted: the
    same separators, columns and names. What is not in its folder is taken too: other folders, and
    URLs. A path is relative to the folder of the table, and may differ from that of its file as in
    a training; see `match_names`.

    Raises:
        UsageError: The table cannot be read, or has no such column.
        MissingExtraError: Parquet without pyarrow.
    """
    folder = place.rpartition("/")[0]
    try:
        with _open_table_at(place) as table:
            listed = None if is_url(place) else ImageFolder(Path(folder or "."))
            column = choose_image_column(table, listed, image_column, usual_column)
            if isinstance(table, ParquetTable) and column in table.bytes_columns:
                for row in range(len(table)):
                    yield Input(place, column, row)
                return
            cells = (_cell_of(row, column == table.columns[0]) for row in table.rows((column,)))
            yield from map(Input, _paths(cells, folder, listed, notes))
    except DataError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{place} cannot be read: {error.strerror or error}.") from error


@contextmanager
def _open_table_at(place: str) -> Iterator[Table]:
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


def _cell_of(row: TableRow, is_first: bool) -> str:
    """Return the cell of a row; of one that is too short, only the first is known."""
    return row.cells[0] if row.cells and (is_first or not row.problem) else ""


def _paths(
    cells: Iterator[str], folder: str, listed: ImageFolder | None, notes: Notes | None
) -> Iterator[str]:
    """Yield the path of what a training would find by each cell; without any, the cell itself."""
    while block := list(islice(cells, _ROWS_MATCHED_AT_ONCE)):
        found: dict[str, str] = {}
        if listed is not None and (lost := [cell for cell in block if _is_lost(cell, folder)]):
            matches, sentences = match_names(lost, listed)
            pairs = zip(lost, matches, strict=True)
            found = {cell: match.file for cell, match in pairs if match.usable}
            if notes is not None:
                notes.sentences += sentences
        for cell in block:
            yield _beside(folder, found.get(cell, cell))


def _is_lost(cell: str, folder: str) -> bool:
    """Say whether a cell is not simply the path of a file."""
    if not cell or is_url(cell):
        return False
    return not os.path.isfile(_beside(folder, cell))  # noqa: PTH113 (one call for each row)


def _beside(folder: str, cell: str) -> str:
    """Return a path that is relative to the folder of the table as one that can be opened."""
    if not cell or not folder or is_url(cell) or os.path.isabs(cell):  # noqa: PTH117
        return cell
    return f"{folder}/{cell}"
