"""Photos are deleted when the time that was promised to their senders is over."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shopwindow.errors import FeedbackError

if TYPE_CHECKING:  # it imports SQLAlchemy, which takes its time
    from shopwindow.feedback.store import FeedbackStore

DELETE_EVERY_S = 3600.0

_log = logging.getLogger(__name__)


def delete_old_photos(store: FeedbackStore) -> None:
    """Delete the photos whose time is up; an error is logged, and the next call tries again."""
    try:
        count = store.delete_old_photos(datetime.now(UTC))
    except FeedbackError as error:
        _log.error("Old photos could not be deleted yet: %s", error)
        return
    if count:
        _log.info("%s photos were deleted: their time was up, or they were discarded", count)
