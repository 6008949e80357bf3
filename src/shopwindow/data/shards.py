"""Several Parquet files that are one data set, as Hugging Face's Hub and Spark write them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from shopwindow.data.folder import ImageFolder
from shopwindow.data.layout import Role, role_of
from shopwindow.data.parquet import ParquetTable, RowImages
from shopwindow.data.tables import TableRow
from shopwindow.errors import DataError

PARQUET_SUFFIXES = (".parquet", ".pq")
# `train-00000-of-00002`, with or without a hash behind it; `0000`; `part-00000-...` of Spark
_NUMBERED = re.compile(r"(?P<name>.*?)-?(?P<number>\d{5})-of-(?P<count>\d{5})|\d{4,}$|part-\d+")


def find_shards(folder: Path) -> list[Path]:
    """Return the Parquet files below a folder that are parts of one table, by their names.

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
    names = [_NUMBERED.match(path.stem) for path in paths]
    if not all(
        name or role_of(path.stem) is not None for name, path in zip(names, paths, strict=True)
    ):
        return []
    counted = any(name and name["count"] for name in names)
    return paths if len(paths) > 1 or deep or counted else []


def _parquet_files(folder: Path, paths: Iterator[Path]) -> list[Path]:
    return [
        path
        for path in paths
        if path.suffix.lower() in PARQUET_SUFFIXES
        and not any(step.startswith(".") for step in path.relative_to(folder).parts)
        and path.is_file()
    ]


class ParquetShards(ParquetTable):
    """The files of `find_shards` as one table.

    Args:
        folder: Their folder, or one above; images are called after their paths from here.

    Attributes:
        files: Their paths below it.
        roles: What each is for, by its name or that of its folder: `test-00000-of-00001`.
        missing: How many shards are not there, as the names of the others count them.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: One is not Parquet, or has other columns than the first.
    """

    def __init__(self, folder: Path) -> None:
        paths = find_shards(folder)
        self.path = folder
        self.notes = ()
        self.files = tuple(path.relative_to(folder).as_posix() for path in paths)
        self._tables = {
            name: ParquetTable(path) for name, path in zip(self.files, paths, strict=True)
        }
        first = next(iter(self._tables.values()))
        self._file, self.columns = first._file, first.columns
        for table in self._tables.values():
            if set(table.columns) != set(self.columns):
                raise DataError(
                    f"{table.path} has other columns than {first.path}: expected parts of one "
                    "table; name one of them as DATA."
                )
        self.roles: dict[str, Role] = {
            name: role_of(Path(name).stem) or role_of(Path(name).parent.name) or ""
            for name in self.files
        }
        self.missing = _missing(paths)

    def __len__(self) -> int:
        """Count the rows."""
        return sum(map(len, self._tables.values()))

    def open_images(self, column: str) -> RowImages:
        """Return the images of a column that holds bytes."""
        return ShardImages(
            self.path, {name: table.open_images(column) for name, table in self._tables.items()}
        )

    def rows(self, wanted: Sequence[str]) -> Iterator[TableRow]:
        """Yield the rows of all files; see `ParquetTable.rows`."""
        in_bytes = [self.holds_bytes(name) for name in wanted]
        for name, table in self._tables.items():
            for row in table.rows(wanted):
                cells = (
                    f"{name}#{row.number}" if held else cell
                    for held, cell in zip(in_bytes, row.cells, strict=True)
                )
                yield replace(row, cells=tuple(cells), file=name)


class ShardImages:
    """The images in the files of a `ParquetShards`. Safe to use from several threads."""

    def __init__(self, folder: Path, images: dict[str, RowImages]) -> None:
        self.root = folder.resolve()
        self._images = images

    def read_bytes(self, reference: str) -> bytes:
        """Return the bytes in row N of `data/train-00000-of-00002.parquet#N`; see there."""
        return self._images[reference.rpartition("#")[0]].read_bytes(reference)

    def stamp(self, reference: str) -> tuple[int, int]:
        """Return size (bytes) and modification time (ns) of its file."""
        return self._images[reference.rpartition("#")[0]].stamp(reference)


def _missing(paths: Sequence[Path]) -> int:
    counts: dict[tuple[Path, str], int] = {}
    there = 0
    for path in paths:
        match = _NUMBERED.match(path.stem)
        if match and match["count"]:
            counts[path.parent, match["name"]] = int(match["count"])
            there += 1
    return max(0, sum(counts.values()) - there)
