"""Labelled images as they lie on disk: a table and a folder, class folders, or Parquet.

Nothing is decoded here. Every row and every image file that is left out has its reason.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from shopwindow.data.class_folders import name_roles, read_class_folders
from shopwindow.data.columns import choose_columns, open_table
from shopwindow.data.folder import ImageFolder
from shopwindow.data.labelled_images import (
    DroppedRow,
    ImageSource,
    LabelledImages,
    Row,
    build_images,
    name_unused,
    nothing_left,
)
from shopwindow.data.layout import Role, held_out_role, role_of
from shopwindow.data.matching import match_names
from shopwindow.data.parquet import ParquetTable
from shopwindow.data.shards import ParquetShards
from shopwindow.data.tables import LabelTable
from shopwindow.data.which_table import choose_table, files_of
from shopwindow.errors import DataError, UsageError
from shopwindow.plain_text import counted

_MAX_LABEL_CHARACTERS = 200
# A column called so may say which rows are to learn from, and which to judge by.
_SPLIT_COLUMNS = ("split", "subset", "partition")


def read_catalogue(
    data: Path,
    *,
    labels_file: Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    also: Sequence[str] = (),
    group_column: str | None = None,
) -> LabelledImages:
    """Read which image has which labels.

    Args:
        data: A folder with one table (`.csv`, `.tsv`, `.parquet`) and images in it or in its
            `images` folder; or a folder with one folder per class; or a table, whose folder holds
            the images.
        labels_file: The table, relative to the working directory or to `data`. By default the only
            one in `data`; where there is none, each folder in `data` is a class.
        image_column: Column with the image: a path, or a file name with or without extension; in
            Parquet also the image's bytes. By default that of `IMAGE_COLUMN_NAMES` by which most
            images are found.
        label_column: Column with the main label, by default `label`.
        also: Further label columns. Their cells may be empty.
        group_column: Column of what images have in common, such as who took them; the last of the
            label columns that are returned.

    Raises:
        UsageError: A path or column that is not there. The message lists the columns there are.
        MissingExtraError: A Parquet file, and pyarrow is not installed.
        DataError: A table that cannot be read, or no usable image in it.
    """
    columns = (image_column, label_column, also, group_column)
    folder_path, table_path, choice = choose_table(data, labels_file, columns)
    if table_path is None:
        for option, value in (
            ("--image-column", image_column),
            ("--label-column", label_column),
            ("--also", also),
            ("--group-column", group_column),
        ):
            if value:
                raise UsageError(
                    f"{option} has no effect, since {data} holds no table (such as .csv or .xlsx): "
                    "its folders are the labels. Name a table with --labels."
                )
        folder = ImageFolder(folder_path)
        catalogue = read_class_folders(folder)
    else:
        table = open_table(table_path)
        folder = ImageFolder(folder_path)
        image_column, label_columns = choose_columns(
            table, folder, image_column, label_column, also, group_column
        )
        if isinstance(table, ParquetTable) and table.holds_bytes(image_column):
            source = table.open_images(image_column)
            catalogue = _read_table(table, None, source, image_column, label_columns)
        else:
            catalogue = _read_table(table, folder, folder, image_column, label_columns)
    own = files_of(table_path)
    unused = tuple(name for name in folder.others if folder.root / name not in own)
    if not catalogue.references:
        raise DataError(nothing_left(data, catalogue.dropped, unused))
    notes = (*choice, *catalogue.notes, *name_unused(unused))
    return replace(catalogue, unused=unused, notes=notes)


def _read_table(
    table: LabelTable,
    folder: ImageFolder | None,
    source: ImageSource,
    image_column: str,
    label_columns: tuple[str, ...],
) -> LabelledImages:
    rows = list(table.rows((image_column, *label_columns)))
    names = [row.cells[0] if row.cells else "" for row in rows]
    found, notes = [(name, "") for name in names], list[str]()
    if folder is not None:
        usable = [name for row, name in zip(rows, names, strict=True) if not row.problem]
        matched, notes = match_names(usable, folder)
        at = dict(zip(usable, matched, strict=True))
        found = [at.get(name, ("", "")) for name in names]
    dropped: list[DroppedRow] = []
    kept: list[Row] = []
    for row, name, (reference, problem) in zip(rows, names, found, strict=True):
        where = f"row {row.number}" + (f" of {row.file}" if row.file else "")
        problem = row.problem or problem or _label_problem(label_columns, row.cells[1:])
        if problem:
            dropped.append(DroppedRow(where, name[:_MAX_LABEL_CHARACTERS], problem))
        else:
            cells = (unicodedata.normalize("NFC", cell) for cell in row.cells[1:])
            kept.append((reference, where, tuple(cell or None for cell in cells)))
    unique, repeated = _drop_repeated(kept)
    dropped += repeated
    if folder is not None:
        named = {
            reference for row, (reference, _) in zip(rows, found, strict=True) if not row.problem
        }
        dropped += [
            DroppedRow("file", name, folder.refused.get(name, "no row names this image file"))
            for name in sorted({*folder.images, *folder.refused} - named)
        ]
    catalogue = build_images(label_columns, unique, dropped, source)
    if isinstance(table, ParquetShards):
        notes = [_name_shards(table), *notes]
        given: Sequence[Role] | None = [table.roles[row.file] for row in rows]
    else:
        given, told = _read_split_column(table, (image_column, *label_columns))
        notes += told
    roles: tuple[Role, ...] = ()
    if given is not None:
        role_of_image = {reference: role for role, (reference, _) in zip(given, found, strict=True)}
        roles = tuple(role_of_image[reference] for reference in catalogue.references)
        notes += _name_roles(roles)
    whole = (row.cells[1] for row in rows if len(row.cells) > 1)
    return replace(
        catalogue,
        image_column=image_column,
        roles=roles,
        notes=(*table.notes, *notes),
        named_labels=frozenset(
            unicodedata.normalize("NFC", label)
            for label in whole
            if 0 < len(label) <= _MAX_LABEL_CHARACTERS
        ),
    )


def _read_split_column(
    table: LabelTable, taken: Sequence[str]
) -> tuple[list[Role] | None, list[str]]:
    """Return what each row is for, where a column says it; and what is to be said about that."""
    named = [one for one in table.columns if one.strip().casefold() in _SPLIT_COLUMNS]
    if len(named) != 1 or named[0] in taken:
        return None, []
    (column,) = named
    cells = [row.cells[0].strip() if row.cells else "" for row in table.rows((column,))]
    roles = [role_of(cell) for cell in cells]
    given: list[Role] = [role for role in roles if role is not None]
    if held_out_role(given) is None or any(
        role is None for cell, role in zip(cells, roles, strict=True) if cell
    ):
        return None, [f"Column {column} is not used: its cells do not say train, valid or test"]
    return [role or "train" for role in roles], [f"Parts: column {column}"]


def _name_shards(table: ParquetShards) -> str:
    more = f" and {len(table.files) - 4:,} more" if len(table.files) > 4 else ""
    missing = f"; {table.missing:,} that belong to them are missing" if table.missing else ""
    return f"Read as one table: {', '.join(table.files[:4])}{more}{missing}"


def _name_roles(roles: Sequence[Role]) -> Iterator[str]:
    judge = held_out_role(roles)
    if judge is not None:
        counts = Counter(roles)
        named = {
            f"{role or 'other'} ({counted(counts[role], 'image')})": role for role in sorted(counts)
        }
        yield name_roles(named, judge)


def _label_problem(columns: Sequence[str], cells: Sequence[str]) -> str:
    if not cells[0]:
        return "no label"
    for column, cell in zip(columns, cells, strict=True):
        if len(cell) > _MAX_LABEL_CHARACTERS:
            return f"label too long: {len(cell):,} characters in column {column}"
    return ""


def _drop_repeated(
    rows: list[Row],
) -> tuple[list[Row], list[DroppedRow]]:
    """Keep one row per image, and none of an image that has two labels: either may be wrong."""
    labels_of: dict[str, list[str]] = {}
    for reference, _, (label, *_) in rows:
        found = labels_of.setdefault(reference, [])
        if label is not None and label not in found:
            found.append(label)
    kept, dropped = [], []
    first: dict[str, str] = {}
    for reference, where, labels in rows:
        if len(labels_of[reference]) > 1:
            names = ", ".join(repr(label) for label in labels_of[reference])
            dropped.append(DroppedRow(where, reference, f"different labels for one image: {names}"))
        elif reference in first:
            reason = f"repeated: same image and label as {first[reference]}"
            dropped.append(DroppedRow(where, reference, reason))
        else:
            first[reference] = where
            kept.append((reference, where, labels))
    return kept, dropped
