"""How much memory the uploads of all connections may take before the app has seen them.

A thousand connections that each bring nearly the largest body allowed would hold ten gigabytes, and
one client can open them. Small bodies, such as a photo that the page has made smaller, are always
read. Where all bodies together hold too much, large ones take turns: the one that began first is
read on and the others wait. If the first is too slow, it is cut off.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

LARGE_BYTES = 100_000
MAX_BYTES = 64_000_000
TURN_S = 10.0  # how long an upload may keep the others waiting

_log = logging.getLogger(__name__)


class Upload(Protocol):
    """A connection, as far as its bodies go."""

    will_close: bool


class UploadBudget:
    """Counts the bytes of request bodies in memory. Thread-safe.

    Args:
        max_bytes: Above this, large bodies take turns.
        clock: Returns seconds; for tests.
    """

    def __init__(
        self, max_bytes: int = MAX_BYTES, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._arriving: dict[Upload, int] = {}  # the large ones alone, in the order they began
        self._complete: dict[Upload, int] = {}
        self._arriving_bytes = self._complete_bytes = 0
        self._first: Upload | None = None
        self._first_since_s = 0.0
        self.lock = threading.RLock()  # bodies are counted by the loop and by the threads

    @property
    def held_bytes(self) -> int:
        """What is counted now."""
        return self._arriving_bytes + self._complete_bytes

    def count(self, upload: Upload, *, arriving_bytes: int, complete_bytes: int) -> bool:
        """Note what a connection holds; hold `lock` from finding that out until here.

        Args:
            upload: The connection.
            arriving_bytes: Of the body that is being received.
            complete_bytes: Of bodies that wait for their answer.

        Returns:
            Whether large bodies had to take turns until now.
        """
        if arriving_bytes < LARGE_BYTES:
            arriving_bytes = 0
        with self.lock:
            crowded = self.held_bytes > self._max_bytes
            self._arriving_bytes += arriving_bytes - self._arriving.get(upload, 0)
            self._complete_bytes += complete_bytes - self._complete.get(upload, 0)
            for counted, held in (
                (self._arriving, arriving_bytes),
                (self._complete, complete_bytes),
            ):
                if held:
                    counted[upload] = held
                else:
                    counted.pop(upload, None)
            if self._first not in self._arriving or self.held_bytes <= self._max_bytes:
                self._first = None  # the next upload, or the next crowd, has all its time
            return crowded

    def may_grow(self, upload: Upload) -> bool:
        """Say whether to read on from a connection; cut off the one that the others wait for.

        Args:
            upload: Counted just before.
        """
        with self.lock:
            if upload not in self._arriving or self.held_bytes <= self._max_bytes:
                return True
            if self._complete_bytes > self._max_bytes // 2:
                self._first = None  # the server is slow, not a client: no time runs
                return False
            first = next(iter(self._arriving))
            now_s = self._clock()
            if first is not self._first:
                self._first, self._first_since_s = first, now_s
            elif now_s - self._first_since_s > TURN_S:
                _log.warning(
                    "Uploads hold %.0f MB: one that kept others waiting over %.0f s was cut off",
                    self.held_bytes / 1e6,
                    TURN_S,
                )
                first.will_close = True
                self.count(first, arriving_bytes=0, complete_bytes=self._complete.get(first, 0))
                return self.may_grow(upload)
            return upload is first
