"""The rows of a bulk prediction, and how they are written as CSV, JSON lines or Parquet."""

from __future__ import annotations

import contextlib
import csv
import json
import operator
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, get_args

from tqdm import tqdm

from shopwindow.errors import MissingExtraError, UsageError
from shopwindow.inference.prediction import Prediction

COLUMNS = ("path", "label", "confidence", "sure", "top", "attributes", "error")

RowFormat = Literal["csv", "jsonl", "parquet"]

PARQUET_ROWS = 4096  # rows that are gathered before they are written


@dataclass(frozen=True, slots=True)
class Row:
    """The outcome for one input: either a prediction or the reason why there is none."""

    path: Path
    prediction: Prediction | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if (self.prediction is None) == (self.error is None):
            raise ValueError("expected either a prediction or an error, got both or neither")

    def as_json(self) -> dict[str, Any]:
        """Return the row in the shape that all output formats share; what is missing is None."""
        answer = self.prediction.as_json() if self.prediction is not None else {}
        columns = ("label", "confidence", "sure", "top", "attributes")
        return {
            "path": _as_text(self.path),
            **{column: answer.get(column) for column in columns},
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Written:
    """How many rows were written, and how many of them say why there is no prediction."""

    rows: int
    failed: int


def write_rows(rows: Iterable[Row], output: Path | None, fmt: RowFormat | None = None) -> Written:
    """Write rows as they come, with a progress bar on stderr.

    A file appears under its name when it is complete, and not at all when anything goes wrong on
    the way (Ctrl-C included).

    Args:
        rows: From `predict_files`.
        output: The file to write; None writes to stdout.
        fmt: None goes by the ending of `output`, and is CSV where that says nothing.

    Raises:
        UsageError: An unknown format, Parquet to stdout, or a place that cannot be written to.
        MissingExtraError: Parquet without pyarrow.
    """
    fmt = fmt or _format_of(output)
    if fmt not in get_args(RowFormat):
        raise UsageError(f"format: expected csv, jsonl or parquet, got {fmt!r}.")
    if output is None:
        if fmt == "parquet":
            raise UsageError("Parquet cannot be written to the screen: name a file with --output.")
        return _write(rows, _text_writer(fmt, sys.stdout), show_progress=not sys.stdout.isatty())
    with _replacing(output) as partial:
        if fmt == "parquet":
            with contextlib.closing(_ParquetWriter(partial)) as writer:
                return _write(rows, writer, show_progress=True)
        with partial.open("w", encoding="utf-8", newline="") as file:
            return _write(rows, _text_writer(fmt, file), show_progress=True)


class _Writer(ABC):
    @abstractmethod
    def write(self, row: Row) -> None: ...


class _CsvWriter(_Writer):
    def __init__(self, file: IO[str]) -> None:
        self._csv = csv.writer(file, lineterminator="\n")
        self._csv.writerow(COLUMNS)

    def write(self, row: Row) -> None:
        self._csv.writerow([_as_cell(row.as_json()[column]) for column in COLUMNS])


class _JsonLinesWriter(_Writer):
    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: Row) -> None:
        self._file.write(json.dumps(row.as_json(), ensure_ascii=False) + "\n")


class _ParquetWriter(_Writer):
    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as arrow
            from pyarrow import parquet
        except ImportError as error:
            raise MissingExtraError("Writing Parquet", "parquet") from error
        score = arrow.struct([("label", arrow.string()), ("confidence", arrow.float64())])
        types = {
            **dict.fromkeys(("path", "label", "error"), arrow.string()),
            "confidence": arrow.float64(),
            "sure": arrow.bool_(),
            "top": arrow.list_(score),
            "attributes": arrow.map_(arrow.string(), score),
        }
        schema = arrow.schema([(column, types[column]) for column in COLUMNS])
        self._arrow, self._schema = arrow, schema
        self._parquet = parquet.ParquetWriter(path, schema)
        self._gathered: list[dict[str, Any]] = []

    def write(self, row: Row) -> None:
        record = row.as_json()
        if record["attributes"] is not None:
            record["attributes"] = list(record["attributes"].items())  # what a map is made from
        self._gathered.append(record)
        if len(self._gathered) >= PARQUET_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._parquet.close()

    def _flush(self) -> None:
        if self._gathered:
            self._parquet.write_table(
                self._arrow.Table.from_pylist(self._gathered, schema=self._schema)
            )
            self._gathered.clear()


def _write(rows: Iterable[Row], writer: _Writer, *, show_progress: bool) -> Written:
    count = failed = 0
    # disable=None: no bar where stderr is not a terminal; on a terminal that shows the rows
    # themselves, a bar would only get between them.
    with tqdm(
        rows,
        total=operator.length_hint(rows) or None,
        unit=" images",
        disable=None if show_progress else True,
    ) as bar:
        for row in bar:
            writer.write(row)
            count += 1
            failed += row.error is not None
    return Written(count, failed)


def _text_writer(fmt: str, file: IO[str]) -> _Writer:
    return _CsvWriter(file) if fmt == "csv" else _JsonLinesWriter(file)


def _format_of(output: Path | None) -> RowFormat:
    suffix = output.suffix.lower() if output is not None else ""
    by_suffix: dict[str, RowFormat] = {
        ".jsonl": "jsonl",
        ".ndjson": "jsonl",
        ".parquet": "parquet",
        ".pq": "parquet",
    }
    return by_suffix.get(suffix, "csv")


def _as_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return value  # csv writes None as an empty cell


@contextlib.contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """Give a file beside `output` to write to, and put it in its place when all went well."""
    if output.is_dir():
        raise UsageError(f"Cannot write {output}: expected a file name, this is a folder.")
    partial = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        partial.touch(exist_ok=False)
    except OSError as error:
        raise UsageError(f"Cannot write {output}: {error.strerror}.") from error
    try:
        yield partial
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def _as_text(path: Path) -> str:
    # File names may hold bytes that are no UTF-8, which Python keeps as lone surrogates; no output
    # format can.
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
