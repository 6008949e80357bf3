"""What the columns of a table are for: one answer for all commands."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from shopwindow.data.folder import ImageFolder
from shopwindow.data.labelled_images import LABEL_COLUMN_NAME
from shopwindow.data.matching import match_names
from shopwindow.data.tables import Table
from shopwindow.errors import UsageError
from shopwindow.imaging.formats import IMAGE_SUFFIXES
from shopwindow.plain_text import listed

if TYPE_CHECKING:
    from shopwindow.data.spec import DataSpec

IMAGE_COLUMN_NAMES = ("image", "path", "file", "filename", "file_name", "image_path", "id")
_ROWS_LOOKED_AT = 500  # to find which of several columns names the images
_MOST_COLUMNS = 50  # are asked whether they name images, besides those that are called so


def choose_columns(
    table: Table, folder: ImageFolder, spec: DataSpec
) -> tuple[str, tuple[str, ...]]:
    """Return the column of the images, and those of the labels: the main one, `also`, the groups.

    Args:
        table: The table.
        folder: Where its images are looked for.
        spec: What was asked for; else see `choose_image_column`, and `label`.

    Raises:
        UsageError: There is no such column, or one that has two roles.
    """
    image_column = choose_image_column(table, folder, spec.image_column)
    label_column = spec.label_column or _usual_label_column(table, spec.also)
    if spec.label_column:
        _check_column(table, label_column, " for --label-column")
    else:
        advice = " Name the one with the labels with --label-column."
        _check_column(table, label_column, "", advice)
    for name in spec.also:
        _check_column(table, name, " for --also")
    groups = () if spec.group_column is None else (spec.group_column,)
    for name in groups:
        _check_column(table, name, " for --group-column")
    label_columns = (label_column, *spec.also, *groups)
    if len({image_column, *label_columns}) < 1 + len(label_columns):
        raise UsageError(
            "Each column can have one role: expected different columns for the image "
            f"({image_column}), the labels and the groups ({', '.join(label_columns)})."
        )
    return image_column, label_columns


def choose_image_column(
    table: Table, folder: ImageFolder | None, wanted: str | None, remembered: str | None = None
) -> str:
    """Return the column that names the images, or holds them.

    Args:
        table: The table.
        folder: Where its images are looked for; None for a table from elsewhere.
        wanted: What was asked for.
        remembered: What it was called in a training; taken where the table has it.

    Raises:
        UsageError: There is no such column, or several may be it.
    """
    columns = table.columns
    if wanted is not None:
        _check_column(table, wanted, " for --image-column")
        return wanted
    if remembered is not None and columns.count(remembered) == 1:
        return remembered
    for candidates in (columns, table.bytes_columns):
        if len(candidates) == 1:
            return candidates[0]
    usual = (*IMAGE_COLUMN_NAMES, *table.image_columns)
    named = [name for name in usual if columns.count(name) == 1]
    found = _column_by_files(table, folder, named) if folder is not None else None
    if found is None and not named:
        raise UsageError(
            f"No column is called {', '.join(IMAGE_COLUMN_NAMES)}. {_list_columns(table)}. Name "
            "the one with the images with --image-column."
        )
    return found or named[0]


def names_images(table: Table, folder: ImageFolder, column: str) -> bool:
    """Say whether any of the first rows names an image, or holds one."""
    return column in table.bytes_columns or any(
        file for files in _first_files(table, folder, [column]) for file in files.files
    )


def require_column(table: Table, name: str, option: str) -> None:
    """Make sure that a table has a column.

    Raises:
        UsageError: It has none of that name, or several.
    """
    _check_column(table, name, f" for {option}")


def _check_column(table: Table, name: str, purpose: str, advice: str = "") -> None:
    count = table.columns.count(name)
    if count != 1:
        what = "There is no column" if count == 0 else f"There are {count} columns"
        raise UsageError(f"{what} {name!r}{purpose}. {_list_columns(table)}.{advice}")


def _list_columns(table: Table) -> str:
    return f"The columns of {table.path} are: {listed(table.columns, 50)}"


def _usual_label_column(table: Table, also: Sequence[str]) -> str:
    """Return `label`; where there is none, the only column that says it is one of labels."""
    known = set(table.class_columns).intersection(table.columns).difference(also)
    if LABEL_COLUMN_NAME not in table.columns and len(known) == 1:
        return known.pop()
    return LABEL_COLUMN_NAME


@dataclass(frozen=True)
class _Found:
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


def _column_by_files(table: Table, folder: ImageFolder, named: Sequence[str]) -> str | None:
    """Return the column whose cells find most images, of those called so the first; None if none.

    `id` may be the number of the row, and the column with the files be called anything.

    Raises:
        UsageError: Two find as many by numbers or the like, and not the same.
    """
    if held := [name for name in named if name in table.bytes_columns]:
        return held[0]
    others = [name for name in table.columns[:_MOST_COLUMNS] if table.columns.count(name) == 1]
    columns = [name for name in dict.fromkeys((*named, *others)) if name not in table.bytes_columns]
    candidates = _first_files(table, folder, columns, named)
    if not candidates:
        return None
    best = max(candidates, key=lambda found: found.rank)  # the first of equals
    for other in candidates:
        if other.rank == best.rank and other.files != best.files and not best.whole:
            raise UsageError(
                f"{table.path}: expected one column with the images, but {best.column} and "
                f"{other.column} both name {best.rank[0]:,} of them, and not the same: choose one "
                "with --image-column."
            )
    return best.column


def _first_files(
    table: Table, folder: ImageFolder, columns: Sequence[str], named: Sequence[str] | None = None
) -> list[_Found]:
    """Return what the first rows find, by those columns that find anything.

    Args:
        table: The table.
        folder: Where the images are looked for.
        columns: Whose cells may name them.
        named: Those that are meant to; the others must find most images by plain names, and other
            ones in each row. By default all.
    """
    rows = [row.cells for row in islice(table.rows(columns), _ROWS_LOOKED_AT) if not row.problem]
    candidates = []
    for column, cells in zip(columns, zip(*rows, strict=True), strict=False):
        files = [folder.find(cell).usable for cell in cells]
        lacks = 2 * files.count("") > len(files)
        if named is None or column in named:
            if lacks:  # rules take a second, and are for tables that need one
                files = [match.usable for match in match_names(cells, folder)[0]]
        elif lacks or 10 * len(set(cells)) < 9 * len(cells):
            continue  # a year may be the number of a photo, but not of each in turn
        whole = sum(
            bool(file) and posixpath.splitext(cell)[1].lower() in IMAGE_SUFFIXES
            for cell, file in zip(cells, files, strict=True)
        )
        if any(files):
            candidates.append(_Found(column, tuple(files), whole))
    return candidates
