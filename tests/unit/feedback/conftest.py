"""The same store in both databases, and feedback to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from postgres_server import running_postgresql
from shopwindow.feedback.feedback import Feedback
from shopwindow.feedback.opening import open_store
from shopwindow.feedback.store import FeedbackStore
from some_feedback import some_feedback


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    with running_postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
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
    return some_feedback
