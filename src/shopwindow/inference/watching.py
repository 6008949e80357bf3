"""A new model file takes the place of the old one while the server runs; a broken one does not."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shopwindow.errors import ShopwindowError
from shopwindow.inference.predictor import Predictor

_log = logging.getLogger(__name__)

Signature = tuple[int, int, int]


class ModelWatch:
    """Looks at a model file now and then, and hands over what has come there.

    It asks for the file's time and size rather than being told by the system: that works on network
    drives and for volumes of a container too, and one look costs some microseconds. A file is
    read when it has stayed the same from one look to the next, so that one that is being copied is
    left to be finished.

    Args:
        path: The file that is served; it may be replaced, renamed over, or vanish for a while.
        served: What is served now.
        load: Reads the file.
        take: Is handed a predictor that has run once.
        refuse: Is told that a file could not be taken; the log has the reason by then.
    """

    def __init__(
        self,
        path: Path,
        served: Predictor,
        *,
        load: Callable[[Path], Predictor],
        take: Callable[[Predictor], None],
        refuse: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._load, self._take, self._refuse = load, take, refuse
        self._sha256 = served.bundle.sha256
        # Nothing yet: the file may have been replaced since it was loaded.
        self._judged: Signature | None = None
        self._last_seen: Signature | None = None

    def look(self) -> None:
        """Look once; load the file if it is another one, and the same as at the last look."""
        seen = self._sign()
        settled = seen is not None and seen == self._last_seen
        self._last_seen = seen
        if not settled or seen == self._judged:
            return
        self._judged = seen
        try:
            self._judge()
        except ShopwindowError as error:
            _log.error("The new model is refused, the old one goes on: %s", error)
            self._refuse()
        except Exception:
            _log.exception("The new model is refused, the old one goes on")
            self._refuse()

    def _judge(self) -> None:
        with self._path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 == self._sha256:
            return
        predictor = self._load(self._path)
        rule = predictor.bundle.info.rule
        predictor.predict_images(np.zeros((1, rule.height_px, rule.width_px, 3), np.uint8), top=1)
        self._take(predictor)
        self._sha256 = predictor.bundle.sha256
        info = predictor.bundle.info
        _log.info("From now on the model %s %s answers", info.name, info.version)

    def _sign(self) -> Signature | None:
        try:
            found = self._path.stat()
        except OSError:
            return None  # between two files, or on a drive that is away: the next look will tell
        return found.st_mtime_ns, found.st_size, found.st_ino
