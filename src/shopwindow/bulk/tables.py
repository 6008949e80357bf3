"""A table -> the paths or the image bytes in one of its columns, row by row.

The tables of `dataset` are read whole, since a training looks at all their rows anyway; these may
have a hundred million, and are read as a stream.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from shopwindow.bulk.remote import is_url, open_url
from shopwindow.errors import MissingExtraError, UsageError
from shopwindow.imaging.suffixes import IMAGE_SUFFIXES

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")

_BATCH_ROWS = 10_000
BUFFER_BYTES = 1 << 20  # read by the piece, not by the column chunk, which may have gigabytes

Cell = tuple[str, str, int]


def read_table(place: str, image_column: str | None) -> Iterator[Cell]:
    """Yield (path, column, row) of every row; column and row are those of a cell of image bytes.

    A path is relative to the folder of the table. One row without a path is one with an empty path.

    Args:
        place: The table: a file or a URL.
        image_column: Its column; None takes the only one that can be meant.

    Raises:
        UsageError: The table cannot be read, or has no such column.
        MissingExtraError: Parquet without pyarrow.
    """
    if place.lower().endswith(".parquet"):
        yield from _read_parquet(place, image_column)
    else:
        yield from _read_delimited(place, image_column)


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


def _read_parquet(place: str, image_column: str | None) -> Iterator[Cell]:
    import pyarrow

    with open_parquet(place) as file:
        names = file.schema_arrow.names
        in_bytes = bytes_columns(file)
        column = _choose(place, image_column, names, in_bytes)
        if column in in_bytes:
            for row in range(file.metadata.num_rows):
                yield place, column, row
            return
        folder = place.rpartition("/")[0]
        try:
            for batch in file.iter_batches(_BATCH_ROWS, columns=[column]):
                for value in batch.column(0).to_pylist():
                    yield _beside(folder, "" if value is None else str(value)), "", -1
        except (pyarrow.ArrowException, OSError) as error:
            raise UsageError(f"{place} is damaged: {error}") from error


def _read_delimited(place: str, image_column: str | None) -> Iterator[Cell]:
    folder = place.rpartition("/")[0]
    delimiter = "\t" if place.lower().endswith(".tsv") else ","
    try:
        with _open_text(place) as file:
            reader = csv.reader(file, delimiter=delimiter)
            first = next((cells for cells in reader if cells), [])
            header = [name.strip() for name in first]
            rows: Iterator[list[str]] = reader
            named = [n for n, name in enumerate(header) if _is_image_name(name)]
            if image_column is None and len(named) == 1:  # no header: the output of `ls`, say
                (position,) = named
                rows = chain([first], reader)
            else:
                position = header.index(_choose(place, image_column, header, []))
            for cells in rows:
                if cells:  # a blank line is no row
                    yield _beside(folder, cells[position] if len(cells) > position else ""), "", -1
    except UnicodeDecodeError as error:
        raise UsageError(f"{place} is not UTF-8 text: save it as UTF-8.") from error
    except csv.Error as error:
        raise UsageError(f"{place} cannot be read as a table: {error}.") from error
    except OSError as error:
        raise UsageError(f"{place} cannot be read: {error.strerror or error}.") from error


def _is_image_name(cell: str) -> bool:
    return os.path.splitext(cell)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def _open_text(place: str) -> Any:
    if is_url(place):
        return open_url(place, text=True)
    return Path(place).open(encoding="utf-8-sig", newline="")


def _choose(place: str, wanted: str | None, names: list[str], in_bytes: list[str]) -> str:
    candidates = in_bytes or names
    if wanted is None and len(candidates) == 1:
        return candidates[0]
    if wanted in names:
        return wanted
    found = "no columns" if not names else f"the columns {', '.join(names)}"
    if wanted is None:
        raise UsageError(f"{place} has {found}: name the one with the images, --image-column C.")
    raise UsageError(f"{place} has no column {wanted!r}, but {found}.")


def _beside(folder: str, cell: str) -> str:
    """Return a path that is relative to the folder of the table as one that can be opened."""
    cell = cell.strip()
    if not cell or not folder or is_url(cell) or os.path.isabs(cell):  # noqa: PTH117
        return cell
    return f"{folder}/{cell}"
