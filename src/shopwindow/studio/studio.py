"""The studio: a project, its photos, and a model that follows them.

**Threads.** Requests come from many threads; one thread reads photos, one fits, one measures, and
one follows the job that runs. A thread that holds one of these locks may only take a later one:

1. `Changes.lock`: a change, from the check of its revision until it is on disk
2. those of `Learner`, `Reader` and `Versions`, of which none is held to take another of these
3. that of `Album`: what the page shows; never held for slow work
4. that of `PhotoCache`
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from shopwindow.errors import ImageError, StudioError
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.limits import ImageLimits
from shopwindow.imaging.thumbnail import jpeg_thumbnail
from shopwindow.inference.batching import Batcher
from shopwindow.inference.engine import EngineName
from shopwindow.probe.mapped_backbone import open_mapped_backbone
from shopwindow.studio.adding import Adding
from shopwindow.studio.album import Album
from shopwindow.studio.archive import zip_project
from shopwindow.studio.changes import Changes
from shopwindow.studio.fitting import Fitted
from shopwindow.studio.intake import read_photo
from shopwindow.studio.learner import Learned, Learner
from shopwindow.studio.live_model import LivePredictor
from shopwindow.studio.photo_cache import PhotoCache, digest_of_file
from shopwindow.studio.project import Project
from shopwindow.studio.reader import Reader
from shopwindow.studio.report import Report, counts_of
from shopwindow.studio.versions import Versions

_PREVIEW_PX = 1280
_MOST_TRIES = 4  # that wait for an answer; a frame of the camera more is refused


class Studio:
    """A project that is open. Thread-safe.

    Args:
        folder: See `Project`.
        limits: What photos must keep to.
        engine: What runs the backbone; see `choose_engine`.

    Attributes:
        folder: The project's folder, absolute.
        album: Its photos.
        changes: What people change.
        adding: Takes photos in.
        report: What the page shows.
        versions: The models that were made of it.

    Raises:
        UsageError: The folder cannot be opened.
    """

    def __init__(
        self, folder: Path, *, limits: ImageLimits | None = None, engine: EngineName = "auto"
    ) -> None:
        self._project = Project(folder)
        self.folder = self._project.folder
        self._limits = limits or ImageLimits()
        self._backbone = backbone = open_mapped_backbone(engine=engine, streams=2)
        nothing = np.zeros((1, *backbone.engine.input_shape), np.uint8)
        width = backbone.features(nothing).shape[1]
        self._cache = PhotoCache(self._project.hidden, backbone.sha256, width)
        self.album = Album()
        self.album.put(self._project.rows)
        self.changes = Changes(self._project, self.album, self._follow)
        self._learner = Learner(self.album, self._cache, lambda: self.changes.dismissed, self._use)
        self._reader = Reader(
            self._project.photo, self.album, self._cache, backbone, self._limits, self._has_read
        )
        self.adding = Adding(
            self._project,
            self.changes,
            self.album,
            self._cache,
            self._reader,
            backbone.rule,
            self._limits,
        )
        self.versions = Versions(self.folder, self._project.hidden, self.album.touch)
        self.report = Report(self._project, self.album, self.changes, self._learner, self.versions)
        self._fitted: Fitted | None = None
        self._batcher: Batcher | None = None

    def start(self) -> None:
        """Begin to read photos and to learn."""
        self._follow([*self.album.snapshot()])
        self._reader.start()
        self._learner.start()

    def close(self) -> None:
        """End all waits and threads; others can open the project then."""
        self.album.close()
        self._reader.stop()
        self._learner.stop()
        self.versions.close()
        with self.changes.lock:
            self._project.close()

    def batcher(self) -> Batcher:
        """Return what answers with the current model.

        Raises:
            StudioError: There is none yet.
        """
        if self._batcher is None or self._learner.learned.fitted is None:
            raise StudioError("There is no model yet: label photos of at least two things first.")
        return self._batcher

    def make_version(self, *, promote: bool, note: str) -> str:
        """Begin to write the current model as a bundle; see `Versions.make`."""
        photos = self.album.snapshot()
        if sum(count > 1 for count in counts_of(photos).values()) < 2:
            raise StudioError(
                "A model needs two photos each of at least two things: label some more first."
            )
        with self.changes.lock:
            grouped = any(row.group for row in self._project.rows.values())
            return self.versions.make(
                promote=promote, note=note, grouped=grouped, photos=len(photos)
            )

    def archive(self) -> Iterator[bytes]:
        """Yield the project as a zip file."""
        return zip_project(self.folder, [*self.album.snapshot()])

    def thumbnail(self, name: str) -> bytes | None:
        """Return a small JPEG of a photo; None where there is none that can be read."""
        photo = self.album.get(name)
        if photo is None:
            return None
        try:
            path = self._project.photo(name)
            digest = photo.digest or self._cache.digest(path) or digest_of_file(path)
            kept = self._cache.thumbnail(digest)
            if kept.exists():
                return kept.read_bytes()
            read = read_photo(path.read_bytes(), self._backbone.rule, self._limits)
            self._cache.write_thumbnail(read.digest, read.thumbnail)
            return read.thumbnail
        except (ImageError, OSError):
            return None

    def preview(self, name: str) -> bytes | None:
        """Return a large JPEG of a photo; None as `thumbnail`."""
        if self.album.get(name) is None:
            return None
        try:
            content = self._project.photo(name).read_bytes()
            image = decode_image(content, limits=self._limits, least_px=(_PREVIEW_PX, _PREVIEW_PX))
        except (ImageError, OSError):
            return None
        return jpeg_thumbnail(image, _PREVIEW_PX)

    def _follow(self, new: Sequence[str]) -> None:
        """Read photos that have come, and learn from labels that have changed."""
        for name in new:
            self._reader.add(name)
        self._learner.wake()

    def _has_read(self) -> None:
        self._learner.wake(soon=False)

    def _use(self, learned: Learned) -> None:
        """Answer with a new model from now on."""
        fitted = learned.fitted
        if fitted is None or fitted is self._fitted:
            return
        self._fitted = fitted
        name, version = self.folder.name, learned.fits
        predictor = LivePredictor(self._backbone, fitted, name, version, self._limits)
        if self._batcher is None:
            self._batcher = Batcher(predictor, max_waiting=_MOST_TRIES)
        else:
            self._batcher.replace(predictor)
