"""How much memory uploads may take before anybody has looked at them, over all connections.

A thousand connections that each bring nearly the largest body allowed would hold ten gigabytes, and
one client can open them. Small bodies, such as a photo that the page has made smaller, always get
in. Of the large ones, where all together hold too much, the one that began first is read on and the
others wait, so that a crowd is served one after the other; who is first and dawdles is cut.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

LARGE_BYTES = 100_000
MOST_BYTES = 64_000_000
FIRST_S = 10.0  # to arrive in, for the upload that all others wait for

_log = logging.getLogger(__name__)


class Upload(Protocol):
    """A connection, as far as its bodies go."""

    will_close: bool


class UploadBudget:
    """Counts the bytes of request bodies in memory. Thread-safe.

    Args:
        most_bytes: Beyond so many, large bodies take turns.
        clock: Returns seconds; for tests.
    """

    def __init__(
        self, most_bytes: int = MOST_BYTES, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_bytes = most_bytes
        self._clock = clock
        self._arriving: dict[Upload, int] = {}  # the large ones alone, in the order they began
        self._whole: dict[Upload, int] = {}
        self._arriving_bytes = self._whole_bytes = 0
        self._first: Upload | None = None
        self._first_since_s = 0.0
        self.lock = threading.RLock()  # an answer that is out is counted by its thread

    @property
    def held_bytes(self) -> int:
        """What is counted now."""
        return self._arriving_bytes + self._whole_bytes

    def count(self, upload: Upload, *, arriving_bytes: int, whole_bytes: int) -> bool:
        """Note what a connection holds; hold `lock` from finding that out until here.

        Args:
            upload: The connection.
            arriving_bytes: Of the body that is on its way in.
            whole_bytes: Of bodies that wait for their answer.

        Returns:
            Whether large bodies had to take turns until now.
        """
        if arriving_bytes < LARGE_BYTES:
            arriving_bytes = 0
        with self.lock:
            crowded = self.held_bytes > self._most_bytes
            self._arriving_bytes += arriving_bytes - self._arriving.get(upload, 0)
            self._whole_bytes += whole_bytes - self._whole.get(upload, 0)
            for counted, held in ((self._arriving, arriving_bytes), (self._whole, whole_bytes)):
                if held:
                    counted[upload] = held
                else:
                    counted.pop(upload, None)
            if self._first not in self._arriving or self.held_bytes <= self._most_bytes:
                self._first = None  # its time begins anew, with the next upload or the next crowd
            return crowded

    def may_grow(self, upload: Upload) -> bool:
        """Say whether to read on from a connection, and cut the one that keeps all others waiting.

        Args:
            upload: Counted just before.
        """
        with self.lock:
            if upload not in self._arriving or self.held_bytes <= self._most_bytes:
                return True
            if self._whole_bytes > self._most_bytes // 2:
                self._first = None  # it is the server that is slow: nobody is first
                return False
            first = next(iter(self._arriving))
            now_s = self._clock()
            if first is not self._first:
                self._first, self._first_since_s = first, now_s
            elif now_s - self._first_since_s > FIRST_S:
                _log.warning(
                    "Uploads hold %.0f MB: the one that others waited for took over %.0f s and is "
                    "cut",
                    self.held_bytes / 1e6,
                    FIRST_S,
                )
                first.will_close = True
                self.count(first, arriving_bytes=0, whole_bytes=self._whole.get(first, 0))
                return self.may_grow(upload)
            return upload is first
