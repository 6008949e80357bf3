"""A gallery while it is made: a file beside it, from which a run that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle.reading import Bundle
from shopwindow.errors import DataError, GalleryError
from shopwindow.gallery.compression import SAMPLE, Compression
from shopwindow.gallery.items import Item
from shopwindow.gallery.schema import (
    APPLICATION_ID,
    CODES_PER_ROW,
    FORMAT,
    TABLES,
    as_gallery_errors,
)

_SEED = 42
# Embeddings that are read at a time.
_BLOCK = 4096


class GalleryDraft:
    """The unfinished file `OUT.partial`, which `finish` turns into `OUT`.

    Args:
        out: The gallery.
        making: What the gallery is made of, as text: a draft of anything else is begun anew.

    Attributes:
        begun_anew: Whether there was a draft of something else.
        done: How many items have been dealt with, also those without a readable photo.
        failed: The references of those, and the reasons.

    Raises:
        GalleryError: It cannot be written, or another run is writing it.
    """

    def __init__(self, out: Path, making: str) -> None:
        self._out = out
        self.path = out.with_name(f"{out.name}.partial")
        self.begun_anew = False
        self.done = 0
        self.failed: list[tuple[str, str]] = []
        self._making = hashlib.sha256(making.encode("utf-8", "backslashreplace")).hexdigest()
        if out.is_dir():
            raise GalleryError(f"{out} is a folder: expected the name of the gallery file.")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            self._database = self._open()
        except sqlite3.OperationalError as error:
            why = "another run is writing it" if "locked" in str(error) else error
            raise GalleryError(f"{self.path} cannot be written: {why}.") from error
        except (sqlite3.DatabaseError, OSError) as error:
            raise GalleryError(
                f"{self.path} cannot be used ({error}): delete it, and run the command again."
            ) from error

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        try:
            # One file, and the lock is kept; a draft needs no more than to survive a kill.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("BEGIN IMMEDIATE")
            begun = database.execute("SELECT name FROM sqlite_master").fetchall()
            row = None
            if begun:
                found = database.execute("SELECT value FROM about WHERE key = 'draft'").fetchone()
                row = json.loads(found[0]) if found else None
            if row is not None and row["making"] == self._making:
                self.done, self.failed = row["done"], [tuple(pair) for pair in row["failed"]]
            else:
                self.begun_anew = bool(begun)
                for name in TABLES:
                    database.execute(f"DROP TABLE IF EXISTS {name}")
                for statement in TABLES.values():
                    database.execute(statement)
            database.execute("COMMIT")
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Close the file; it stays, unless `finish` made a gallery of it."""
        self._database.close()

    def add(
        self,
        items: Iterable[tuple[Item, bytes]],
        embeddings: NDArray[np.float32],
        failed: Sequence[tuple[str, str]],
    ) -> None:
        """Add some items in one step.

        Args:
            items: Each with its thumbnail, a JPEG file.
            embeddings: (N, D) float32, one of each.
            failed: References of items without a readable photo, and why.
        """
        first = self._count()
        items = list(items)
        numbers = range(first, first + len(items))
        blobs = embeddings.astype("<f2")
        self.failed += failed
        self.done += len(items) + len(failed)
        with as_gallery_errors(self.path):
            self._database.execute("BEGIN")
            self._database.executemany(
                "INSERT INTO item VALUES (?, ?, ?, ?, ?)",
                [
                    (number, item.id, item.title, item.link, item.label)
                    for number, (item, _) in zip(numbers, items, strict=True)
                ],
            )
            self._database.executemany(
                "INSERT INTO thumbnail VALUES (?, ?)",
                [(number, jpeg) for number, (_, jpeg) in zip(numbers, items, strict=True)],
            )
            self._database.executemany(
                "INSERT INTO embedding VALUES (?, ?)",
                [(number, blob.tobytes()) for number, blob in zip(numbers, blobs, strict=True)],
            )
            self._say("draft", {"making": self._making, "done": self.done, "failed": self.failed})
            self._database.execute("COMMIT")

    def finish(self, bundle: Bundle) -> int:
        """Compress the embeddings, and put the finished file in its place.

        Returns:
            How many items it has.

        Raises:
            DataError: None of the photos could be read.
            GalleryError: It cannot be written.
        """
        count, width = self._count(), bundle.info.embedding
        if not count:
            first = f" The first, {self.failed[0][0]}: {self.failed[0][1]}" if self.failed else ""
            raise DataError(f"None of {self.done:,} photos can be read.{first}")
        with as_gallery_errors(self.path):
            self._database.execute("BEGIN")
            self._database.execute("DELETE FROM code")
            version = self._compress(count, width)
            info = bundle.info
            model = {"name": info.name, "version": info.version, "sha256": bundle.sha256}
            self._say(
                "gallery",
                {"model": model, "items": count, "embedding": width, "version": version},
            )
            self._database.execute("DELETE FROM about WHERE key = 'draft'")
            self._database.execute("COMMIT")
            # Outside of a transaction; from now on the file is one that readers accept.
            self._database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._database.execute(f"PRAGMA user_version = {FORMAT}")
        self._database.close()
        try:
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
            self.path.replace(self._out)
        except OSError as error:
            raise GalleryError(f"{self._out} cannot be written: {error.strerror}.") from error
        return count

    def _compress(self, count: int, width: int) -> str:
        """Write the codes, and return 12 digits that are others for other contents."""
        chosen = np.random.default_rng(_SEED).permutation(count)[:SAMPLE]
        sample = np.concatenate(
            [
                self._embeddings(part, width)
                for part in np.array_split(np.sort(chosen), -(-len(chosen) // _BLOCK))
            ]
        )
        compression = Compression.fit(sample)
        for name in ("mean", "components", "steps"):
            self._put(name, getattr(compression, name).astype("<f4").tobytes())
        digest = hashlib.sha256()
        for first in range(0, count, CODES_PER_ROW):
            row = np.arange(first, min(first + CODES_PER_ROW, count))
            parts = (row[at : at + _BLOCK] for at in range(0, len(row), _BLOCK))
            codes = b"".join(
                compression.encode(self._embeddings(part, width)).tobytes() for part in parts
            )
            digest.update(codes)
            self._database.execute("INSERT INTO code VALUES (?, ?)", (first, codes))
        # The pictures too: an address of a thumbnail is kept for a year.
        for row in self._database.execute("SELECT jpeg FROM thumbnail ORDER BY number"):
            digest.update(row[0])
        return digest.hexdigest()[:12]

    def _embeddings(self, numbers: NDArray[np.int64], width: int) -> NDArray[np.float32]:
        """Return the embeddings of some items, ascending, as (N, D) float32."""
        blobs = [
            self._database.execute(
                "SELECT float16 FROM embedding WHERE number = ?", (number,)
            ).fetchone()[0]
            for number in numbers.tolist()
        ]
        return np.frombuffer(b"".join(blobs), "<f2").reshape(-1, width).astype(np.float32)

    def _count(self) -> int:
        (last,) = self._database.execute("SELECT max(number) FROM item").fetchone()
        return 0 if last is None else int(last) + 1

    def _say(self, key: str, value: object) -> None:
        self._put(key, json.dumps(value, ensure_ascii=False))

    def _put(self, key: str, value: str | bytes) -> None:
        self._database.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, value))
