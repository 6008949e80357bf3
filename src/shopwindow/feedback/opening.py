"""From a setting to a database: SQLite in a file, or PostgreSQL."""

from __future__ import annotations

import hashlib
import json
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

# Seconds; a visitor should not wait longer for a database that does not answer.
_PATIENCE_S = 5
_POOL = {"pool_size": 5, "max_overflow": 5, "pool_timeout": _PATIENCE_S}


def default_place(info: BundleInfo) -> Path:
    """Return the file for feedback on a model, unless told otherwise: in the user's own folder.

    It goes by the model's name and main labels: a later version of the model goes on with it, and
    another model has a file of its own.

    Raises:
        FeedbackError: The user has no folder, as in many containers.
    """
    labels = json.dumps([info.main.name, sorted(info.main.labels)])
    digest = hashlib.sha256(labels.encode()).hexdigest()[:8]
    return _user_folder() / f"{_slug(info)}-{digest}.sqlite3"


def other_places(info: BundleInfo) -> list[Path]:
    """Return files of feedback that may be on this model too, but are not `default_place`.

    They are on models of the same name with other labels, or from before each model had its own.

    Raises:
        FeedbackError: The user has no folder.
    """
    folder = _user_folder()
    found = [*folder.glob(f"{_slug(info)}-????????.sqlite3"), folder.parent / "feedback.sqlite3"]
    return sorted(path for path in found if path != default_place(info) and path.is_file())


def _user_folder() -> Path:
    from platformdirs import user_data_path

    folder = user_data_path("shopwindow", appauthor=False)
    if not folder.is_absolute():  # nobody knows what ~ stands for
        raise FeedbackError("This user has no home folder to keep feedback in.")
    return folder / "feedback"


def _slug(info: BundleInfo) -> str:
    """Return the name of a model as a file may be called anywhere, and a pattern taken as it is."""
    return re.sub(r"[^\w-]+", "-", info.name)[:40]


def open_store(where: str, *, make: bool = True) -> FeedbackStore:
    """Open a feedback store, and make its tables where there are none.

    Args:
        where: A path (SQLite), or a URL such as `postgresql://user@host/name`.
        make: Whether an SQLite file is made where there is none. Who only reads would take a
            mistyped path for a store in which nobody has said anything.

    Raises:
        UsageError: Neither a path nor such a URL, or what is there is of a newer shopwindow, or
            there is no file and none is to be made.
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
    patience_ms = _PATIENCE_S * 1000
    engine = create_engine(
        url,
        **_POOL,
        pool_pre_ping=True,  # a database that was restarted in between is no error
        # The second is for a machine that is gone in the middle of a statement (Linux only).
        connect_args={"connect_timeout": _PATIENCE_S, "tcp_user_timeout": patience_ms},
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, record: Any) -> None:
        # A statement that waits for a lock, say. Not as a start-up option: PgBouncer knows none.
        connection.execute(f"SET statement_timeout = {patience_ms}")
        connection.commit()

    return engine


def _open_sqlite(url: URL) -> Engine:
    path = Path(url.database or "")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives the files beside it the same permissions: photos are nobody else's business.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise FeedbackError(f"{path} cannot be written ({error.strerror}).") from error
    engine = create_engine(url, **_POOL)

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None  # `begin` below says when a transaction begins
        for pragma in (
            f"busy_timeout = {_PATIENCE_S * 1000}",
            "journal_mode = WAL",
            "synchronous = FULL",  # a commit that was told is on the disk, whatever happens then
            "foreign_keys = ON",
            "secure_delete = ON",  # a photo that was taken back is overwritten, not only unlisted
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and then writes could not be made to wait for another.
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
