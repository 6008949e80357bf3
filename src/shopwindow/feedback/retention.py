"""Photos are kept as long as their senders were told, and then forgotten."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shopwindow.errors import FeedbackError

if TYPE_CHECKING:  # it imports SQLAlchemy, which takes its time
    from shopwindow.feedback.store import FeedbackStore

FORGET_EVERY_S = 3600.0

_log = logging.getLogger(__name__)


def forget_old_photos(store: FeedbackStore) -> None:
    """Forget the photos whose time is over; an error is logged, and the next time tries again."""
    try:
        count = store.forget_photos(datetime.now(UTC))
    except FeedbackError as error:
        _log.error("Old photos are not forgotten yet: %s", error)
        return
    if count:
        _log.info("%s photos are forgotten: their time was over, or they were discarded", count)
