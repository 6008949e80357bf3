"""The rows of a bulk prediction, and how they are written as CSV, JSON lines or Parquet."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import BundleInfo
from shopwindow.errors import MissingExtraError, UsageError
from shopwindow.inference.prediction import Prediction
from shopwindow.inference.verdict import UNKNOWN, per_cent, verdict_on
from shopwindow.plain_text import aligned, escape_formula, printable

# What earlier versions wrote, and what came later behind it, so that each keeps its place.
FIRST_COLUMNS = ("path", "label", "confidence", "sure", "top", "attributes", "error")
COLUMNS = (*FIRST_COLUMNS, "prediction_set")
EMBEDDING_COLUMN = "embedding"  # after these, on request, in Parquet only

# A table is for people, on a terminal, and is never saved.
RowFormat = Literal["csv", "jsonl", "parquet", "table"]

_SUFFIXES: dict[str, RowFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
# Endings that promise what is not written here.
_OTHER_FORMATS = (
    *("arrow", "avro", "db", "feather", "html", "json", "ods"),
    *("tsv", "xls", "xlsx", "xml"),
)
_COMPRESSIONS = ("7z", "bz2", "gz", "lz4", "xz", "zip", "zst")
_GROUP_ROWS = 65_536  # in one row group of a Parquet file that is joined from parts


@dataclass(frozen=True, slots=True)
class Row:
    """The result for one input: either a prediction or the reason why there is none."""

    path: str
    prediction: Prediction | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if (self.prediction is None) == (self.error is None):
            raise ValueError("expected either a prediction or an error, got both or neither")

    def as_json(self) -> dict[str, Any]:
        """Return the row in the shape that all output formats share; missing values are None."""
        found = self.prediction.as_json() if self.prediction is not None else {}
        return {
            "path": _as_text(self.path),
            **{column: found.get(column) for column in COLUMNS[1:]},
            "error": None if self.error is None else _as_text(self.error),
        }


def format_of(output: Path | None, fmt: str | None, *, for_people: bool = False) -> RowFormat:
    """Return the format that was asked for, else that of the ending of `output`, else CSV.

    Args:
        output: The file to write; None for the screen or a pipe.
        fmt: What was asked for, if anything.
        for_people: Whether a person reads what is not saved: then a table, unless a format was
            asked for.

    Raises:
        UsageError: An unknown format, an ending of another format or of compression, or Parquet
            without a file.
        MissingExtraError: Parquet without pyarrow.
    """
    suffix = output.suffix.lower() if output is not None else ""
    if suffix[1:] in _COMPRESSIONS:
        raise UsageError(
            f"--output: expected a name that ends in .csv, .jsonl or .parquet, found {suffix}; "
            "only Parquet is compressed; choose another name."
        )
    if fmt is None and suffix[1:] in _OTHER_FORMATS:
        raise UsageError(
            f"--output: expected a name that ends in .csv, .jsonl or .parquet, found {suffix}; "
            "choose another name, or give the format with --format."
        )
    if output is None and fmt is None and for_people:
        return "table"
    chosen: str = fmt or _SUFFIXES.get(suffix, "csv")
    if chosen == "table" or chosen not in get_args(RowFormat):
        raise UsageError(f"format: expected csv, jsonl or parquet, got {chosen!r}.")
    if chosen == "parquet":
        if output is None:
            raise UsageError("Parquet cannot be written to the screen: name a file with --output.")
        _import_parquet()
    return cast(RowFormat, chosen)


def require_embeddings(fmt: RowFormat, info: BundleInfo) -> None:
    """Refuse to write embeddings in another format than Parquet, or of a bundle without them.

    Raises:
        UsageError: Of these two.
    """
    if fmt != "parquet":
        raise UsageError(
            f"--embeddings: expected Parquet, which holds numbers as such, found {fmt}; give a "
            "name that ends in .parquet with --output."
        )
    if not info.embedding:
        raise UsageError(
            f"--embeddings: expected a model that gives embeddings, but {info.name} {info.version} "
            "does not; train it again, or leave --embeddings out."
        )


def encode_rows(rows: Sequence[Row], fmt: RowFormat, *, embedding: int = 0) -> bytes:
    """Return rows as one part: CSV without its header, JSON lines, a table, or a Parquet file.

    Args:
        rows: To write.
        fmt: The format.
        embedding: D, where Parquet gets a column of embeddings; all predictions must have one.
    """
    records = (row.as_json() for row in rows)
    if fmt == "parquet":
        vectors = [None if r.prediction is None else r.prediction.embedding for r in rows]
        return _encode_parquet(records, vectors, embedding)
    if fmt == "table":
        return encode_table(rows)
    text = io.StringIO()
    if fmt == "csv":
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([_as_cell(record[column]) for column in COLUMNS] for record in records)
    else:
        text.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    return text.getvalue().encode("utf-8")


def encode_table(rows: Sequence[Row]) -> bytes:
    """Return rows as people read them: `photo.jpg   Sports Shoes   97 %   very likely`."""
    if not rows:
        return b""
    cells = [_cells_of(row.prediction) if row.prediction else ("–", "", "") for row in rows]
    names = [printable(_as_text(row.path)) for row in rows]
    errors = [printable(_as_text(row.error)) if row.error is not None else "" for row in rows]
    # An error is as long as it is: it stands last, and in no column.
    table = aligned([(name, *cell) for name, cell in zip(names, cells, strict=True)], "<<><")
    lines = [f"{line}  {error}".rstrip() for line, error in zip(table, errors, strict=True)]
    return "".join(line[2:] + "\n" for line in lines).encode("utf-8")


def _cells_of(prediction: Prediction) -> tuple[str, str, str]:
    verdict = verdict_on(prediction).lower()
    if prediction.shown is None:
        return UNKNOWN, "", verdict
    return (
        printable(prediction.shown.label),
        per_cent(prediction.shown.confidence),
        verdict,
    )


def header_of(fmt: RowFormat, *, saved: bool = False) -> bytes:
    """Return what comes before the first part.

    Args:
        fmt: The format.
        saved: Whether it goes to a file. Excel, say, recognises UTF-8 only by a byte order mark;
            the reader of a pipe would take the mark for a part of the first name.
    """
    if fmt != "csv":
        return b""
    return (codecs.BOM_UTF8 if saved else b"") + (",".join(COLUMNS) + "\n").encode("ascii")


def is_output(path: Path) -> bool:
    """Say whether a file is empty, or begins as an output of `predict` does."""
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError:
        return False
    if start.startswith(b"PAR1"):
        _, parquet = _import_parquet()
        try:
            names = tuple(parquet.read_schema(path).names)
            known = (FIRST_COLUMNS, COLUMNS)
            return names in known or names in [(*one, EMBEDDING_COLUMN) for one in known]
        except (OSError, ValueError):  # pyarrow's errors are ValueErrors
            return False
    first = ",".join(FIRST_COLUMNS).encode("ascii")
    beginnings = (first, codecs.BOM_UTF8 + first, b'{"path": ')
    return not start or start.startswith(beginnings)


def join_parts(parts: Sequence[Path], file: IO[bytes], fmt: RowFormat) -> None:
    """Write parts, in order, as one file, with only a few of them in memory.

    Raises:
        OSError: A part cannot be read, or the file cannot be written.
    """
    if fmt == "parquet":
        _join_parquet(parts, file)
        return
    file.write(header_of(fmt, saved=True))
    for part in parts:
        file.write(part.read_bytes())


def _encode_parquet(
    records: Iterator[dict[str, Any]],
    vectors: Sequence[NDArray[np.float32] | None],
    width: int,
) -> bytes:
    arrow, parquet = _import_parquet()
    score = arrow.struct([("label", arrow.string()), ("confidence", arrow.float64())])
    types = {
        **dict.fromkeys(("path", "label", "error"), arrow.string()),
        "confidence": arrow.float64(),
        "sure": arrow.bool_(),
        "top": arrow.list_(score),
        "attributes": arrow.map_(arrow.string(), score),
        "prediction_set": arrow.list_(arrow.string()),
    }
    schema = arrow.schema([(column, types[column]) for column in COLUMNS])
    gathered = []
    for record in records:
        if record["attributes"] is not None:
            record["attributes"] = list(record["attributes"].items())  # Arrow maps take pairs
        gathered.append(record)
    table = arrow.Table.from_pylist(gathered, schema=schema)
    if width:
        # 16 bits hold a number of a unit vector to one part in 2,000, in half the space.
        none = np.zeros(width, np.float16)
        values = [none if vector is None else vector.astype(np.float16) for vector in vectors]
        column = arrow.FixedSizeListArray.from_arrays(
            arrow.array(np.concatenate([none[:0], *values])),
            width,
            mask=arrow.array([vector is None for vector in vectors], arrow.bool_()),
        )
        table = table.append_column(EMBEDDING_COLUMN, column)
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


def _join_parquet(parts: Sequence[Path], file: IO[bytes]) -> None:
    arrow, parquet = _import_parquet()
    writer = None
    waiting: list[Any] = []
    for number, part in enumerate(parts, start=1):
        waiting.append(parquet.read_table(part))
        writer = writer or parquet.ParquetWriter(file, waiting[0].schema)
        if number == len(parts) or sum(map(len, waiting)) >= _GROUP_ROWS:
            writer.write_table(arrow.concat_tables(waiting))
            waiting.clear()
    if writer is not None:
        writer.close()


def _import_parquet() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("Writing Parquet", "parquet") from error
    return pyarrow, parquet


def _as_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        return escape_formula(value)
    return value  # csv writes None as an empty cell


def _as_text(path: str) -> str:
    # Python keeps bytes of file names that are not UTF-8 as lone surrogates; no format here can.
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
