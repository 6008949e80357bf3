"""Labelled images as they are on disk: a table and a folder, class folders, or Parquet.

Nothing is decoded here. Every row and every image file that is left out has its reason.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from shopwindow.data.class_folders import read_class_folders
from shopwindow.data.columns import choose_columns
from shopwindow.data.folder import ImageFolder, Match
from shopwindow.data.labelled_images import (
    DroppedRow,
    LabelledImages,
    Row,
    build_images,
    name_unused,
    nothing_left,
)
from shopwindow.data.location import files_of, locate
from shopwindow.data.matching import match_names
from shopwindow.data.parts import Role, describe_roles, held_out_role, role_of
from shopwindow.data.tables import Table, TableRow, open_table
from shopwindow.errors import DataError, UsageError

if TYPE_CHECKING:
    from shopwindow.data.spec import DataSpec

_MAX_LABEL_CHARACTERS = 200
# A column called so may say which rows are to learn from, and which to judge by.
_SPLIT_COLUMNS = ("split", "subset", "partition")


def read_catalogue(spec: DataSpec) -> LabelledImages:
    """Read which image has which labels.

    Args:
        spec: Where the data is, and what its columns are for. The column of the groups is the last
            of the label columns that are returned.

    Raises:
        UsageError: A path or column that is not there. The message lists the columns there are.
        MissingExtraError: A Parquet file, and pyarrow is not installed.
        DataError: A table that cannot be read, or no usable image in it.
    """
    folder_path, table_path, notes = locate(spec)
    if table_path is None:
        for option in ("image_column", "label_column", "also", "group_column"):
            if getattr(spec, option):
                raise UsageError(
                    f"--{option.replace('_', '-')} has no effect, since {spec.data} holds no table "
                    "(such as .csv or .xlsx): its folders are the labels. Name a table with "
                    "--labels."
                )
        folder = ImageFolder(folder_path)
        catalogue = read_class_folders(folder)
    else:
        table = open_table(table_path)
        folder = ImageFolder(folder_path)
        catalogue = _read_table(table, folder, *choose_columns(table, folder, spec))
    own = files_of(table_path)
    unused = tuple(name for name in folder.others if folder.root / name not in own)
    if not catalogue.references:
        raise DataError(nothing_left(spec.data, catalogue.dropped, unused))
    return replace(catalogue, unused=unused, notes=(*notes, *catalogue.notes, *name_unused(unused)))


def _read_table(
    table: Table, folder: ImageFolder, image_column: str, label_columns: tuple[str, ...]
) -> LabelledImages:
    rows = list(table.rows((image_column, *label_columns)))
    names = [row.cells[0] if row.cells else "" for row in rows]
    notes = [*table.notes]
    if holds_bytes := image_column in table.bytes_columns:
        found = [Match(name) for name in names]
    else:
        usable = [name for row, name in zip(rows, names, strict=True) if not row.problem]
        matched, matches = match_names(usable, folder)
        notes += matches
        file_of = dict(zip(usable, matched, strict=True))
        found = [file_of.get(name, Match("")) for name in names]
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
    if not holds_bytes:
        named = {match.file for row, match in zip(rows, found, strict=True) if not row.problem}
        dropped += [
            DroppedRow("file", name, folder.refused.get(name, "no row names this image file"))
            for name in sorted({*folder.images, *folder.refused} - named)
        ]
    source = table.open_images(image_column) if holds_bytes else folder
    images = build_images(label_columns, unique, dropped, source)
    role_of_row, more = _read_roles(table, rows, (image_column, *label_columns))
    roles: tuple[Role, ...] = ()
    if role_of_row:
        role_of_image = {match.file: role for role, match in zip(role_of_row, found, strict=True)}
        roles = tuple(role_of_image[reference] for reference in images.references)
        more += describe_roles(roles)
    labels = (row.cells[1] for row in rows if len(row.cells) > 1)
    return replace(
        images,
        image_column=image_column,
        roles=roles,
        notes=(*notes, *more),
        named_labels=frozenset(
            unicodedata.normalize("NFC", label)
            for label in labels
            if 0 < len(label) <= _MAX_LABEL_CHARACTERS
        ),
    )


def _read_roles(
    table: Table, rows: Sequence[TableRow], taken: Sequence[str]
) -> tuple[list[Role], list[str]]:
    """Return what each row is for, where its file or a column says it; and notes about that."""
    if table.roles:
        return [table.roles[row.file] for row in rows], []
    named = [name for name in table.columns if name.strip().casefold() in _SPLIT_COLUMNS]
    if len(named) != 1 or named[0] in taken:
        return [], []
    (column,) = named
    cells = [row.cells[0].strip() if row.cells else "" for row in table.rows((column,))]
    known = {cell: role_of(cell) for cell in cells if cell}
    roles = [known.get(cell) for cell in cells]
    given = [role for role in known.values() if role is not None]
    if held_out_role(given) is None or len(given) < len(known):
        return [], [f"Column {column} is not used: its cells do not say train, valid or test"]
    return [role or "train" for role in roles], [f"Parts: column {column}"]


def _label_problem(columns: Sequence[str], cells: Sequence[str]) -> str:
    if not cells[0]:
        return "no label"
    for column, cell in zip(columns, cells, strict=True):
        if len(cell) > _MAX_LABEL_CHARACTERS:
            return f"label too long: {len(cell):,} characters in column {column}"
    return ""


def _drop_repeated(rows: list[Row]) -> tuple[list[Row], list[DroppedRow]]:
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
