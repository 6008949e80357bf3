"""Opens the feedback store that a setting names: SQLite in a file, or PostgreSQL."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sqlite3
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from shopwindow.bundle import BundleInfo
from shopwindow.errors import FeedbackError, MissingExtraError, UsageError
from shopwindow.feedback.store import WRITES, FeedbackStore
from shopwindow.settings import Settings

_TIMEOUT_S = 5  # a visitor should not wait longer for a database that does not answer
_POOL = {"pool_size": 5, "max_overflow": 5, "pool_timeout": _TIMEOUT_S}

_log = logging.getLogger(__name__)


def open_configured_store(settings: Settings, info: BundleInfo) -> FeedbackStore:
    """Open the store that the settings name, or else the default one of a model.

    Raises:
        UsageError: The setting makes no sense.
        FeedbackError: The store cannot be opened, read or written.
    """
    if settings.feedback:
        return open_store(settings.feedback)
    place = default_place(info)
    others = [] if place.exists() else other_places(info)
    store = open_store(str(place))
    for other in others:
        _log.warning(
            "%s may hold feedback on this model, but on other labels or from an older version; "
            "set SHOPWINDOW_FEEDBACK=%s to keep using it.",
            other,
            other,
        )
    return store


def default_place(info: BundleInfo) -> Path:
    """Return the default file for feedback on a model, in the user's own folder.

    Its name is made from the model's name and main labels: a later version of the model uses the
    same file, and another model has its own.

    Raises:
        FeedbackError: The user has no folder, as in many containers.
    """
    labels = json.dumps([info.main.name, sorted(info.main.labels)])
    digest = hashlib.sha256(labels.encode()).hexdigest()[:8]
    return _user_folder() / f"{_slug(info)}-{digest}.sqlite3"


def other_places(info: BundleInfo) -> list[Path]:
    """Return files other than `default_place` that may hold feedback on this model too.

    They belong to models of the same name with other labels, or to a time before each model had its
    own.

    Raises:
        FeedbackError: The user has no folder.
    """
    folder = _user_folder()
    found = [*folder.glob(f"{_slug(info)}-????????.sqlite3"), folder.parent / "feedback.sqlite3"]
    return sorted(path for path in found if path != default_place(info) and path.is_file())


def _user_folder() -> Path:
    from platformdirs import user_data_path

    folder = user_data_path("shopwindow", appauthor=False)
    if not folder.is_absolute():  # ~ has no meaning here
        raise FeedbackError("This user has no home folder to keep feedback in.")
    return folder / "feedback"


def _slug(info: BundleInfo) -> str:
    """Return the name of a model without characters that file names or patterns forbid."""
    return re.sub(r"[^\w-]+", "-", info.name)[:40]


def open_store(where: str, *, make: bool = True) -> FeedbackStore:
    """Open a feedback store, and make its tables where there are none.

    Args:
        where: A path (SQLite), or a URL such as `postgresql://user@host/name`.
        make: Whether to make an SQLite file where there is none. A reader says False: a mistyped
            path would look like an empty store.

    Raises:
        UsageError: Neither a path nor such a URL, or the store is from a newer shopwindow, or there
            is no file and none is to be made.
        MissingExtraError: PostgreSQL's driver is not installed.
        FeedbackError: It cannot be opened, read or written.
    """
    url = _parse(where)
    shown = url.render_as_string(hide_password=True).removeprefix("sqlite:///")
    if not make and not _is_postgresql(url) and not Path(url.database or "").exists():
        raise UsageError(f"{shown}: expected a feedback store, found no such file; check the path")
    engine = _open_postgresql(url) if _is_postgresql(url) else _open_sqlite(url)
    try:
        return FeedbackStore(engine, shown)
    except BaseException:
        engine.dispose()
        raise


def _parse(where: str) -> URL:
    if "://" not in where:
        try:
            path = Path(where).expanduser().absolute()
        except RuntimeError:
            raise UsageError(
                f"feedback: expected a path, found {where}, and this user has no home folder; give "
                "a whole path"
            ) from None
        return URL.create("sqlite", database=str(path))
    try:
        url = make_url(where)
    except ArgumentError:
        url = None
    if url is not None and _is_postgresql(url):
        return url.set(drivername="postgresql+psycopg")
    if url is not None and url.drivername == "sqlite" and url.database and not url.query:
        return url.set(database=str(Path(url.database).absolute()))
    scheme = where.partition("://")[0][:30]  # not all of it: there may be a password in it
    raise UsageError(
        f"feedback: expected a path, off, or a URL that begins with postgresql:// or sqlite:///, "
        f"found one that begins with {scheme}://."
    )


def _is_postgresql(url: URL) -> bool:
    return url.drivername in ("postgresql", "postgres", "postgresql+psycopg")


def _open_postgresql(url: URL) -> Engine:
    if find_spec("psycopg") is None:
        raise MissingExtraError("Keeping feedback in PostgreSQL", "postgres")
    timeout_ms = _TIMEOUT_S * 1000
    engine = create_engine(
        url,
        **_POOL,
        pool_pre_ping=True,  # the database may have been restarted
        # The second is for a machine that disappears in the middle of a statement (Linux only).
        connect_args={"connect_timeout": _TIMEOUT_S, "tcp_user_timeout": timeout_ms},
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, record: Any) -> None:
        # For a statement that waits for a lock. Not as a start-up option: PgBouncer has none.
        connection.execute(f"SET statement_timeout = {timeout_ms}")
        connection.commit()

    return engine


def _open_sqlite(url: URL) -> Engine:
    path = Path(url.database or "")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives the files beside it the same permissions: nobody else may see the photos.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise FeedbackError(f"{path} cannot be written ({error.strerror}).") from error
    engine = create_engine(url, **_POOL)

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None  # `begin` below says when a transaction begins
        for pragma in (
            f"busy_timeout = {_TIMEOUT_S * 1000}",
            "journal_mode = WAL",
            "synchronous = FULL",  # what is committed is on the disk, whatever happens then
            "foreign_keys = ON",
            "secure_delete = ON",  # a deleted photo is overwritten, not only unlisted
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and then writes would fail instead of waiting for another.
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
