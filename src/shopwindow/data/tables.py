"""Tables of any kind as rows of text, with everything that real files get wrong.

CSV and TSV, spreadsheets and JSON Lines are read here, Parquet in `parquet`. A file is limited
before it is read, and a row that cannot be used says why instead of raising.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
import warnings
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from shopwindow.data.labelled_images import ImageSource
from shopwindow.data.parts import Role
from shopwindow.data.text_encoding import MAX_TABLE_BYTES, read_text
from shopwindow.errors import DataError
from shopwindow.imaging.formats import IMAGE_SUFFIXES
from shopwindow.plain_text import unescape_formula

PARQUET_SUFFIXES = (".parquet", ".pq")
TABLE_SUFFIXES = (
    *(".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".xlsx", ".xlsm"),
    *(".jsonl", ".jsonl.gz", ".ndjson"),
)
_SHEET_SUFFIXES = (".xlsx", ".xlsm")
_JSON_LINES_SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_TAB_SUFFIXES = (".tsv", ".tab", ".tsv.gz", ".tab.gz")
_MAX_CELL_CHARACTERS = 10_000_000
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


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


class Table(ABC):
    """What all kinds of tables have in common; `open_table` opens one.

    Attributes:
        path: The file, or the folder of its files.
        columns: Column names, as in the file.
        notes: What people should know about how it was read.
        image_columns: Without a header, the columns whose first cell is the name of an image.
        bytes_columns: Those that hold the bytes of images, which only Parquet can.
        class_columns: Those that the file itself says are labels, with the labels' names.
        roles: What each file of a table in several files is for; empty for a single file.
    """

    path: Path
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    image_columns: tuple[str, ...] = ()
    bytes_columns: tuple[str, ...] = ()
    class_columns: Mapping[str, tuple[str, ...]] = {}
    roles: Mapping[str, Role] = {}

    @abstractmethod
    def rows(self, wanted: Sequence[str]) -> Iterator[TableRow]:
        """Yield every row, but the header and empty ones, with the cells of some columns.

        Raises:
            DataError: The file is damaged.
        """

    def open_images(self, column: str) -> ImageSource:
        """Return the images of one of `bytes_columns`.

        Raises:
            ValueError: It is none of them.
        """
        raise ValueError(f"{self.path}: expected a column of image files, got {column!r}")


def open_table(path: Path, source: Any = None, *, needs_header: bool = True) -> Table:
    """Open a table of any kind, so that it means the same to every command.

    Args:
        path: The file; its ending tells the kind. Or a folder of Parquet files.
        source: An open file to read a Parquet table from, where it does not lie at `path`.
        needs_header: Whether a first line that names an image is refused; if not, it is a row, and
            the columns are called 1, 2 and so on.

    Raises:
        MissingExtraError: A Parquet file, and pyarrow is not installed.
        DataError: It cannot be read, is empty, or has more than 1 GB.
    """
    if path.is_dir() or path.suffix.lower() in PARQUET_SUFFIXES:
        from shopwindow.data.parquet import ParquetTable  # which is a Table

        return ParquetTable(path, source)
    name = path.name.lower()
    if name.endswith(_SHEET_SUFFIXES):
        return _open_sheet(path)
    if name.endswith(_JSON_LINES_SUFFIXES):
        return _open_json_lines(path)
    return DelimitedTable(path, needs_header=needs_header)


def is_table_name(name: str) -> bool:
    """Say whether a file is called like a table, and is no lock file of Excel or macOS' shadow."""
    return name.lower().endswith(TABLE_SUFFIXES) and not name.startswith((".", "~$"))


def cell_text(value: object) -> str:
    """Return what a typed cell says: whole numbers without a point, nothing for NaN and null."""
    if isinstance(value, float):
        if value != value:
            return ""
        # pandas turns whole numbers into floats where one is missing: 15970.0 means 15970.
        if value.is_integer():
            value = int(value)
    return "" if value is None else str(value).strip()


class DelimitedTable(Table):
    """A CSV or TSV file, with whichever of comma, semicolon, tab and bar separates its header.

    The file has any encoding of `read_text` and any line ending. A first line `sep=;`, as Excel
    reads and writes it, says the separator.
    """

    def __init__(self, path: Path, *, needs_header: bool = True) -> None:
        self.path = path
        self._text, notes = read_text(path)
        self._separator, self._first_line = _find_separator(self._text, path.name.lower())
        if self._separator not in ",\t":
            notes += (f"Columns of {path.name} are split at each {_SEPARATORS[self._separator]}",)
        self.notes = notes
        header = next((cells for cells in self._parse() if cells), None)
        if header is None:
            raise DataError(f"{path} is empty: expected a first line that names the columns.")
        self.columns = tuple(name.strip() for name in header)
        images = [position for position, name in enumerate(header, 1) if _is_image_name(name)]
        if images and needs_header:
            raise DataError(
                f"{path}: expected a first line that names the columns, such as image,label, found "
                f"{', '.join(self.columns)[:100]}; add one"
            )
        if images:
            self.columns = tuple(str(position) for position in range(1, len(header) + 1))
            self.image_columns = tuple(map(str, images))

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
        is_header = not self.image_columns
        for number, cells in enumerate(self._parse(), start=self._first_line):
            if not cells:
                continue
            if is_header:
                is_header = False
                continue
            problem = ""
            if len(cells) < width:
                problem = f"too few cells: {len(cells)} where the header has {width}"
            elif any(cell.strip() for cell in cells[width:]):
                known = known or self._values_of_whole_rows(positions[1:])
                pairs = zip(positions[1:], known, strict=True)
                if any(cells[position].strip() not in values for position, values in pairs):
                    problem = (
                        f"too many cells: {len(cells)} where the header has {width}; put cells "
                        f"that hold a {_SEPARATORS[self._separator]} in quotation marks"
                    )
            if problem:
                yield TableRow(number, tuple(cells[:1]), problem)
            else:
                found = (unescape_formula(cells[position].strip()) for position in positions)
                yield TableRow(number, tuple(found))

    def _values_of_whole_rows(self, positions: Sequence[int]) -> list[set[str]]:
        """Return what stands in these columns of rows that have as many cells as the header."""
        values: list[set[str]] = [set() for _ in positions]
        for cells in self._parse():
            if len(cells) == len(self.columns):
                for known, position in zip(values, positions, strict=True):
                    known.add(cells[position].strip())
        return values

    def _parse(self) -> Iterator[list[str]]:
        # newline="" lets the csv module see the line endings inside of quoted cells as they are.
        text = io.StringIO(self._text, newline="")
        for _ in range(self._first_line - 1):
            text.readline()
        csv.field_size_limit(_MAX_CELL_CHARACTERS)  # for all of Python, where it was 128 KiB
        reader = csv.reader(text, delimiter=self._separator)
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
            list(csv.reader(lines, delimiter=self._separator, strict=True))
        except csv.Error as error:
            if "unexpected end" not in str(error):
                return  # a quote within a cell: odd, but nothing was swallowed
            raise DataError(
                f"{self.path}: a quotation mark opened in line {first_line} is never closed. "
                "Close it, or double it where it is part of the text."
            ) from error


def _is_image_name(cell: str) -> bool:
    return posixpath.splitext(cell.strip())[1].lower() in IMAGE_SUFFIXES


def _find_separator(text: str, name: str) -> tuple[str, int]:
    """Return what separates the cells, and the line, from 1 on, in which the header stands."""
    usual = "\t" if name.endswith(_TAB_SUFFIXES) else ","
    lines = text.split("\n", 2)
    first = lines[0].strip("\r \ufeff")
    if first.lower().startswith("sep=") and first[4:] in _SEPARATORS:
        return first[4:], 2
    header = next((line for line in lines if line.strip()), "")
    # Ties go to the usual separator, and so does a header of one column.
    return max((usual, *_SEPARATORS), key=header.count), 1


@dataclass
class RecordTable(Table):
    """A table that was read as a whole: the number of each row, its cells by column, a problem."""

    path: Path
    columns: tuple[str, ...]
    records: list[tuple[int, dict[str, str], str]]
    notes: tuple[str, ...] = ()

    def rows(self, wanted: Sequence[str]) -> Iterator[TableRow]:
        """Yield every row but the header and empty ones."""
        for number, cells, problem in self.records:
            yield TableRow(number, tuple(cells.get(name, "") for name in wanted), problem)


def _open_json_lines(path: Path) -> RecordTable:
    text, notes = read_text(path)
    columns: dict[str, None] = {}
    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            columns.update(dict.fromkeys(record))
            cells = {name: _json_text(value) for name, value in record.items()}
            records.append((number, cells, ""))
        else:
            records.append((number, {}, "no JSON object in this line"))
    if not columns:
        raise DataError(f"{path} holds no JSON objects: expected one in each line.")
    return RecordTable(path, tuple(columns), records, notes)


def _open_sheet(path: Path) -> RecordTable:
    """Read the first sheet of a workbook that is not empty; its first row names the columns."""
    filled = _read_sheets(path)
    if not filled:
        raise DataError(f"{path} is empty: expected a first row that names the columns.")
    (title, ((_, header), *body)), *others = filled.items()
    notes: tuple[str, ...] = ()
    if others:
        named = ", ".join(repr(name) for name, _ in others[:4])
        notes = (f"{path.name}: sheet {title!r} is read, and not {named}",)
    # A column twice in the header is there twice, so that nobody can choose it unseen.
    positions = [position for position, name in enumerate(header) if name]
    records = [
        (number, {header[position]: row[position] for position in positions if row[position:]}, "")
        for number, row in body
    ]
    return RecordTable(path, tuple(header[position] for position in positions), records, notes)


def _read_sheets(path: Path) -> dict[str, list[tuple[int, list[str]]]]:
    """Return the numbers and texts of the rows that are not empty, by sheets that have any."""
    import openpyxl  # takes a tenth of a second, and few need it

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_TABLE_BYTES:
            raise DataError(
                f"{path} unpacks to {size:,} bytes, more than the {MAX_TABLE_BYTES:,} "
                "that a table may have: save the sheet with the labels as CSV."
            )
        filled = {}
        with warnings.catch_warnings(action="ignore"):  # of charts and rules for cells
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            try:
                for sheet in book.worksheets:
                    rows = enumerate(sheet.iter_rows(values_only=True), start=1)
                    texts = ((number, [*map(_sheet_text, row)]) for number, row in rows)
                    if found := [(number, row) for number, row in texts if any(row)]:
                        filled[sheet.title] = found
            finally:
                book.close()
        return filled
    except DataError:
        raise
    except Exception as error:  # openpyxl raises a dozen unrelated types on damaged files
        raise DataError(
            f"{path} cannot be read as a spreadsheet: open it and save it again, as CSV."
        ) from error


def _json_text(value: object) -> str:
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return cell_text(value)


def _sheet_text(value: object) -> str:
    if isinstance(value, datetime) and value.time() == time():  # a sheet has no dates alone
        value = value.date()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return cell_text(value)
