"""Photos are kept as long as their senders were told, and then forgotten."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shopwindow.errors import FeedbackError

if TYPE_CHECKING:  # it imports SQLAlchemy, which takes its time
    from shopwindow.feedback.store import FeedbackStore

_EVERY_S = 3600.0

_log = logging.getLogger(__name__)


class Retention:
    """Forgets photos whose time is over: at once, and then every hour, in a thread of its own.

    Args:
        store: Where they are kept.
    """

    def __init__(self, store: FeedbackStore) -> None:
        self._store = store
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Forget from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Forget no more; returns when it is not at work any longer."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def forget(self) -> None:
        """Forget what is too old now; an error is logged, and it is tried again in an hour."""
        try:
            count = self._store.forget_photos(datetime.now(UTC))
        except FeedbackError as error:
            _log.error("Old photos are not forgotten yet: %s", error)
            return
        if count:
            _log.info("%s photos are forgotten: their time was over, or they were discarded", count)

    def _run(self) -> None:
        while True:
            self.forget()
            if self._stopped.wait(_EVERY_S):
                return
