"""CSV and TSV files as rows of text, with everything that real files get wrong.

A file is limited before it is read, and a row that cannot be used says why instead of raising.
"""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shopwindow.data.text import read_text
from shopwindow.errors import DataError
from shopwindow.formulas import unescape_formula
from shopwindow.imaging.formats import IMAGE_SUFFIXES

TABLE_SUFFIXES = (
    *(".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".xlsx", ".xlsm"),
    *(".jsonl", ".jsonl.gz", ".ndjson"),
)
_TAB_SUFFIXES = (".tsv", ".tab")
_MAX_CELL_CHARACTERS = 10_000_000
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: its cells in the order that was asked for, or the problem that makes it useless.

    Attributes:
        number: The row as the file's own tools count it: a spreadsheet (the header is row 1) for
            CSV and TSV, a data frame (the first is row 0) for Parquet.
        cells: One text per wanted column; empty where there is no value. With a problem, what the
            row begins with, so that people find it.
        problem: Empty, or why the row cannot be used.
        file: The file it is in, where a table has several.
    """

    number: int
    cells: tuple[str, ...]
    problem: str = ""
    file: str = ""


class LabelTable(Protocol):
    """What the catalogue needs of a table."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names, as in the file."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said about how it was read."""

    def rows(self, wanted: Sequence[str]) -> Iterator[TableRow]:
        """Yield every row with the cells of the columns in `wanted`."""


class DelimitedTable:
    """A CSV or TSV file, with whichever of comma, semicolon, tab and bar separates its header.

    Args:
        path: The file: any encoding of `read_text`, any line ending. A first line `sep=;`, as
            Excel reads and writes it, says the separator.
        needs_header: Whether a first line that names an image is refused; if not, it is a row, and
            the columns are called 1, 2 and so on.

    Attributes:
        path: The file.
        columns: Their names.
        notes: What is to be said about how it was read.
        image_numbers: Without a header, the columns whose first cell is the name of an image.

    Raises:
        DataError: The file is no text, empty, or larger than 1 GB.
    """

    def __init__(self, path: Path, *, needs_header: bool = True) -> None:
        self.path = path
        self.image_numbers: tuple[str, ...] = ()
        self._text, notes = read_text(path)
        self._delimiter, self._first_line = _separator(self._text, _suffix(path))
        if self._delimiter not in ",\t":
            notes += (f"Columns of {path.name} are split at each {_NAMES[self._delimiter]}",)
        self.notes = notes
        header = next((cells for cells in self._parse() if cells), None)
        if header is None:
            raise DataError(f"{path} is empty: expected a first line that names the columns.")
        self.columns = tuple(name.strip() for name in header)
        if names_image(self.columns) and not needs_header:
            numbers = [str(number) for number in range(1, len(header) + 1)]
            named = zip(numbers, header, strict=True)
            self.image_numbers = tuple(number for number, cell in named if names_image([cell]))
            self.columns = tuple(numbers)
        elif names_image(self.columns):
            raise DataError(
                f"{path}: expected a first line that names the columns, such as image,label, found "
                f"{', '.join(self.columns)[:100]}; add one"
            )

    def rows(self, wanted: Sequence[str]) -> Iterator[TableRow]:
        """Yield every row but the header and blank lines.

        A row with more cells than the header has unquoted separators in one of its cells (the
        Kaggle catalogue has 22 such rows, in the last one). It is taken where its wanted cells,
        but for the first, are such as whole rows have too, and left out where they are not: they
        may be pieces of another cell.

        Raises:
            DataError: A cell has more than 10 million characters, or a quotation mark is never
                closed.
        """
        positions = [self.columns.index(name) for name in wanted]
        width = len(self.columns)
        known: list[set[str]] | None = None
        header_seen = bool(self.image_numbers)
        for number, cells in enumerate(self._parse(), start=self._first_line):
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
                known = known or self._values_of_whole_rows(positions[1:])
                pairs = zip(positions[1:], known, strict=True)
                if any(cells[position].strip() not in values for position, values in pairs):
                    problem = (
                        f"too many cells: {len(cells)} where the header has {width}; put cells "
                        f"that hold a {_NAMES[self._delimiter]} in quotation marks"
                    )
                    yield TableRow(number, tuple(cells[:1]), problem)
                    continue
            found = (unescape_formula(cells[position].strip()) for position in positions)
            yield TableRow(number, tuple(found))

    def _values_of_whole_rows(self, positions: Sequence[int]) -> list[set[str]]:
        """Return what stands in these columns of rows that have as many cells as the header."""
        values: list[set[str]] = [set() for _ in positions]
        for cells in self._parse():
            if len(cells) == len(self.columns):
                for one, position in zip(values, positions, strict=True):
                    one.add(cells[position].strip())
        return values

    def _parse(self) -> Iterator[list[str]]:
        # newline="" lets the csv module see the line endings inside of quoted cells as they are.
        text = io.StringIO(self._text, newline="")
        for _ in range(self._first_line - 1):
            text.readline()
        csv.field_size_limit(_MAX_CELL_CHARACTERS)  # for all of Python, where it was 128 KiB
        reader = csv.reader(text, delimiter=self._delimiter)
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
        lines = io.StringIO(self._text, newline="").readlines()
        lines = lines[self._first_line + first_line - 2 :]
        try:
            list(csv.reader(lines, delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            if "unexpected end" not in str(error):
                return  # a quote within a cell: odd, but nothing was swallowed
            raise DataError(
                f"{self.path}: a quotation mark opened in line {first_line} is never closed. "
                "Close it, or double it where it is part of the text."
            ) from error


def is_table_name(name: str) -> bool:
    """Say whether a file is called like a table, and is no lock file of Excel or macOS' shadow."""
    return name.lower().endswith(TABLE_SUFFIXES) and not name.startswith((".", "~$"))


def _suffix(path: Path) -> str:
    """Return `.tsv` of `labels.tsv` and of `labels.tsv.gz`."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def names_image(header: Sequence[str]) -> bool:
    """Say whether a first line is no header: one of its cells is the name of an image."""
    return any(posixpath.splitext(cell.strip())[1].lower() in IMAGE_SUFFIXES for cell in header)


def _separator(text: str, suffix: str) -> tuple[str, int]:
    """Return what separates the cells, and the line, from 1 on, in which the header stands."""
    usual = "\t" if suffix in _TAB_SUFFIXES else ","
    lines = text.split("\n", 2)
    first = lines[0].strip("\r \ufeff")
    if first.lower().startswith("sep=") and first[4:] in _NAMES:
        return first[4:], 2
    header = next((line for line in lines if line.strip()), "")
    # Ties go to the usual one, and so does a header of one column.
    return max((usual, *_NAMES), key=header.count), 1


def cell_text(value: object) -> str:
    """Return what a typed cell says: whole numbers without a point, nothing for NaN and null."""
    if isinstance(value, float):
        if value != value:
            return ""
        # pandas turns whole numbers into floats where one is missing: 15970.0 means 15970.
        if value.is_integer():
            value = int(value)
    return "" if value is None else str(value).strip()
