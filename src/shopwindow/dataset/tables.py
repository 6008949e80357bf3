"""CSV and TSV files as rows of text, with everything that real files get wrong.

A file is limited before it is read, and a row that cannot be used says why instead of raising.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shopwindow.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
_TAB_SUFFIXES = (".tsv", ".tab")
_MAX_TABLE_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: its cells in the order that was asked for, or the problem that makes it useless.

    Attributes:
        number: The row as the file's own tools count it: a spreadsheet (the header is row 1) for
            CSV and TSV, a data frame (the first is row 0) for Parquet.
        cells: One text per wanted column; empty where there is no value. With a problem, what the
            row begins with, so that people find it.
        problem: Empty, or why the row cannot be used.
    """

    number: int
    cells: tuple[str, ...]
    problem: str = ""


class LabelTable(Protocol):
    """What the catalogue needs of a table."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names, as in the file."""

    def rows(self, wanted: Sequence[str]) -> Iterator[TableRow]:
        """Yield every row with the cells of the columns in `wanted`."""


class DelimitedTable:
    """A CSV file, or a TSV file by its extension.

    Args:
        path: The file: UTF-8, with or without a byte order mark, any line ending.

    Raises:
        DataError: The file is no text, not UTF-8, empty, or larger than 1 GB.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text = _read_text(path)
        self._delimiter = "\t" if path.suffix.lower() in _TAB_SUFFIXES else ","
        header = next((cells for cells in self._parse() if cells), None)
        if header is None:
            raise DataError(f"{path} is empty: expected a first line that names the columns.")
        self.columns = tuple(name.strip() for name in header)

    def rows(self, wanted: Sequence[str]) -> Iterator[TableRow]:
        """Yield every row but the header and blank lines.

        A row with more cells than the header has unquoted delimiters in its last cell (the Kaggle
        catalogue has 22 such rows): the surplus belongs to that cell.

        Raises:
            DataError: A cell is larger than the csv module's limit (128 KiB), or a quotation mark
                is never closed.
        """
        positions = [self.columns.index(name) for name in wanted]
        width = len(self.columns)
        header_seen = False
        for number, cells in enumerate(self._parse(), start=1):
            if not cells:
                continue
            if not header_seen:
                header_seen = True
                continue
            if len(cells) < width:
                problem = f"too few cells: {len(cells)} where the header has {width}"
                yield TableRow(number, tuple(cells[:1]), problem)
                continue
            if len(cells) > width and any(cell.strip() for cell in cells[width:]):
                cells[width - 1 :] = [self._delimiter.join(cells[width - 1 :])]
            yield TableRow(number, tuple(cells[position].strip() for position in positions))

    def _parse(self) -> Iterator[list[str]]:
        # newline="" lets the csv module see the line endings inside of quoted cells as they are.
        reader = csv.reader(io.StringIO(self._text, newline=""), delimiter=self._delimiter)
        first_line = line = 0
        try:
            for cells in reader:
                yield cells
                first_line, line = line + 1, reader.line_num
            if line:
                self._check_last_quote(first_line)
        except csv.Error as error:
            raise DataError(
                f"{self.path} cannot be read after line {line}: {error}. A quotation mark that is "
                "never closed is the usual cause."
            ) from error

    def _check_last_quote(self, first_line: int) -> None:
        """Refuse a last row that swallowed the rest of the file after a stray quotation mark."""
        lines = io.StringIO(self._text, newline="").readlines()[first_line - 1 :]
        try:
            list(csv.reader(lines, delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            if "unexpected end" not in str(error):
                return  # a quote within a cell: odd, but nothing was swallowed
            raise DataError(
                f"{self.path}: a quotation mark opened in line {first_line} is never closed. "
                "Close it, or double it where it is part of the text."
            ) from error


def _read_text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _MAX_TABLE_BYTES:
            raise DataError(
                f"{path} has {size:,} bytes, more than the {_MAX_TABLE_BYTES:,} that a table may "
                "have: split it, or keep only the columns with the image and its labels."
            )
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is UTF-16 text: save it as UTF-8.")
    if b"\0" in data:
        raise DataError(
            f"{path} is not a CSV or TSV file: it holds binary data (a NUL byte at position "
            f"{data.index(0):,})."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte 0x{data[error.start]:02x} at position "
            f"{error.start:,}): save it as UTF-8."
        ) from error
