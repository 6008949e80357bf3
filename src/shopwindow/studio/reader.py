"""Photos become features in the background, as they arrive."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shopwindow.data.duplicates import signatures_of
from shopwindow.errors import ImageError
from shopwindow.imaging.limits import ImageLimits
from shopwindow.probe.backbone import FEATURES, Backbone
from shopwindow.studio.album import READ, UNREADABLE, Album
from shopwindow.studio.intake import read_photo
from shopwindow.studio.photo_cache import PhotoCache

_BATCH = 16
MOST_WAITING = 500  # whose pixels wait in memory, 55 MB; those of others are read again
_NICENESS = 5  # answers and fits come first

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Work:
    name: str
    digest: int
    pixels: NDArray[np.uint8]


def lower_priority() -> None:
    """Let other threads go before this one, where that can be said of a thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


class Reader:
    """A thread that reads photos. `add` may be called from any thread.

    Args:
        place: Returns where a photo is.
        album: Where it says what it has read.
        cache: Where features go.
        backbone: What makes them.
        limits: What is refused before it is decoded.
        on_read: Called after each batch.
    """

    def __init__(
        self,
        place: Callable[[str], Path],
        album: Album,
        cache: PhotoCache,
        backbone: Backbone,
        limits: ImageLimits,
        on_read: Callable[[], None],
    ) -> None:
        self._place, self._album, self._cache = place, album, cache
        self._backbone, self._limits, self._on_read = backbone, limits, on_read
        self._waiting: dict[str, _Work | None] = {}
        self._more = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="studio-reader", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the batch under way; what waits is read when the project is opened again."""
        with self._more:
            self._stopped = True
            self._more.notify()
        if self._thread.is_alive():
            self._thread.join()

    def add(self, name: str, digest: int = 0, pixels: NDArray[np.uint8] | None = None) -> None:
        """Read a photo when its turn comes.

        Args:
            name: Of the photo.
            digest: Of its content, where it was decoded already.
            pixels: (H, W, 3) as the backbone sees it, where it was decoded already.
        """
        with self._more:
            keep = len(self._waiting) < MOST_WAITING and pixels is not None
            self._waiting[name] = (
                _Work(name, digest, pixels) if keep and pixels is not None else None
            )
            self._more.notify()

    def _run(self) -> None:
        lower_priority()
        while (names := self._take()) is not None:
            try:
                self._read(names)
            except Exception:
                _log.exception("Photos of the studio could not be read")
                self._album.update({name: {"status": UNREADABLE} for name in names})
            self._on_read()

    def _take(self) -> dict[str, _Work | None] | None:
        with self._more:
            while not self._waiting and not self._stopped:
                self._more.wait()
            if self._stopped:
                return None
            return {name: self._waiting.pop(name) for name in [*self._waiting][:_BATCH]}

    def _read(self, names: dict[str, _Work | None]) -> None:
        works: list[_Work] = []
        digests: dict[str, int] = {}
        for name, work in names.items():
            work = work or self._decode(name, digests)
            if work is not None:
                digests[name] = work.digest
                works.append(work)
        new = {work.digest: work for work in works if not self._cache.has(work.digest)}
        if new:
            images = np.stack([work.pixels for work in new.values()])
            features = self._backbone.engine.run(images, [FEATURES])[FEATURES]
            self._cache.add([*new], features, signatures_of(images))
        self._album.update(
            {name: {"status": READ, "digest": digest} for name, digest in digests.items()}
        )

    def _decode(self, name: str, digests: dict[str, int]) -> _Work | None:
        """Read a photo; note its digest where its features are known, or that it cannot be read."""
        path = self._place(name)
        digest = self._cache.digest(path)
        if digest is not None and self._cache.has(digest):
            digests[name] = digest
            return None
        try:
            photo = read_photo(path.read_bytes(), self._backbone.rule, self._limits)
        except (ImageError, OSError):
            self._album.update({name: {"status": UNREADABLE}})
            return None
        self._cache.note(path, photo.digest)
        self._cache.write_thumbnail(photo.digest, photo.thumbnail)
        return _Work(name, photo.digest, photo.pixels)
