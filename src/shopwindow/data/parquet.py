"""Parquet files: a table whose image column holds paths, or the bytes of the images themselves."""

from __future__ import annotations

import bisect
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from shopwindow.data.folder import MAX_IMAGE_BYTES
from shopwindow.data.tables import TableRow, cell_text
from shopwindow.errors import (
    DataError,
    MissingExtraError,
    OversizedImageError,
    UnreadableImageError,
)

_BATCH_ROWS = 10_000


class RowImages(Protocol):
    """The images in the rows of a table, by references such as `file.parquet#12`."""

    @property
    def root(self) -> Path:
        """The folder, absolute."""

    def read_bytes(self, reference: str) -> bytes:
        """Return the bytes in a row. Raises `ImageError` where it cannot."""

    def stamp(self, reference: str) -> tuple[int, int]:
        """Return size (bytes) and modification time (ns) of its file."""


class ParquetTable:
    """A Parquet file as rows of text.

    Image bytes are a binary column, or the struct of `bytes` and `path` that Hugging Face's
    `datasets` writes. Such a cell is given as the image's reference, `file.parquet#12`.

    Args:
        path: The file.
        source: An open file to read instead, of a table that does not lie at `path`.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: The file is not Parquet.
    """

    def __init__(self, path: Path, source: Any = None) -> None:
        self.path = path
        self.notes: tuple[str, ...] = ()
        self._file = _open(path, source)
        self.columns: tuple[str, ...] = tuple(self._file.schema_arrow.names)

    def __len__(self) -> int:
        """Count the rows."""
        return int(self._file.metadata.num_rows)

    @property
    def class_columns(self) -> dict[str, tuple[str, ...]]:
        """The names behind the numbers of each column that is a Hugging Face `ClassLabel`."""
        return _class_names(self._file)

    def holds_bytes(self, column: str) -> bool:
        """Return whether a column holds image bytes rather than paths."""
        return _bytes_path(self._file, column) is not None

    def open_images(self, column: str) -> RowImages:
        """Return the images of a column that holds bytes."""
        return ParquetImages(self.path, column)

    def rows(self, wanted: Sequence[str]) -> Iterator[TableRow]:
        """Yield every row. Null is an empty cell; numbers are given as text.

        The number of a `ClassLabel` is given as its name.

        Raises:
            DataError: The file is damaged.
        """
        import pyarrow

        in_bytes = {name for name in wanted if self.holds_bytes(name)}
        number = 0
        try:
            names_of = self.class_columns
            texts = [name for name in wanted if name not in in_bytes]
            for batch in self._file.iter_batches(_BATCH_ROWS, columns=texts):
                columns = {
                    name: _named(batch.column(name).to_pylist(), names_of.get(name))
                    for name in texts
                }
                for position in range(batch.num_rows):
                    cells = (
                        f"{self.path.name}#{number}"
                        if name in in_bytes
                        else cell_text(columns[name][position])
                        for name in wanted
                    )
                    yield TableRow(number, tuple(cells))
                    number += 1
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{self.path} is damaged after row {number}: {error}") from error


class ParquetImages:
    """The images in a Parquet column of bytes.

    Whole row groups are read, and the last two are kept: reading in order reads each once. Safe to
    use from several threads.
    """

    def __init__(self, path: Path, column: str) -> None:
        self.path = path
        self.root = path.parent.resolve()
        self._file = _open(path)
        column_path = _bytes_path(self._file, column)
        if column_path is None:
            raise DataError(f"{path}: column {column!r} holds no image bytes.")
        self._column, self._field = column, column_path
        self._lock = threading.Lock()
        self._groups: OrderedDict[int, Any] = OrderedDict()
        self._starts = [0]
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            self._starts.append(self._starts[-1] + rows)
        status = path.stat()
        self._stamp = status.st_size, status.st_mtime_ns

    def read_bytes(self, reference: str) -> bytes:
        """Return the bytes in row N of `file.parquet#N`.

        Raises:
            OversizedImageError: It has more than 100 MB.
            UnreadableImageError: The cell is empty, or the file is damaged.
        """
        row = int(reference.rpartition("#")[2])
        group = bisect.bisect_right(self._starts, row) - 1
        value = self._read_group(group)[row - self._starts[group]]
        if self._field and value.is_valid:
            value = value["bytes"]
        if not value.is_valid:
            raise UnreadableImageError("The cell is empty.")
        if (size := value.as_buffer().size) > MAX_IMAGE_BYTES:
            raise OversizedImageError(
                f"The image has {size:,} bytes; at most {MAX_IMAGE_BYTES:,} are accepted."
            )
        content: bytes = value.as_py()
        return content

    def _read_group(self, group: int) -> Any:
        import pyarrow

        with self._lock:
            if group not in self._groups:
                try:
                    table = self._file.read_row_group(group, columns=[self._column])
                except (pyarrow.ArrowException, OSError) as error:
                    raise UnreadableImageError(f"The Parquet file is damaged: {error}") from error
                self._groups[group] = table.column(self._column)
                if len(self._groups) > 2:
                    self._groups.popitem(last=False)
            return self._groups[group]

    def stamp(self, reference: str) -> tuple[int, int]:
        """Return size (bytes) and modification time (ns) of the whole file."""
        return self._stamp


def _open(path: Path, source: Any = None) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Reading Parquet", "parquet") from error
    try:
        return pyarrow.parquet.ParquetFile(path if source is None else source)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error


def _bytes_path(file: Any, column: str) -> str | None:
    """Return "" for a binary column, "bytes" for a struct with such a field, else None."""
    import pyarrow.types as types

    kind = file.schema_arrow.field(column).type
    if types.is_binary(kind) or types.is_large_binary(kind):
        return ""
    if types.is_struct(kind) and "bytes" in [field.name for field in kind]:
        return "bytes"
    return None


def _class_names(file: Any) -> dict[str, tuple[str, ...]]:
    """Return what `datasets` wrote into the schema about its columns of class "ClassLabel"."""
    try:
        written = json.loads((file.schema_arrow.metadata or {})[b"huggingface"])
        features = written["info"]["features"].items()
        return {
            column: tuple(feature["names"])
            for column, feature in features
            if feature.get("_type") == "ClassLabel"
            and all(isinstance(name, str) for name in feature["names"])
        }
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}  # written by something else, or by a version to come: the numbers remain


def _named(values: list[Any], names: tuple[str, ...] | None) -> list[Any]:
    """Put names for numbers; -1 is no label, and a number without a name stays one."""
    if names is None:
        return values
    known: dict[Any, str | None] = dict(enumerate(names)) | {-1: None}
    return [known.get(value, value) for value in values]
