"""What several of these tests share: an empty store for feedback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shopwindow.feedback.opening import open_store
from shopwindow.feedback.store import FeedbackStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeedbackStore]:
    store = open_store(str(tmp_path / "feedback.sqlite3"))
    yield store
    store.close()
