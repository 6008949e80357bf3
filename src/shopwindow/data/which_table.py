"""Which table of a folder says what its images show, if any does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shopwindow.data.class_folders import has_class_folders
from shopwindow.data.columns import choose_columns, images_found, open_table
from shopwindow.data.folder import ImageFolder
from shopwindow.data.labelled_images import LABEL_COLUMN_NAME
from shopwindow.data.shards import PARQUET_SUFFIXES, find_shards
from shopwindow.data.tables import TABLE_SUFFIXES, is_table_name
from shopwindow.errors import DataError, UsageError
from shopwindow.imaging.formats import IMAGE_SUFFIXES

Columns = tuple[str | None, str | None, Sequence[str], str | None]


def choose_table(
    data: Path, labels_file: Path | None, columns: Columns
) -> tuple[Path, Path | None, list[str]]:
    """Return the folder with the images, the table, and what is to be said about the choice.

    Of several tables it is the only one that has the columns, and whose first rows find images. A
    table that has nothing to do with the images is none, where there are folders of labels.

    Args:
        data: As for `read_catalogue`.
        labels_file: Likewise.
        columns: As asked for: of the images, the main label, the further labels and the groups.

    Raises:
        UsageError: A path that is not there, or a table that cannot be told from others.
        DataError: A folder that cannot be listed.
    """
    found = _tables_in(data) if data.is_dir() and labels_file is None else (data, [])
    folder_path, tables = found
    if tables and not any(columns):
        folder = ImageFolder(data)
        if has_class_folders(folder) and not any(_fits(path, folder, columns) for path in tables):
            named = ", ".join(path.name for path in tables)
            return (
                data,
                None,
                [
                    f"The folders are the labels, as there is no column {LABEL_COLUMN_NAME} for "
                    f"images in {named} (--label-column names another)"
                ],
            )
    if len(tables) < 2:
        folder_path, table_path = _locate(data, labels_file)
        wrapped = table_path is not None and data.is_dir() and folder_path != data
        name = folder_path.relative_to(data).as_posix() if wrapped else ""
        return folder_path, table_path, [f"Read from the folder {name}"] if wrapped else []
    folder = ImageFolder(folder_path)
    fitting = [path for path in tables if _fits(path, folder, columns)]
    if len(fitting) != 1:
        return *_locate(data, labels_file), []  # which refuses
    others = ", ".join(path.name for path in tables if path not in fitting)
    return folder_path, fitting[0], [f"Labels: {fitting[0].name}, as no image is named by {others}"]


def _fits(path: Path, folder: ImageFolder, columns: Columns) -> bool:
    try:
        table = open_table(path)
        image_column, _ = choose_columns(table, folder, *columns)
        return images_found(table, folder, image_column) > 0
    except (DataError, UsageError):
        return False


def files_of(table_path: Path | None) -> set[Path]:
    """Return the files, absolute, that a table is read from."""
    if table_path is None:
        return set()
    paths = find_shards(table_path) if table_path.is_dir() else [table_path]
    return {path.resolve() for path in paths}


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
        names = ", ".join(path.name for path in tables)
        raise UsageError(f"{data} holds {len(tables)} tables ({names}): name one with --labels.")
    return folder, tables[0] if tables else None


def _tables_in(data: Path) -> tuple[Path, list[Path]]:
    """Return the folder that holds the images, and the tables in it.

    It is `data`, or what is in it where that is only a wrapping: one folder, and no images.
    """
    folder = data
    try:
        while True:
            tables = sorted(path for path in folder.iterdir() if _is_table(path))
            if all(map(_is_parquet, tables)) and find_shards(folder):
                return folder, [folder]
            if tables:
                return folder, tables
            inner = [path for path in folder.iterdir() if not _is_hidden(path)]
            folders = [path for path in inner if path.is_dir() and not path.is_symlink()]
            if len(folders) != 1 or any(_is_image(path) for path in inner):
                return data, []
            folder = folders[0]
    except OSError as error:
        raise DataError(f"{error.filename} cannot be listed: {error.strerror}.") from error


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "__MACOSX"


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


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


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in PARQUET_SUFFIXES


def _is_table(path: Path) -> bool:
    return is_table_name(path.name) and path.is_file()
