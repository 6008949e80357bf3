"""A new model file replaces the served model while the server runs; a broken one does not."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shopwindow.errors import ShopwindowError
from shopwindow.inference.predictor import Predictor

_log = logging.getLogger(__name__)

Signature = tuple[int, int, int]


class ModelWatcher:
    """Loads a model file when it changes.

    It compares the file's time and size rather than asking the system for events: that works on
    network drives and for volumes of a container too, and a check takes some microseconds. A file
    is read once it has stayed the same from one check to the next, so never half copied.

    Args:
        path: The file that is served; it may be replaced, renamed over, or vanish for a while.
        served: What is served now.
        load: Reads the file.
        on_load: Called with a new predictor, which has run once.
        on_refusal: Called when a file could not be loaded; the log has the reason by then.
    """

    def __init__(
        self,
        path: Path,
        served: Predictor,
        *,
        load: Callable[[Path], Predictor],
        on_load: Callable[[Predictor], None],
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._load, self._on_load, self._on_refusal = load, on_load, on_refusal
        self._sha256 = served.bundle.sha256
        # Nothing yet: the file may have been replaced since it was loaded.
        self._tried: Signature | None = None
        self._last_seen: Signature | None = None
        self._lock = threading.Lock()

    def check(self) -> None:
        """Load the file if it is another one, and the same as at the last check."""
        with self._lock:
            self._check()

    def check_at_once(self) -> None:
        """Load the file if it is another one; for whoever has just put a whole file there."""
        with self._lock:
            self._last_seen = self._signature()
            self._check()

    def _check(self) -> None:
        seen = self._signature()
        settled = seen is not None and seen == self._last_seen
        self._last_seen = seen
        if not settled or seen == self._tried:
            return
        self._tried = seen
        try:
            self._try_load()
        except ShopwindowError as error:
            _log.error("The new model was refused; the old one stays in service: %s", error)
            self._on_refusal()
        except Exception:
            _log.exception("The new model was refused; the old one stays in service")
            self._on_refusal()

    def _try_load(self) -> None:
        with self._path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 == self._sha256:
            return
        predictor = self._load(self._path)
        rule = predictor.bundle.info.rule
        predictor.predict_images(np.zeros((1, rule.height_px, rule.width_px, 3), np.uint8), top=1)
        self._on_load(predictor)
        self._sha256 = predictor.bundle.sha256
        info = predictor.bundle.info
        _log.info("Now serving the model %s %s", info.name, info.version)

    def _signature(self) -> Signature | None:
        try:
            found = self._path.stat()
        except OSError:
            return None  # between two files, or on a drive that is away: see the next check
        return found.st_mtime_ns, found.st_size, found.st_ino
