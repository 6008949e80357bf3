"""A feedback store that could not be opened when the server started is opened later."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from shopwindow.bundle import BundleInfo
from shopwindow.errors import FeedbackError, ShopwindowError
from shopwindow.settings import Settings

if TYPE_CHECKING:  # it imports SQLAlchemy, which takes its time
    from shopwindow.feedback.store import FeedbackStore

EVERY_S = 30.0

_log = logging.getLogger(__name__)


def open_feedback(settings: Settings, info: BundleInfo) -> FeedbackStore | None:
    """Open the store that the settings name; None where feedback is off or cannot be kept now.

    A store that cannot be written, as on a read-only file system or before its database runs, is no
    reason not to serve: it is logged.

    Args:
        settings: Which name it, or leave it to the model.
        info: Of the model that is served.

    Raises:
        UsageError: The setting makes no sense.
    """
    if settings.feedback == "off":
        return None
    try:
        return _open(settings, info)
    except FeedbackError as error:
        _log.warning(
            "No feedback is taken: %s Set SHOPWINDOW_FEEDBACK to a file or a database that can be "
            "written, or to off. It is tried again every %g seconds.",
            error,
            EVERY_S,
        )
        return None


def _open(settings: Settings, info: BundleInfo) -> FeedbackStore:
    from shopwindow.feedback.opening import default_place, open_store, other_places

    if settings.feedback:
        return open_store(settings.feedback)
    place = default_place(info)
    others = [] if place.exists() else other_places(info)
    store = open_store(str(place))
    for other in others:
        _log.warning(
            "%s may hold feedback on this model, but on other labels or from an older version; "
            "SHOPWINDOW_FEEDBACK=%s goes on with it.",
            other,
            other,
        )
    return store


class LateFeedback:
    """Tries to open the store whenever it is asked to, until it is there.

    Args:
        settings: Which name it, or leave it to the model.
        info: Of the model that is served.
        take: Is handed the store, once.
    """

    def __init__(
        self, settings: Settings, info: BundleInfo, take: Callable[[FeedbackStore], None]
    ) -> None:
        self._settings = settings
        self._info = info
        self._take = take
        self._taken = False

    def look(self) -> None:
        """Try once; do nothing any more once it was there."""
        if self._taken:
            return
        try:
            store = _open(self._settings, self._info)
        except ShopwindowError as error:  # the first time, it was said aloud
            _log.debug("Still no feedback is taken: %s", error)
            return
        self._taken = True
        self._take(store)
        _log.warning("Feedback is taken from now on: %s can be used", store.where)
