"""This month's photos beside those of the training: worked out when they change, then kept."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shopwindow.bundle import Bundle
from shopwindow.bundle.training_sample import read_sample
from shopwindow.feedback.drift import MAX_PHOTOS, Drift, measure_drift

if TYPE_CHECKING:  # it imports SQLAlchemy, which takes its time
    from shopwindow.feedback.store import FeedbackStore

MONTH = timedelta(days=30)
ON_MAP = 300  # the latest photos; more would hide each other
FARTHEST = 20


@dataclass(frozen=True)
class PhotosOfMonth:
    """The photos of the last 30 days, and how far they are from those of the training.

    Attributes:
        ids: n ids of feedback, the latest first.
        drift: None where there are too few to say.
    """

    ids: tuple[str, ...]
    drift: Drift | None

    @property
    def farthest(self) -> list[int]:
        """Positions in `ids`, the farthest from the training photos first."""
        if self.drift is None:
            return []
        return [int(place) for place in (-self.drift.apart).argsort(kind="stable")]

    @property
    def on_map(self) -> list[int]:
        """Positions in `ids` of what the map shows: the latest and the farthest."""
        if self.drift is None:
            return []
        return sorted({*range(min(ON_MAP, len(self.ids))), *self.farthest[:FARTHEST]})

    @property
    def shown(self) -> list[str]:
        """The ids of what the map shows, and of those that may be among the farthest."""
        places = {*self.on_map, *self.farthest[: 10 * FARTHEST]}
        return [self.ids[place] for place in sorted(places)]


class DriftWatch:
    """Works drift out once for each state of the store. Thread-safe.

    Args:
        show: Is called with the ratio of each result, NaN where there is none.
    """

    def __init__(self, show: Callable[[float], None] = lambda ratio: None) -> None:
        self._show = show
        self._lock = threading.Lock()
        self._key: tuple[str, ...] = ()
        self._found: PhotosOfMonth | None = None

    def look(self, store: FeedbackStore, bundle: Bundle) -> PhotosOfMonth | None:
        """Return the photos of the last 30 days beside those of the training.

        None where the bundle has no embedding, or no sample of its training photos. It takes a
        second or two when photos have come or gone, or on another day, and else a query.

        Raises:
            FeedbackError: The store cannot be used.
            BundleError: The sample in the bundle is damaged.
        """
        info = bundle.info
        with self._lock:
            now = datetime.now(UTC)
            key = (bundle.sha256, store.embeddings_mark(bundle.sha256), f"{now:%Y-%m-%d}")
            if key == self._key:
                return self._found
            sample = read_sample(info.data, info.embedding)
            found = None
            if sample is not None:
                ids, photos = store.embeddings_since(bundle.sha256, now - MONTH, MAX_PHOTOS)
                found = PhotosOfMonth(tuple(ids), measure_drift(photos, sample))
            self._key, self._found = key, found
            drift = found.drift if found is not None else None
            self._show(math.nan if drift is None else drift.ratio)
            return found
