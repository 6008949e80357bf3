"""What is in a gallery: one SQLite file, with nothing in it but these tables.

`item`, `thumbnail` and `embedding` have a row for each item, numbered from 0. `code` has the
compressed embeddings, many to a row; `about` says as JSON what the gallery is and which model made
it. docs/gallery.md describes it for other tools.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from shopwindow.errors import GalleryError

FORMAT = 1
APPLICATION_ID = 0x53574741  # "SWGA": `file` and others tell SQLite files apart by it
TABLES = {
    "about": "CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "item": "CREATE TABLE item (number INTEGER PRIMARY KEY, id TEXT NOT NULL, title TEXT NOT NULL, "
    "link TEXT NOT NULL, label TEXT NOT NULL)",
    "thumbnail": "CREATE TABLE thumbnail (number INTEGER PRIMARY KEY, jpeg BLOB NOT NULL)",
    "embedding": "CREATE TABLE embedding (number INTEGER PRIMARY KEY, float16 BLOB NOT NULL)",
    "code": "CREATE TABLE code (first INTEGER PRIMARY KEY, int8 BLOB NOT NULL)",
}
# Limits that a reader can rely on.
MAX_ITEMS = 10_000_000
MAX_TEXT_CHARS = 300  # of an id, a title or a label
MAX_LINK_CHARS = 2_000
MAX_THUMBNAIL_BYTES = 100_000
CODES_PER_ROW = 65_536
MAX_BLOB_BYTES = 64_000_000


@contextlib.contextmanager
def as_gallery_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite finds wrong with a file into an error of ours.

    Raises:
        GalleryError: It did.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise GalleryError(
            f"{path} cannot be read as a gallery ({error}): make it again with shopwindow gallery."
        ) from error
