"""Reading a gallery: which of its items look most like a photo, and their thumbnails."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle.info import MAX_EMBEDDING
from shopwindow.bundle.reading import Bundle
from shopwindow.errors import GalleryError
from shopwindow.gallery.compression import COMPONENTS, Compression, best
from shopwindow.gallery.schema import (
    APPLICATION_ID,
    CODES_PER_ROW,
    FORMAT,
    MAX_BLOB_BYTES,
    MAX_ITEMS,
    MAX_LINK_CHARS,
    MAX_TEXT_CHARS,
    MAX_THUMBNAIL_BYTES,
    TABLES,
    as_gallery_errors,
)

# Of as many items the whole embeddings are compared.
CANDIDATES = 200
_CONTROL = re.compile(r"[\x00-\x20\x7f]")


@dataclass(frozen=True, slots=True)
class SimilarItem:
    """An item of a gallery that looks like a photo.

    Attributes:
        number: Its row, from 0.
        id: What its shop calls it.
        title: Empty where it has none, as is the label.
        link: An http(s) address, or empty.
        label: What the data said that it shows.
        similarity: The dot product of both embeddings, up to 1.
    """

    number: int
    id: str
    title: str
    link: str
    label: str
    similarity: float

    @property
    def name(self) -> str:
        """What to call it on a page."""
        return self.title or self.label or self.id


class Gallery:
    """The items of one gallery file, open for reading. Thread-safe.

    Args:
        path: The file.

    Attributes:
        path: The file.
        model: The model that made it: `name`, `version` and `sha256`.
        version: 12 hexadecimal digits, which are others for other contents.

    Raises:
        GalleryError: It is missing, cut off, of another kind or a later format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._database = _connect(path)
        try:
            with as_gallery_errors(path):
                _check_kind(self._database, path)
                about = self._about()
            self.model: dict[str, str] = about["model"]
            self.version: str = about["version"]
            self._count: int = about["items"]
            self._width: int = about["embedding"]
            with as_gallery_errors(path):
                self._compression = self._read_compression()
                self._codes = self._read_codes(self._compression.components.shape[1])
        except BaseException:
            self._database.close()
            raise

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def fits(self, bundle: Bundle) -> bool:
        """Say whether this model made it: embeddings of another mean something else."""
        return bundle.sha256 == self.model["sha256"] and bundle.info.embedding == self._width

    def require(self, bundle: Bundle) -> None:
        """Make sure that this model made the gallery.

        Raises:
            GalleryError: Another one did.
        """
        if not self.fits(bundle):
            info = bundle.info
            raise GalleryError(
                f"{self.path} was made with the model {self.model['name']} "
                f"{self.model['version']} (SHA-256 {self.model['sha256'][:12]}…), but the served "
                f"model is {info.name} {info.version} (SHA-256 {bundle.sha256[:12]}…): make it "
                "again with shopwindow gallery and this --model."
            )

    def similar(self, embedding: NDArray[np.float32], count: int) -> list[SimilarItem]:
        """Return the items that look most like a photo, the most similar first.

        Args:
            embedding: (D,) float32 of the photo, by the model that made the gallery.
            count: How many, at least 1; fewer where there are fewer items.

        Raises:
            GalleryError: The file was damaged since it was opened.
        """
        near = self._compression.similarities(self._codes, embedding)
        candidates = best(near, max(count, CANDIDATES))
        with self._lock, as_gallery_errors(self.path):
            wanted = ",".join(map(str, candidates.tolist()))
            rows = self._database.execute(
                f"SELECT number, float16 FROM embedding WHERE number IN ({wanted})"  # noqa: S608
            ).fetchall()
        expected = 2 * self._width
        rows = [row for row in rows if isinstance(row[1], bytes) and len(row[1]) == expected]
        blobs = b"".join(blob for _, blob in rows)
        whole = np.frombuffer(blobs, "<f2").reshape(-1, self._width).astype(np.float32)
        similarities = whole @ embedding
        chosen = best(similarities, count)
        return self._items([(rows[at][0], float(similarities[at])) for at in chosen])

    def thumbnail(self, number: int) -> bytes | None:
        """Return the JPEG file of an item; None where there is no such item.

        Raises:
            GalleryError: The file was damaged since it was opened.
        """
        if not 0 <= number < self._count:
            return None
        with self._lock, as_gallery_errors(self.path):
            row = self._database.execute(
                "SELECT jpeg FROM thumbnail WHERE number = ? AND length(jpeg) <= ?",
                (number, MAX_THUMBNAIL_BYTES),
            ).fetchone()
        return row[0] if row and isinstance(row[0], bytes) else None

    def _items(self, found: Sequence[tuple[int, float]]) -> list[SimilarItem]:
        items = []
        for number, similarity in found:
            with self._lock, as_gallery_errors(self.path):
                row = self._database.execute(
                    "SELECT id, title, link, label FROM item WHERE number = ?", (number,)
                ).fetchone()
            if row and all(isinstance(text, str) for text in row):
                name, title, label = (text[:MAX_TEXT_CHARS] for text in (row[0], row[1], row[3]))
                link = row[2] if is_link(row[2]) else ""
                items.append(SimilarItem(number, name, title, link, label, similarity))
        return items

    def _about(self) -> dict[str, Any]:
        """Return what the gallery says about itself.

        Raises:
            GalleryError: Something in it is missing or out of its range.
        """
        rows = self._database.execute("SELECT value FROM about WHERE key = 'gallery'").fetchall()
        try:
            about = json.loads(rows[0][0])
            model = about["model"]
            (last,) = self._database.execute("SELECT max(number) FROM item").fetchone()
            if (
                all(isinstance(model[key], str) for key in ("name", "version"))
                and re.fullmatch("[0-9a-f]{64}", model["sha256"])
                and re.fullmatch("[0-9a-f]{12}", about["version"])
                and type(about["items"]) is int
                and 1 <= about["items"] <= MAX_ITEMS
                and last == about["items"] - 1
                and type(about["embedding"]) is int
                and 1 <= about["embedding"] <= MAX_EMBEDDING
            ):
                return dict(about)
        except (LookupError, TypeError, ValueError, RecursionError):
            pass
        raise _damaged(self.path, "what it says about itself")

    def _read_compression(self) -> Compression:
        components = min(COMPONENTS, self._width)
        shapes = {
            "mean": (self._width,),
            "components": (self._width, components),
            "steps": (components,),
        }
        arrays = {}
        for name, shape in shapes.items():
            row = self._database.execute(
                "SELECT value FROM about WHERE key = ?", (name,)
            ).fetchone()
            if not row or not isinstance(row[0], bytes) or len(row[0]) != 4 * np.prod(shape):
                raise _damaged(self.path, f"its {name}")
            arrays[name] = np.frombuffer(row[0], "<f4").reshape(shape)
        return Compression(**arrays)

    def _read_codes(self, width: int) -> NDArray[np.int8]:
        codes = np.empty((self._count, width), np.int8)
        end = 0
        for first, blob in self._database.execute("SELECT first, int8 FROM code ORDER BY first"):
            rows = min(CODES_PER_ROW, self._count - end)
            if first != end or not isinstance(blob, bytes) or len(blob) != rows * width:
                break
            codes[end : end + rows] = np.frombuffer(blob, np.int8).reshape(rows, width)
            end += rows
        if end != self._count:
            raise _damaged(self.path, "its compressed embeddings")
        return codes


def is_link(text: str) -> bool:
    """Say whether a text is an http(s) address that a page may link to."""
    if len(text) > MAX_LINK_CHARS or _CONTROL.search(text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _connect(path: Path) -> sqlite3.Connection:
    try:
        with path.open("rb") as file:
            begins = file.read(16)
    except OSError as error:
        raise GalleryError(
            f"{path} cannot be opened ({error.strerror}): expected a gallery, which shopwindow "
            "gallery makes."
        ) from error
    if begins != b"SQLite format 3\0":
        raise _foreign(path)
    with as_gallery_errors(path):
        # Immutable: it is never written in place, and may lie where nothing can be written.
        address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        database = sqlite3.connect(address, uri=True, check_same_thread=False)
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BLOB_BYTES)
        return database


def _check_kind(database: sqlite3.Connection, path: Path) -> None:
    """Make sure that a database is a gallery, and has nothing else in it that could run.

    Raises:
        GalleryError: It is not, or has.
    """
    database.execute("PRAGMA trusted_schema = OFF")
    (application,) = database.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise _foreign(path)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version != FORMAT:
        raise GalleryError(
            f"{path} is a gallery of format {version}, but this shopwindow reads format {FORMAT}: "
            "make it again with shopwindow gallery."
        )
    found = dict(database.execute("SELECT name, sql FROM sqlite_master").fetchall())
    if found != TABLES:
        raise _damaged(path, "its tables")


def _foreign(path: Path) -> GalleryError:
    return GalleryError(f"{path} is not a gallery: expected a file that shopwindow gallery made.")


def _damaged(path: Path, what: str) -> GalleryError:
    return GalleryError(
        f"{path} is damaged or unfinished ({what}): make it again with shopwindow gallery."
    )
