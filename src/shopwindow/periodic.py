"""What a server does again and again beside its answers."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Periodic:
    """Does a piece of work every so many seconds, in a thread of its own.

    Args:
        work: What to do. An error that it lets through ends the thread.
        every_s: Seconds from the end of one time to the next.
        name: Of the thread.
        at_once: Whether the first time is at the start, rather than after `every_s`.
    """

    def __init__(
        self, work: Callable[[], object], *, every_s: float, name: str, at_once: bool = False
    ) -> None:
        self._work, self._every_s, self._at_once = work, every_s, at_once
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Work from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Work no more; returns when work under way is done."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        if self._at_once:
            self._work()
        while not self._stopped.wait(self._every_s):
            self._work()
