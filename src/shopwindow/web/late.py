"""A feedback store that could not be opened when the server started is opened later."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from shopwindow.errors import FeedbackError, ShopwindowError
from shopwindow.settings import Settings

if TYPE_CHECKING:  # it imports SQLAlchemy, which takes its time
    from shopwindow.feedback.store import FeedbackStore

EVERY_S = 30.0

_log = logging.getLogger(__name__)


def open_feedback(settings: Settings) -> FeedbackStore | None:
    """Open the store that the settings name; None where feedback is off or cannot be kept now.

    A store that cannot be written, as on a read-only file system or before its database runs, is no
    reason not to serve: it is logged.

    Raises:
        UsageError: The setting makes no sense.
    """
    if settings.feedback == "off":
        return None
    from shopwindow.feedback.opening import open_store

    try:
        return open_store(settings.feedback)
    except FeedbackError as error:
        _log.warning(
            "No feedback is taken: %s Set SHOPWINDOW_FEEDBACK to a file or a database that can be "
            "written, or to off. It is tried again every %g seconds.",
            error,
            EVERY_S,
        )
        return None


class LateFeedback:
    """Tries to open the store whenever it is asked to, until it is there.

    Args:
        settings: Which name it.
        take: Is handed the store, once.
    """

    def __init__(self, settings: Settings, take: Callable[[FeedbackStore], None]) -> None:
        self._settings = settings
        self._take = take
        self._taken = False

    def look(self) -> None:
        """Try once; do nothing any more once it was there."""
        if self._taken:
            return
        from shopwindow.feedback.opening import open_store

        try:
            store = open_store(self._settings.feedback)
        except ShopwindowError as error:  # the first time, it was said aloud
            _log.debug("Still no feedback is taken: %s", error)
            return
        self._taken = True
        self._take(store)
        _log.warning("Feedback is taken from now on: %s can be used", store.where)
