"""Where a data set is: the folder with its images, and the table that says what they show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shopwindow.data.class_folders import has_class_folders
from shopwindow.data.columns import choose_columns, names_images
from shopwindow.data.folder import ImageFolder
from shopwindow.data.labelled_images import LABEL_COLUMN_NAME
from shopwindow.data.parquet import find_shards
from shopwindow.data.tables import PARQUET_SUFFIXES, TABLE_SUFFIXES, is_table_name, open_table
from shopwindow.errors import DataError, UsageError
from shopwindow.imaging.formats import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from shopwindow.data.spec import DataSpec


def locate(spec: DataSpec) -> tuple[Path, Path | None, list[str]]:
    """Return the folder with the images, the table, and what people should know about the choice.

    Of several tables it is the only one that has the columns, and whose first rows find images. A
    table that has nothing to do with the images does not count, where there are folders of labels.

    Raises:
        UsageError: A path that is not there, or several tables that may be meant.
        DataError: A folder that cannot be listed.
    """
    data = spec.data
    if spec.labels_file is None and data.is_dir():
        folder_path, tables = _tables_in(data)
        asked = spec.image_column or spec.label_column or spec.also or spec.group_column
        if tables and not asked:
            folder = ImageFolder(data)
            if has_class_folders(folder) and not any(_fits(path, folder, spec) for path in tables):
                note = (
                    f"The folders are the labels, as there is no column {LABEL_COLUMN_NAME} for "
                    f"images in {_names(tables)} (--label-column names another)"
                )
                return data, None, [note]
        if len(tables) > 1:
            folder = ImageFolder(folder_path)
            fitting = [path for path in tables if _fits(path, folder, spec)]
            if len(fitting) == 1:
                others = _names([path for path in tables if path not in fitting])
                note = f"Labels: {fitting[0].name}, as no image is named by {others}"
                return folder_path, fitting[0], [note]
    folder_path, table_path = _locate(data, spec.labels_file)
    if table_path is None or not data.is_dir() or folder_path == data:
        return folder_path, table_path, []
    wrapping = folder_path.relative_to(data).as_posix()
    return folder_path, table_path, [f"Read from the folder {wrapping}"]


def table_columns(data: Path, labels_file: Path | None = None) -> tuple[str, ...] | None:
    """Return the columns of the table that `read_catalogue` reads; None where it reads none.

    Raises:
        UsageError: A table that is not there, or one of several.
        DataError: It cannot be read.
    """
    _, table_path = _locate(data, labels_file)
    return None if table_path is None else open_table(table_path).columns


def has_table(data: Path) -> bool:
    """Say whether there is a table of labels where `read_catalogue` looks for one."""
    return data.is_file() or (data.is_dir() and bool(_tables_in(data)[1]))


def files_of(table_path: Path | None) -> set[Path]:
    """Return the files, absolute, that a table is read from."""
    if table_path is None:
        return set()
    paths = find_shards(table_path) if table_path.is_dir() else [table_path]
    return {path.resolve() for path in paths}


def _fits(path: Path, folder: ImageFolder, spec: DataSpec) -> bool:
    try:
        table = open_table(path)
        image_column, _ = choose_columns(table, folder, spec)
        return names_images(table, folder, image_column)
    except (DataError, UsageError):
        return False


def _locate(data: Path, labels_file: Path | None) -> tuple[Path, Path | None]:
    """Return the folder with the images, and the table if there is one.

    A table of several files is the folder that they are in.
    """
    if data.is_file():
        if labels_file is not None:
            raise UsageError(
                f"{data} is a file, and {labels_file} names the labels: with --labels, DATA is the "
                "folder with the images."
            )
        if not is_table_name(data.name):
            raise UsageError(
                f"{data} is a file: expected a folder of images, or a table "
                f"({', '.join(TABLE_SUFFIXES)})."
            )
        return data.parent, data
    if not data.is_dir():
        raise UsageError(f"There is no folder {data}.")
    if labels_file is not None:
        for path in (labels_file, data / labels_file):
            if path.is_file():
                return data, path
        raise UsageError(f"There is no file {labels_file}, neither here nor in {data}.")
    folder, tables = _tables_in(data)
    if len(tables) > 1:
        raise UsageError(
            f"{data} holds {len(tables)} tables ({_names(tables)}): name one with --labels."
        )
    return folder, tables[0] if tables else None


def _tables_in(data: Path) -> tuple[Path, list[Path]]:
    """Return the folder that holds the images, and the tables in it.

    It is `data`, or what is in it where that only wraps it: one folder, and no images.
    """
    folder = data
    try:
        while True:
            entries = [path for path in folder.iterdir() if not _is_hidden(path.name)]
            tables = sorted(path for path in entries if is_table_name(path.name) and path.is_file())
            is_parquet = all(path.suffix.lower() in PARQUET_SUFFIXES for path in tables)
            if is_parquet and find_shards(folder):
                return folder, [folder]
            if tables:
                return folder, tables
            folders = [path for path in entries if path.is_dir() and not path.is_symlink()]
            if len(folders) != 1 or any(path.suffix.lower() in IMAGE_SUFFIXES for path in entries):
                return data, []
            folder = folders[0]
    except OSError as error:
        raise DataError(f"{error.filename} cannot be listed: {error.strerror}.") from error


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
