"""What was named on the command line -> one `Input` after another, never a list of all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from shopwindow.bulk.listing import Notes, has_wildcard, match_pattern, walk_folder
from shopwindow.bulk.remote import is_url, list_url
from shopwindow.bulk.tables import bytes_columns, is_table, open_parquet, read_table
from shopwindow.data.tables import TABLE_SUFFIXES
from shopwindow.errors import UsageError
from shopwindow.imaging.suffixes import IMAGE_SUFFIXES


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
            if is_table(place):
                tables += 1
                for cell in read_table(place, image_column, usual_column, notes):
                    found += 1
                    yield Input(*cell)
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
    with open_parquet(match[1]) as file:
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
