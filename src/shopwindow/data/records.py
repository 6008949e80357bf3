"""Tables that are read as a whole: spreadsheets, and one JSON object a line."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from shopwindow.data.tables import TableRow, cell_text
from shopwindow.data.text import MAX_TABLE_BYTES, read_text
from shopwindow.errors import DataError

SHEET_SUFFIXES = (".xlsx", ".xlsm")
JSON_LINES_SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


class RecordTable:
    """The rows of a spreadsheet (`.xlsx`) or of JSON Lines (`.jsonl`), by the names of columns.

    Args:
        path: The file. Of a spreadsheet, the first sheet that is not empty is read; its first row
            names the columns.

    Attributes:
        path: The file.
        columns: Their names.
        notes: What is to be said about how it was read.

    Raises:
        DataError: It cannot be read, is empty, or has more than 1 GB.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: tuple[str, ...] = ()
        self._rows: list[tuple[int, dict[str, str], str]] = []
        read = self._read_sheet if path.suffix.lower() in SHEET_SUFFIXES else self._read_lines
        self.columns: tuple[str, ...] = read()

    def rows(self, wanted: Sequence[str]) -> Iterator[TableRow]:
        """Yield every row but the header and empty ones."""
        for number, cells, problem in self._rows:
            yield TableRow(number, tuple(cells.get(name, "") for name in wanted), problem)

    def _read_lines(self) -> tuple[str, ...]:
        text, self.notes = read_text(self.path)
        names: dict[str, None] = {}
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if isinstance(record, dict):
                names.update(dict.fromkeys(record))
                cells = {name: _json_text(value) for name, value in record.items()}
                self._rows.append((number, cells, ""))
            else:
                self._rows.append((number, {}, "no JSON object in this line"))
        if not names:
            raise DataError(f"{self.path} holds no JSON objects: expected one in each line.")
        return tuple(names)

    def _read_sheet(self) -> tuple[str, ...]:
        import openpyxl  # takes a tenth of a second, and few need it

        try:
            with zipfile.ZipFile(self.path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > MAX_TABLE_BYTES:
                raise DataError(
                    f"{self.path} unpacks to {size:,} bytes, more than the {MAX_TABLE_BYTES:,} "
                    "that a table may have: save the sheet with the labels as CSV."
                )
            with warnings.catch_warnings(action="ignore"):  # of charts and rules for cells
                book = openpyxl.load_workbook(self.path, read_only=True, data_only=True)
                try:
                    return self._read_book(book)
                finally:
                    book.close()
        except DataError:
            raise
        except Exception as error:  # openpyxl raises a dozen unrelated types on damaged files
            raise DataError(
                f"{self.path} cannot be read as a spreadsheet: open it and save it again, as CSV."
            ) from error

    def _read_book(self, book: Any) -> tuple[str, ...]:
        filled = []
        for sheet in book.worksheets:
            rows = enumerate(sheet.iter_rows(values_only=True), start=1)
            texts = ((number, [_sheet_text(value) for value in row]) for number, row in rows)
            found = [(number, row) for number, row in texts if any(row)]
            if found:
                filled.append((sheet.title, found))
        if not filled:
            raise DataError(f"{self.path} is empty: expected a first row that names the columns.")
        title, ((_, header), *body) = filled[0]
        if len(filled) > 1:
            others = ", ".join(repr(name) for name, _ in filled[1:5])
            self.notes = (f"{self.path.name}: sheet {title!r} is read, and not {others}",)
        # A column twice in the header is there twice, so that it cannot be chosen unseen.
        positions = [position for position, name in enumerate(header) if name]
        for number, row in body:
            cells = {header[position]: row[position] for position in positions if row[position:]}
            self._rows.append((number, cells, ""))
        return tuple(header[position] for position in positions)


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
