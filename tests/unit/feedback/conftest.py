"""The same store in both databases, and feedback to put into it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from postgres_server import running_postgresql
from shopwindow.feedback.feedback import Feedback
from shopwindow.feedback.opening import open_store
from shopwindow.feedback.store import FeedbackStore
from shopwindow.inference.prediction import LabelScore

NOON = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    with running_postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return str(tmp_path / "feedback.sqlite3")
    url: str = request.getfixturevalue("postgresql")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return url


@pytest.fixture
def store(where: str) -> Iterator[FeedbackStore]:
    store = open_store(where)
    yield store
    store.close()


@pytest.fixture
def make_feedback() -> Callable[..., Feedback]:
    """Return a function that makes a feedback: red, as the model said with 0.7, unless told."""

    def make(**changes: Any) -> Feedback:
        values: dict[str, Any] = {
            "id": secrets.token_hex(16),
            "created_at": NOON,
            "model_name": "colours",
            "model_version": "1.0",
            "model_sha256": "ab" * 32,
            "photo_sha256": "cd" * 32,
            "column": "colour",
            "predicted": "red",
            "confidence": 0.7,
            "sure": False,
            "margin": 0.5,
            "top": (LabelScore("red", 0.7), LabelScore("blå 'quoted' \"中\"", 0.2)),
            "given": "red",
        }
        return Feedback(**values | changes)

    return make
