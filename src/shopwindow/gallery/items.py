"""DATA -> the items of a gallery: which photos there are, and what a table says about each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from shopwindow.data.class_folders import has_class_folders, read_class_folders
from shopwindow.data.columns import choose_image_column, require_column
from shopwindow.data.folder import ImageFolder, Match
from shopwindow.data.labelled_images import LABEL_COLUMN_NAME, DroppedRow, ImageSource
from shopwindow.data.location import locate
from shopwindow.data.matching import match_names
from shopwindow.data.spec import DataSpec
from shopwindow.data.tables import Table, open_table
from shopwindow.errors import DataError, UsageError
from shopwindow.gallery.gallery_file import is_link
from shopwindow.gallery.schema import MAX_TEXT_CHARS


@dataclass(frozen=True, slots=True)
class Item:
    """A photo and what its shop says about it; a text that is not known is empty.

    Attributes:
        reference: The photo in its data set.
        id: What the shop calls it; by default the reference.
        title: For people.
        link: Its page in the shop, an http(s) address.
        label: What it shows.
    """

    reference: str
    id: str
    title: str = ""
    link: str = ""
    label: str = ""


@dataclass(frozen=True)
class Items:
    """The items of a data set, one for each photo, in the order of their references.

    Attributes:
        items: At least one.
        source: Reads the photos.
        dropped: Rows that are left out, and why.
        notes: What else people should know, a sentence each.
    """

    items: list[Item]
    source: ImageSource
    dropped: list[DroppedRow]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ItemColumns:
    """The columns of a table that say more about an item than what it shows."""

    id: str | None = None
    title: str | None = None
    link: str | None = None


def read_items(spec: DataSpec, columns: ItemColumns) -> Items:
    """Read which items there are. Nothing is decoded.

    Of `spec` count the data, the table, and the columns of the image and the label. Neither a label
    nor a folder of its own is needed: a plain folder of photos is a gallery too.

    Raises:
        UsageError: A path or a column that is not there.
        MissingExtraError: A Parquet file, and pyarrow is not installed.
        DataError: A table that cannot be read, or no photo in it.
    """
    folder_path, table_path, notes = locate(spec)
    folder = ImageFolder(folder_path)
    if table_path is not None:
        found = _of_table(open_table(table_path), folder, spec, columns)
    else:
        named = {"image": spec.image_column, "label": spec.label_column, "id": columns.id}
        named |= {"title": columns.title, "link": columns.link}
        for option, column in named.items():
            if column is not None:
                raise UsageError(
                    f"--{option}-column has no effect, since {spec.data} holds no table (such as "
                    ".csv or .xlsx): name one with --labels."
                )
        found = _of_folder(folder)
    if not found.items:
        reasons = Counter(row.kind for row in found.dropped).most_common(3)
        counts = "; ".join(f"{count:,} × {kind}" for kind, count in reasons)
        raise DataError(
            f"No photo is left in {spec.data}: expected image files, or a table that names some"
            + (f" ({counts})." if counts else ".")
        )
    return Items(found.items, found.source, found.dropped, (*notes, *found.notes))


def _of_folder(folder: ImageFolder) -> Items:
    labels: dict[str, str] = {}
    if has_class_folders(folder):
        images = read_class_folders(folder)
        cells = images.labels[LABEL_COLUMN_NAME]
        labels = {name: label or "" for name, label in zip(images.references, cells, strict=True)}
    dropped = [DroppedRow("file", name, reason) for name, reason in sorted(folder.refused.items())]
    items = [Item(name, _short(name), label=labels.get(name, "")) for name in folder.images]
    return Items(items, folder, dropped, ())


def _of_table(table: Table, folder: ImageFolder, spec: DataSpec, columns: ItemColumns) -> Items:
    image_column = choose_image_column(table, folder, spec.image_column)
    label_column = spec.label_column
    if label_column is None and table.columns.count(LABEL_COLUMN_NAME) == 1:
        label_column = LABEL_COLUMN_NAME
    named = {
        "label": label_column, "id": columns.id, "title": columns.title, "link": columns.link
    }  # fmt: skip
    for option, column in named.items():
        if column is not None:
            require_column(table, column, f"--{option}-column")
    wanted = list(dict.fromkeys([image_column, *filter(None, named.values())]))
    rows = list(table.rows(wanted))
    names = [row.cells[0] if row.cells else "" for row in rows]
    notes: list[str] = [*table.notes]
    if image_column in table.bytes_columns:
        source, found = table.open_images(image_column), [Match(name) for name in names]
    else:
        source = folder
        found, matches = match_names(names, folder)
        notes += matches
    items: dict[str, Item] = {}
    dropped: list[DroppedRow] = []
    bad_links: list[str] = []
    for row, name, match in zip(rows, names, found, strict=True):
        problem = row.problem or match.problem
        if not problem and match.file in items:
            problem = "repeated: another row has the same photo"
        if problem:
            dropped.append(DroppedRow(f"row {row.number}", name[:MAX_TEXT_CHARS], problem))
            continue
        cells = dict(zip(wanted, row.cells, strict=True))
        texts = {
            option: cells[column].strip() for option, column in named.items() if column is not None
        }
        link = texts.pop("link", "")
        if link and not is_link(link):
            bad_links.append(link)
            link = ""
        short = {option: _short(text) for option, text in texts.items()}
        short["id"] = short.get("id") or _short(match.file)
        items[match.file] = Item(match.file, link=link, **short)
    if bad_links:
        notes.append(
            f"{len(bad_links):,} links are left out, as only http and https addresses are shown; "
            f"the first: {bad_links[0][:100]}"
        )
    return Items(_in_order(items.values()), source, dropped, tuple(notes))


def _in_order(items: Iterable[Item]) -> list[Item]:
    """Sort items, so that the order of the rows plays no part."""
    return sorted(items, key=lambda item: item.reference)


def _short(text: str) -> str:
    """Return a text that is not too long, and without the odd bytes that a file name may have."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_TEXT_CHARS else f"{text[: MAX_TEXT_CHARS - 1]}…"
