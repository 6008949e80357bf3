"""Parquet: a table in one file or in several, whose images are paths or the bytes themselves."""

from __future__ import annotations

import bisect
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from shopwindow.data.folder import MAX_IMAGE_BYTES, ImageFolder
from shopwindow.data.parts import role_of
from shopwindow.data.tables import PARQUET_SUFFIXES, Table, TableRow, cell_text
from shopwindow.errors import (
    DataError,
    MissingExtraError,
    OversizedImageError,
    UnreadableImageError,
)
from shopwindow.plain_text import listed

_BATCH_ROWS = 10_000
_BUFFER_BYTES = 1 << 20  # read by the piece, not by the column chunk, which may have gigabytes
_GROUPS_IN_MEMORY = 2
# `train-00000-of-00002`, with or without a hash behind it; `0000`; `part-00000-...` of Spark
_NUMBERED = re.compile(r"(?P<name>.*?)-?(?P<number>\d{5})-of-(?P<count>\d{5})|\d{4,}$|part-\d+")


def open_parquet(path: Path | str, source: Any = None) -> Any:
    """Return a `pyarrow.parquet.ParquetFile` that is read piece by piece.

    Args:
        path: The file.
        source: An open file to read instead, of one that does not lie at `path`.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: It is not a Parquet file, or cannot be read.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Reading Parquet", "parquet") from error
    try:
        return pyarrow.parquet.ParquetFile(
            path if source is None else source, buffer_size=_BUFFER_BYTES
        )
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error


def bytes_columns(file: Any) -> tuple[str, ...]:
    """Return the columns of image bytes: binary ones, and structs as Hugging Face writes them."""
    from pyarrow import types

    return tuple(
        field.name
        for field in file.schema_arrow
        if types.is_binary(field.type)
        or types.is_large_binary(field.type)
        or (types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
    )


def find_shards(folder: Path) -> list[Path]:
    """Return the Parquet files below a folder that are parts of one table, by their names.

    So do Hugging Face's Hub and Spark write them.

    Args:
        folder: Whose own files are looked at, and those of its folders where it has none.

    Returns:
        Sorted; empty where their names do not say so.
    """
    found = _parquet_files(folder, folder.iterdir())
    deep = [] if found else _parquet_files(folder, folder.rglob("*"))
    if deep and ImageFolder(folder).images:  # then it is the images that are the data set
        return []
    paths = sorted(found or deep)
    numbered = [_NUMBERED.match(path.stem) for path in paths]
    named = zip(paths, numbered, strict=True)
    if not all(match or role_of(path.stem) is not None for path, match in named):
        return []
    counted = any(match and match["count"] for match in numbered)
    return paths if len(paths) > 1 or deep or counted else []


def _parquet_files(folder: Path, paths: Iterable[Path]) -> list[Path]:
    return [
        path
        for path in paths
        if path.suffix.lower() in PARQUET_SUFFIXES
        and not any(step.startswith(".") for step in path.relative_to(folder).parts)
        and path.is_file()
    ]


class ParquetTable(Table):
    """A Parquet file, or a folder of files that are one table, as rows of text.

    Image bytes are a binary column, or the struct of `bytes` and `path` that Hugging Face's
    `datasets` writes. Such a cell is given as the image's reference, `file.parquet#12`. The number
    of a `ClassLabel` is given as its name, null as an empty cell.

    Args:
        path: The file, or the folder whose `find_shards` it is.
        source: An open file to read instead, of a table that does not lie at `path`.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: A file is not Parquet, or has other columns than the first.
    """

    def __init__(self, path: Path, source: Any = None) -> None:
        self.path = path
        self._is_folder = path.is_dir()
        paths = find_shards(path) if self._is_folder else [path]
        self._root = path if self._is_folder else path.parent
        self._paths = {shard.relative_to(self._root).as_posix(): shard for shard in paths}
        self._files = {name: open_parquet(shard, source) for name, shard in self._paths.items()}
        first = next(iter(self._files.values()))
        self.columns = tuple(first.schema_arrow.names)
        self.bytes_columns = bytes_columns(first)
        self.class_columns = _class_columns(first)
        for name, file in self._files.items():
            if set(file.schema_arrow.names) != set(self.columns):
                raise DataError(
                    f"{self._paths[name]} has other columns than {paths[0]}: expected parts of one "
                    "table; name one of them as DATA."
                )
        if self._is_folder:
            self.roles = {
                name: role_of(shard.stem) or role_of(Path(name).parent.name) or ""
                for name, shard in self._paths.items()
            }
            self.notes = (_name_files(self._paths),)

    def __len__(self) -> int:
        """Count the rows."""
        return sum(int(file.metadata.num_rows) for file in self._files.values())

    def open_images(self, column: str) -> ParquetImages:
        """Return the images of a column that holds bytes."""
        return ParquetImages(self._root, self._paths, column)

    def rows(self, wanted: Sequence[str]) -> Iterator[TableRow]:
        """Yield every row of every file.

        Raises:
            DataError: A file is damaged.
        """
        import pyarrow

        texts = [name for name in wanted if name not in self.bytes_columns]
        for file_name, file in self._files.items():
            number = 0
            try:
                classes = _class_columns(file)
                for batch in file.iter_batches(_BATCH_ROWS, columns=texts):
                    columns = {
                        name: _named(batch.column(name).to_pylist(), classes.get(name))
                        for name in texts
                    }
                    for position in range(batch.num_rows):
                        cells = (
                            cell_text(columns[name][position])
                            if name in columns
                            else f"{file_name}#{number}"
                            for name in wanted
                        )
                        shard = file_name if self._is_folder else ""
                        yield TableRow(number, tuple(cells), file=shard)
                        number += 1
            except (pyarrow.ArrowException, OSError) as error:
                raise DataError(
                    f"{self._paths[file_name]} is damaged after row {number}: {error}"
                ) from error


class ParquetImages:
    """The images in a column of bytes, by references such as `data/part.parquet#12`.

    Whole row groups are read, and the last two are kept: reading in order reads each once. Safe to
    use from several threads.
    """

    def __init__(self, root: Path, paths: dict[str, Path], column: str) -> None:
        from pyarrow import types

        self.root = root.resolve()
        self._column = column
        self._files = {name: open_parquet(path) for name, path in paths.items()}
        self._stamps: dict[str, tuple[int, int]] = {}
        self._starts: dict[str, list[int]] = {}  # the first row of each row group, and the end
        for name, file in self._files.items():
            groups = map(file.metadata.row_group, range(file.num_row_groups))
            self._starts[name] = [*accumulate((group.num_rows for group in groups), initial=0)]
            status = paths[name].stat()
            self._stamps[name] = status.st_size, status.st_mtime_ns
            self._is_struct = types.is_struct(file.schema_arrow.field(column).type)
        self._lock = threading.Lock()
        self._groups: OrderedDict[tuple[str, int], Any] = OrderedDict()

    def read_bytes(self, reference: str) -> bytes:
        """Return the bytes in row N of `file.parquet#N`.

        Raises:
            OversizedImageError: It has more than 100 MB.
            UnreadableImageError: The cell is empty, or the file is damaged.
        """
        name, _, number = reference.rpartition("#")
        group = bisect.bisect_right(self._starts[name], int(number)) - 1
        value = self._read_group(name, group)[int(number) - self._starts[name][group]]
        if value.is_valid and self._is_struct:
            value = value["bytes"]
        if not value.is_valid:
            raise UnreadableImageError("The cell is empty.")
        if (size := value.as_buffer().size) > MAX_IMAGE_BYTES:
            raise OversizedImageError(
                f"The image has {size:,} bytes; at most {MAX_IMAGE_BYTES:,} are accepted."
            )
        content: bytes = value.as_py()
        return content

    def stamp(self, reference: str) -> tuple[int, int]:
        """Return size (bytes) and modification time (ns) of the whole file."""
        return self._stamps[reference.rpartition("#")[0]]

    def _read_group(self, name: str, group: int) -> Any:
        import pyarrow

        with self._lock:
            if (name, group) not in self._groups:
                try:
                    table = self._files[name].read_row_group(group, columns=[self._column])
                except (pyarrow.ArrowException, OSError) as error:
                    raise UnreadableImageError(f"The Parquet file is damaged: {error}") from error
                self._groups[name, group] = table.column(self._column)
                if len(self._groups) > _GROUPS_IN_MEMORY:
                    self._groups.popitem(last=False)
            return self._groups[name, group]


def _class_columns(file: Any) -> dict[str, tuple[str, ...]]:
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


def _name_files(paths: dict[str, Path]) -> str:
    """Say which files are read as one table, and how many of them, by their names, are missing."""
    counts: dict[tuple[Path, str], int] = {}
    there = 0
    for path in paths.values():
        match = _NUMBERED.match(path.stem)
        if match and match["count"]:
            counts[path.parent, match["name"]] = int(match["count"])
            there += 1
    lacking = max(0, sum(counts.values()) - there)
    missing = f"; {lacking:,} that belong to them are missing" if lacking else ""
    return f"Read as one table: {listed([*paths], 4)}{missing}"
