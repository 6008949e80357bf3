"""Work that a server repeats beside its answers."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Periodic:
    """Repeats a piece of work in a thread of its own.

    Args:
        work: What to do. An error that it raises ends the thread.
        every_s: Seconds from the end of one call to the next.
        name: Of the thread.
        at_once: Whether to begin at once rather than after `every_s`.
    """

    def __init__(
        self, work: Callable[[], object], *, every_s: float, name: str, at_once: bool = False
    ) -> None:
        self._work, self._every_s, self._at_once = work, every_s, at_once
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, once work under way is done."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        if self._at_once:
            self._work()
        while not self._stopped.wait(self._every_s):
            self._work()
