"""Tables of any kind, and what their columns are for: one answer for all commands."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from shopwindow.data.folder import ImageFolder
from shopwindow.data.labelled_images import LABEL_COLUMN_NAME
from shopwindow.data.matching import match_names
from shopwindow.data.parquet import ParquetTable
from shopwindow.data.records import JSON_LINES_SUFFIXES, SHEET_SUFFIXES, RecordTable
from shopwindow.data.shards import PARQUET_SUFFIXES, ParquetShards
from shopwindow.data.tables import DelimitedTable, LabelTable
from shopwindow.errors import UsageError
from shopwindow.imaging.formats import IMAGE_SUFFIXES

IMAGE_COLUMN_NAMES = ("image", "path", "file", "filename", "file_name", "image_path", "id")
LOOKED_AT = 500  # rows that say which of several columns names the images
_MOST_COLUMNS = 50  # are asked whether they name images, besides those that are called so


def open_table(path: Path, source: Any = None, *, needs_header: bool = True) -> LabelTable:
    """Open a table of any kind, so that it means the same to every command.

    Args:
        path: The file; its ending tells the kind. Or a folder of `find_shards`.
        source: An open file to read a Parquet table from, where it does not lie at `path`.
        needs_header: Whether a first line that names an image is refused; if not, it is a row, and
            the columns are called 1, 2 and so on.

    Raises:
        MissingExtraError: A Parquet file, and pyarrow is not installed.
        DataError: It cannot be read.
    """
    if path.is_dir():
        return ParquetShards(path)
    if path.suffix.lower() in PARQUET_SUFFIXES:
        return ParquetTable(path, source)
    if path.name.lower().endswith((*SHEET_SUFFIXES, *JSON_LINES_SUFFIXES)):
        return RecordTable(path)
    return DelimitedTable(path, needs_header=needs_header)


def choose_columns(
    table: LabelTable,
    folder: ImageFolder,
    image_column: str | None,
    label_column: str | None,
    also: Sequence[str],
    group_column: str | None,
) -> tuple[str, tuple[str, ...]]:
    """Return the column of the images, and those of the labels: the main one, `also`, the groups.

    Args:
        table: The table.
        folder: Where its images are looked for.
        image_column: As asked for; see `choose_image_column`.
        label_column: As asked for; `label` if not.
        also: Further label columns.
        group_column: What images have in common.

    Raises:
        UsageError: There is no such column, or one that has two roles.
    """
    listed = listed_columns(table)
    image_column = choose_image_column(table, folder, image_column)
    groups = () if group_column is None else (group_column,)
    label_columns = (label_column or _usual_label_column(table, also), *also, *groups)
    options = (
        "--image-column",
        "--label-column",
        *["--also"] * len(also),
        *["--group-column"] * len(groups),
    )
    for option, name in zip(options, (image_column, *label_columns), strict=True):
        count = table.columns.count(name)
        if count != 1:
            what = "There is no column" if count == 0 else f"There are {count} columns"
            if option == "--label-column" and label_column is None:
                raise UsageError(
                    f"{what} {name!r}. {listed}. Name the one with the labels with --label-column."
                )
            raise UsageError(f"{what} {name!r} for {option}. {listed}.")
    if len({image_column, *label_columns}) < 1 + len(label_columns):
        raise UsageError(
            "Each column can have one role: expected different columns for the image "
            f"({image_column}), the labels and the groups ({', '.join(label_columns)})."
        )
    return image_column, label_columns


def _usual_label_column(table: LabelTable, also: Sequence[str]) -> str:
    """Return `label`; where there is none, the only column that says it is one of labels."""
    if LABEL_COLUMN_NAME not in table.columns and isinstance(table, ParquetTable):
        known = set(table.class_columns).intersection(table.columns).difference(also)
        if len(known) == 1:
            return known.pop()
    return LABEL_COLUMN_NAME


def choose_image_column(
    table: LabelTable,
    folder: ImageFolder | None,
    wanted: str | None,
    remembered: str | None = None,
) -> str:
    """Return the column that names the images, or holds them.

    Args:
        table: The table.
        folder: Where its images are looked for; None for a table from elsewhere.
        wanted: What was asked for.
        remembered: What it was called in a training; taken where the table has it.

    Raises:
        UsageError: There is no such column, or it cannot be told which.
    """
    columns = table.columns
    if wanted is not None:
        if columns.count(wanted) != 1:
            count = columns.count(wanted)
            what = "There is no column" if count == 0 else f"There are {count} columns"
            raise UsageError(f"{what} {wanted!r} for --image-column. {listed_columns(table)}.")
        return wanted
    if remembered is not None and columns.count(remembered) == 1:
        return remembered
    held = [one for one in columns if isinstance(table, ParquetTable) and table.holds_bytes(one)]
    for only in (columns, held):
        if len(only) == 1:
            return only[0]
    named = [name for name in (*IMAGE_COLUMN_NAMES, *_numbers(table)) if columns.count(name) == 1]
    found = _column_by_files(table, folder, named) if folder is not None else None
    if found is None and not named:
        raise UsageError(
            f"No column is called {', '.join(IMAGE_COLUMN_NAMES)}. {listed_columns(table)}. Name "
            "the one with the images with --image-column."
        )
    return found or named[0]


@dataclass(frozen=True)
class _Hits:
    """Which files the first rows of a column name.

    Attributes:
        column: Its name.
        files: Of each row, the file; "" where there is none.
        whole: How many cells are the whole name of a file, with its extension.
    """

    column: str
    files: tuple[str, ...]
    whole: int

    @property
    def rank(self) -> tuple[int, int]:
        """The more files, the better; a whole name is no coincidence."""
        return len(self.files) - self.files.count(""), self.whole


def _column_by_files(table: LabelTable, folder: ImageFolder, named: Sequence[str]) -> str | None:
    """Return the column whose cells find most images, of those called so the first; None if none.

    `id` may be the number of the row, and the column with the files be called anything.

    Raises:
        UsageError: Two find as many by numbers or the like, and not the same.
    """
    if isinstance(table, ParquetTable) and any(map(table.holds_bytes, named)):
        return next(name for name in named if table.holds_bytes(name))
    others = [one for one in table.columns[:_MOST_COLUMNS] if table.columns.count(one) == 1]
    columns = tuple(dict.fromkeys((*named, *others)))
    if isinstance(table, ParquetTable):
        columns = tuple(one for one in columns if not table.holds_bytes(one))
    rows = [row.cells for row in islice(table.rows(columns), LOOKED_AT) if not row.problem]
    hits = [
        hit
        for column, cells in zip(columns, zip(*rows, strict=True), strict=False)
        if (hit := _hits(column, cells, folder, is_named=column in named)) is not None
    ]
    if not hits:
        return None
    best = max(hits, key=lambda hit: hit.rank)  # the first of equals
    for other in hits:
        if other.rank == best.rank and other.files != best.files and not best.whole:
            raise UsageError(
                f"{table.path}: expected one column with the images, but {best.column} and "
                f"{other.column} both name {best.rank[0]:,} of them, and not the same: choose one "
                "with --image-column."
            )
    return best.column


def _hits(
    column: str, cells: Sequence[str], folder: ImageFolder, *, is_named: bool
) -> _Hits | None:
    """Return the files that cells name; None where the column cannot be that of the images."""
    files = [reference if not problem else "" for reference, problem in map(folder.find, cells)]
    lacks = 2 * files.count("") > len(files)
    if lacks and is_named:  # rules take a second, and are for tables that need one
        files = [
            reference if not problem else "" for reference, problem in match_names(cells, folder)[0]
        ]
    elif not is_named and (lacks or 10 * len(set(cells)) < 9 * len(cells)):
        return None  # a year may be the number of a photo, but not of each in turn
    whole = sum(
        bool(file) and posixpath.splitext(cell)[1].lower() in IMAGE_SUFFIXES
        for cell, file in zip(cells, files, strict=True)
    )
    return _Hits(column, tuple(files), whole) if any(files) else None


def listed_columns(table: LabelTable) -> str:
    """Return the names of the columns, for a message."""
    more = f" and {len(table.columns) - 50:,} more" if len(table.columns) > 50 else ""
    return f"The columns of {table.path} are: {', '.join(table.columns[:50])}{more}"


def _numbers(table: LabelTable) -> tuple[str, ...]:
    """Return the columns of a table without a header whose first row names an image."""
    return table.image_numbers if isinstance(table, DelimitedTable) else ()


def images_found(table: LabelTable, folder: ImageFolder, column: str) -> int:
    """Count of the first rows those whose cell names an image, or holds one."""
    if isinstance(table, ParquetTable) and table.holds_bytes(column):
        return LOOKED_AT
    rows = islice(table.rows((column,)), LOOKED_AT)
    names = [row.cells[0] for row in rows if not row.problem]
    plain = sum(not folder.find(name)[1] for name in names)
    if 2 * plain >= len(names):  # rules take a second, and are for tables that need one
        return plain
    return sum(not problem for _, problem in match_names(names, folder)[0])
