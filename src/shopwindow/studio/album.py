"""The photos as the page shows them, and the number that says what a page has not seen yet."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shopwindow.studio.journal import Row

READ, WAITING, UNREADABLE = 0, 1, 2  # as the page gets it
_LOOK_S = 1.0  # how often a wait looks whether its client is still there


@dataclass(slots=True)
class Photo:
    """A photo and what is known of it.

    Attributes:
        row: Its label and group.
        status: `READ`, `WAITING` or `UNREADABLE`.
        digest: Of its content; None until it was read.
        twin: The first photo of the same thing; "" where it is that itself.
        guess: What the model says; "" where it says nothing yet.
        confidence: In the guess, in per cent.
        doubt: Whether its label is probably wrong.
        changed: The version in which any of this changed.
        edited: The version in which somebody changed its row.
    """

    row: Row
    status: int = WAITING
    digest: int | None = None
    twin: str = ""
    guess: str = ""
    confidence: int = 0
    doubt: bool = False
    changed: int = 0
    edited: int = 0


class Album:
    """All photos of a project in memory. Thread-safe; its lock is never held for slow work."""

    def __init__(self) -> None:
        self.session = secrets.token_hex(8)
        # Versions of an earlier session are always lower.
        self.version = self.revision = time.time_ns() // 1_000
        self._began = self.version
        self._photos: dict[str, Photo] = {}
        self._removed: list[tuple[int, str]] = []
        self._changed = threading.Condition()
        self._closed = False

    def put(self, rows: Mapping[str, Row | None]) -> int:
        """Give photos their rows, and return the revision; None removes a photo."""
        with self._changed:
            version = self._next()
            self.revision = version
            for name, row in rows.items():
                if row is None:
                    if self._photos.pop(name, None) is not None:
                        self._removed.append((version, name))
                    continue
                photo = self._photos.setdefault(name, Photo(row))
                if photo.row != row:
                    photo.row, photo.doubt = row, False
                photo.changed = photo.edited = version
            return version

    def edited_since(self, names: Iterable[str], revision: int) -> list[tuple[str, str]]:
        """Return name and label of the photos whose rows somebody changed after a revision."""
        with self._changed:
            found = ((name, self._photos.get(name)) for name in names)
            return [
                (name, p.row.label) for name, p in found if p is not None and p.edited > revision
            ]

    def update(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Set attributes of photos by name; those that are no longer there are left out."""
        with self._changed:
            version = self.version + 1
            for name, values in changes.items():
                photo = self._photos.get(name)
                if photo is None or all(getattr(photo, key) == new for key, new in values.items()):
                    continue
                for key, new in values.items():
                    setattr(photo, key, new)
                photo.changed = version
                if self.version < version:
                    self._next()

    def touch(self) -> int:
        """Say that something changed that is not of a single photo; return the version."""
        with self._changed:
            return self._next()

    def snapshot(self) -> dict[str, Photo]:
        """Return all photos by name, in the order of arrival, to read and not to change."""
        with self._changed:
            return dict(self._photos)

    def get(self, name: str) -> Photo | None:
        """Return a photo."""
        with self._changed:
            return self._photos.get(name)

    def wait(self, since: int, seconds: float, is_gone: Callable[[], bool]) -> None:
        """Wait until the version is above `since`, at most so long, or until `close`."""
        until = time.monotonic() + seconds
        with self._changed:
            while self.version <= since and not self._closed and not is_gone():
                left = until - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(min(left, _LOOK_S))

    def close(self) -> None:
        """End all waits, now and later."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def columns(self, since: int | None) -> dict[str, Any]:
        """Return the photos that changed after a version as columns; None returns all."""
        with self._changed:
            everything = since is None or since < self._began
            least = -1 if everything or since is None else since
            some = [(n, p) for n, p in self._photos.items() if p.changed > least]
            removed = [
                name for at, name in self._removed if at > least and name not in self._photos
            ]
            labels = sorted({p.row.label for _, p in some} | {p.guess for _, p in some} - {""})
            labels = [label for label in labels if label]
            return {
                "session": self.session,
                "version": self.version,
                "revision": self.revision,
                "all": everything,
                "labels": labels,
                **_as_columns(some, labels),
                "removed": [] if everything else removed,
            }

    def _next(self) -> int:
        self.version += 1
        self._changed.notify_all()
        return self.version


def _as_columns(photos: Sequence[tuple[str, Photo]], labels: Sequence[str]) -> dict[str, Any]:
    number = {label: n for n, label in enumerate(labels)} | {"": -1}
    return {
        "ids": [name for name, _ in photos],
        "label": [number[p.row.label] for _, p in photos],
        "guess": [number[p.guess] for _, p in photos],
        "confidence": [p.confidence for _, p in photos],
        "twin": [p.twin for _, p in photos],
        "doubt": [int(p.doubt) for _, p in photos],
        "status": [p.status for _, p in photos],
        "group": [p.row.group for _, p in photos],
    }
