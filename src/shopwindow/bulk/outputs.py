"""What `predict` wrote, in any of its formats, read back in blocks of rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.bulk.rows import COLUMNS, FIRST_COLUMNS
from shopwindow.errors import MissingExtraError, UsageError
from shopwindow.plain_text import unescape_formula

_BLOCK_ROWS = 50_000
_MAX_CELL_CHARS = 10_000_000  # `top` of very many labels exceeds the csv module's limit


@dataclass(frozen=True)
class Block:
    """N rows.

    Attributes:
        labels: The label of each row; None where there is no prediction.
        sure: Whether the prediction is sure; None where there is none.
        errors: Why there is no prediction; None where there is one.
        confidence: (N,) float64, 0 to 1; NaN where there is no prediction.
        path: Returns the name of the input of a row, counted from 0.
        top: Returns the likeliest labels of a row, best first, as `{"label", "confidence"}`.
    """

    labels: Sequence[str | None]
    sure: Sequence[bool | None]
    errors: Sequence[str | None]
    confidence: NDArray[np.float64]
    path: Callable[[int], str]
    top: Callable[[int], list[dict[str, Any]]]


def read_blocks(output: Path) -> Iterator[Block]:
    """Yield the rows of an output of `predict`: a file, or a folder of Parquet parts.

    The format is recognised by the content, not by the name.

    Raises:
        UsageError: It is not such an output.
        MissingExtraError: It is Parquet, and pyarrow is not installed.
        OSError: It cannot be read.
    """
    if output.is_dir():
        yield from _read_parquet(output)
        return
    with output.open("rb") as file:
        start = file.read(4)
    if start == b"PAR1":
        yield from _read_parquet(output)
        return
    try:
        with output.open(encoding="utf-8-sig", newline="") as text:
            read = _read_json_lines if start[:1] == b"{" else _read_csv
            records = read(output, text)
            while rows := list(islice(records, _BLOCK_ROWS)):
                yield _block_of(rows)
    except (ValueError, TypeError, csv.Error) as error:  # not text, JSON or numbers
        raise UsageError(_not_ours(output, f"other content: {error}")) from error


def _read_json_lines(output: Path, text: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in text:
        row = json.loads(line)
        if not set(FIRST_COLUMNS) <= set(row):
            raise UsageError(_not_ours(output, f"the columns {', '.join(row)[:200]}"))
        yield row


def _read_csv(output: Path, text: Iterable[str]) -> Iterator[dict[str, Any]]:
    before = csv.field_size_limit(_MAX_CELL_CHARS)  # of the whole process
    try:
        rows = csv.reader(text)
        header = next(rows, [])
        if tuple(header) not in (FIRST_COLUMNS, COLUMNS):
            found = f"the columns {', '.join(header)[:200]}" if header else "nothing"
            raise UsageError(_not_ours(output, found))
        for cells in rows:
            row: dict[str, Any] = dict(zip(header, map(unescape_formula, cells), strict=True))
            if row["error"]:
                row |= dict.fromkeys(("label", "confidence", "sure", "top"))
            else:
                row |= {"error": None, "sure": row["sure"] == "true"}
            yield row
    finally:
        csv.field_size_limit(before)


def _block_of(rows: Sequence[dict[str, Any]]) -> Block:
    def top(index: int) -> list[dict[str, Any]]:
        cell = rows[index]["top"]
        return json.loads(cell) if isinstance(cell, str) else cell  # type: ignore[no-any-return]

    numbers = [np.nan if row["error"] is not None else float(row["confidence"]) for row in rows]
    return Block(
        labels=[row["label"] for row in rows],
        sure=[row["sure"] for row in rows],
        errors=[row["error"] for row in rows],
        confidence=np.array(numbers, np.float64),
        path=lambda index: str(rows[index]["path"]),
        top=top,
    )


def _read_parquet(output: Path) -> Iterator[Block]:
    try:
        import pyarrow
        from pyarrow import dataset
    except ImportError as error:
        raise MissingExtraError("Reading Parquet", "parquet") from error
    try:
        table = dataset.dataset(output, format="parquet")
        if missing := sorted(set(FIRST_COLUMNS) - set(table.schema.names)):
            raise UsageError(_not_ours(output, f"no columns {', '.join(missing)}"))
        for batch in table.to_batches(columns=list(FIRST_COLUMNS), batch_size=_BLOCK_ROWS):
            yield _block_of_batch(batch)
    except pyarrow.ArrowException as error:
        raise UsageError(_not_ours(output, "a damaged Parquet file")) from error


def _block_of_batch(batch: Any) -> Block:
    labels, sure, errors = (batch.column(name).to_pylist() for name in ("label", "sure", "error"))
    return Block(
        labels,
        sure,
        errors,
        batch.column("confidence").to_numpy(zero_copy_only=False).astype(np.float64),
        path=lambda index: str(batch.column("path")[index].as_py()),
        top=lambda index: list(batch.column("top")[index].as_py()),
    )


def _not_ours(output: Path, found: str) -> str:
    return (
        f"{output}: expected what shopwindow predict --output writes, with the columns "
        f"{', '.join(COLUMNS)}; found {found}."
    )
