"""Photos that people send become photos of the project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.atomic_write import write_atomically
from shopwindow.errors import ImageError, StudioConflictError
from shopwindow.imaging.limits import ImageLimits
from shopwindow.imaging.preprocess import ResizeRule
from shopwindow.plain_text import counted
from shopwindow.studio.album import WAITING, Album
from shopwindow.studio.changes import Changes
from shopwindow.studio.intake import ReadPhoto, Sent, read_photo, unpack
from shopwindow.studio.journal import Row
from shopwindow.studio.names import checked_label
from shopwindow.studio.photo_cache import PhotoCache, digest_of_file
from shopwindow.studio.project import Project
from shopwindow.studio.reader import MOST_WAITING, Reader


class Adding:
    """Takes photos in. Thread-safe; several requests may decode at once.

    Args:
        project: Where they go.
        changes: Gives them their rows.
        album: Has those that are there.
        cache: Gets their thumbnails.
        reader: Reads them, from the pixels that are decoded here.
        rule: The size of these.
        limits: What is refused.
    """

    def __init__(
        self,
        project: Project,
        changes: Changes,
        album: Album,
        cache: PhotoCache,
        reader: Reader,
        rule: ResizeRule,
        limits: ImageLimits,
    ) -> None:
        self._project, self._changes, self._album = project, changes, album
        self._cache, self._reader = cache, reader
        self._rule, self._limits = rule, limits

    def add_photos(
        self,
        files: Sequence[tuple[str, bytes]],
        *,
        label: str = "",
        group: str = "",
        folders: bool = False,
    ) -> dict[str, Any]:
        """Take photos in.

        Args:
            files: Name and content of each; archives are unpacked.
            label: That of all of them, instead of their folders.
            group: What they have in common, such as a burst.
            folders: Whether the last folder of a name is the label.

        Returns:
            `added`, `duplicates` and `refused` as the page gets them, and the `revision`.

        Raises:
            StudioError: No such label.
            OSError: The disk is full; nothing was taken in.
        """
        label = checked_label(label) if label else ""
        group = checked_label(group) if group else ""
        known = self._known_contents({len(content) for _, content in files})
        rows: dict[str, Row | None] = {}
        read: dict[str, tuple[int, NDArray[np.uint8] | None]] = {}
        duplicates: list[dict[str, str]] = []
        refused: list[dict[str, str]] = []
        labels: dict[str, str] = {}  # that came with photos that were here already
        try:
            for sent in unpack(files, label=label, folders=folders):
                photo = self._read(sent, refused)
                if photo is None or sent.content is None:
                    continue
                if (first := known.get(photo.digest)) is not None:
                    duplicates.append({"name": sent.name, "of": first})
                    if sent.label:
                        labels.setdefault(first, sent.label)
                    continue
                name = self._store(sent, photo)
                known[photo.digest] = name
                rows[name] = Row(sent.label, group)
                # An archive may hold thousands: their pixels would fill the memory.
                read[name] = photo.digest, photo.pixels if len(read) < MOST_WAITING else None
            if rows or labels:
                self._take_in(rows, labels)
        except BaseException:
            for name in rows:
                self._project.photo(name).unlink(missing_ok=True)
            raise
        self._album.update(
            {name: {"digest": digest, "status": WAITING} for name, (digest, _) in read.items()}
        )
        for name, (digest, pixels) in read.items():
            self._reader.add(name, digest, pixels)
        return {
            **self._changes.now(),
            "added": [*rows],
            "duplicates": duplicates,
            "refused": refused,
        }

    def _take_in(self, rows: Mapping[str, Row | None], labels: Mapping[str, str]) -> None:
        with self._changes.lock:
            try:
                self._apply(rows, labels)
            except StudioConflictError:
                # The table was read again; new photos conflict with nothing in it.
                self._apply(rows, labels)

    def _apply(self, rows: Mapping[str, Row | None], labels: Mapping[str, str]) -> None:
        """Add photos, and label those that were here without one: half a folder, after a crash."""
        there = self._project.rows
        labelled: dict[str, Row | None] = {
            name: Row(label, there[name].group)
            for name, label in labels.items()
            if name in there and not there[name].label
        }
        if rows or labelled:
            did = f"Add {counted(len(rows), 'photo')}" if rows else ""
            did = did or f"Label {counted(len(labelled), 'photo')}"
            self._changes.apply({**labelled, **rows}, did, tell=False)

    def _read(self, sent: Sent, refused: list[dict[str, str]]) -> ReadPhoto | None:
        why = sent.why
        if sent.content is not None:
            try:
                return read_photo(sent.content, self._rule, self._limits)
            except ImageError as error:
                why = str(error)
        refused.append({"name": sent.name, "why": why})
        return None

    def _store(self, sent: Sent, photo: ReadPhoto) -> str:
        """Write a photo under a name of its own, before any table names it."""
        with self._changes.lock:
            name = self._project.new_name(sent.name, photo.format_)
            path = self._project.photo(name)
            write_atomically(path, sent.content or b"")
        self._cache.note(path, photo.digest)
        self._cache.write_thumbnail(photo.digest, photo.thumbnail)
        return name

    def _known_contents(self, sizes: set[int]) -> dict[int, str]:
        """Return the names of photos by their content; of those not read yet, as far as needed."""
        known: dict[int, str] = {}
        for name, photo in self._album.snapshot().items():
            digest = photo.digest
            if digest is None:
                path = self._project.photo(name)
                digest = self._cache.digest(path)
                if digest is None and path.exists() and path.stat().st_size in sizes:
                    digest = digest_of_file(path)
            if digest is not None:
                known.setdefault(digest, name)
        return known
