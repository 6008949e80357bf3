"""The feedback store: what was told to be kept is on the disk. Thread-safe."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Row,
    Select,
    Table,
    case,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from shopwindow.errors import FeedbackError, ReviewedError, UsageError
from shopwindow.feedback.feedback import STATUSES, Feedback, Photo, Status
from shopwindow.feedback.receipt import KEY_BYTES
from shopwindow.feedback.schema import SCHEMA_VERSION, about, metadata
from shopwindow.feedback.schema import feedback as rows
from shopwindow.feedback.schema import photo as photos
from shopwindow.feedback.stats import FeedbackStats, read_stats
from shopwindow.inference.prediction import LabelScore

WRITES = "shopwindow_writes"  # the execution option of a transaction that writes
DISCARDED_FOR = timedelta(days=1)
_CHECKPOINT_MS = 200  # nobody else can write meanwhile
_SESSIONS = "review_sessions"
_ADVISORY_LOCK = 0x5348_4F50  # any number that nobody else takes: "SHOP"


class FeedbackStore:
    """Feedback in a database; `open_store` opens one.

    Every method raises FeedbackError where the database cannot be asked.

    Args:
        engine: SQLite, set up as `open_store` does, or PostgreSQL.
        where: The database as people call it, without a password.

    Attributes:
        where: As given.
        key: What receipts are signed with unless the settings say otherwise; the same for all who
            open this store.

    Raises:
        UsageError: The tables are of a newer shopwindow.
    """

    def __init__(self, engine: Engine, where: str) -> None:
        self.where = where
        self._engine = engine
        self._sqlite = engine.dialect.name == "sqlite"
        # SQLite lets one write at a time, and lets the others ask again and again.
        self._turn: contextlib.AbstractContextManager[Any] = (
            threading.Lock() if self._sqlite else contextlib.nullcontext()
        )
        with self._writing() as connection:
            self.key = _prepare(connection)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def add(
        self, feedback: Feedback, photo: Photo | None = None, kept_until: datetime | None = None
    ) -> None:
        """Keep a feedback, in the place of one with the same id; when this returns, it is kept.

        Of what is not reviewed yet, each picture has one photo, that of the last who sent it: who
        sends the same again and again fills neither the disk nor the queue.

        Args:
            feedback: What was said.
            photo: What it was said about, if its sender agrees that it is kept.
            kept_until: Until when, as the sender is told; None: as long as the feedback.

        Raises:
            ReviewedError: The one with the same id was reviewed already.
        """
        values = _as_values(feedback)
        # "Insert or update" is one step: who adds the same at the same time waits for the row.
        atomic_write = self._insert_or_update(rows).values(values)
        atomic_write = atomic_write.on_conflict_do_update(
            index_elements=[rows.c.id], set_=values, where=rows.c.status == "pending"
        ).returning(rows.c.id)
        with self._writing() as connection:
            if connection.execute(atomic_write).first() is None:
                raise ReviewedError("This has been reviewed already, and stays as it was said.")
            out = photos.c.feedback_id == feedback.id
            if photo is not None:
                out |= photos.c.feedback_id.in_(_to_review(feedback.photo_sha256))
            old = connection.execute(delete(photos).where(out))
            if photo is not None:
                connection.execute(
                    insert(photos).values(
                        feedback_id=feedback.id,
                        media_type=photo.media_type,
                        content=photo.content,
                        kept_until=kept_until,
                    )
                )
        if old.rowcount:
            self._empty_journal()

    def find(self, feedback_id: str) -> Feedback | None:
        """Return a feedback, if there is one."""
        with self._reading() as connection:
            row = connection.execute(_selected().where(rows.c.id == feedback_id)).first()
        return None if row is None else _as_feedback(row)

    def photo(self, feedback_id: str) -> Photo | None:
        """Return the photo of a feedback, if there is one."""
        query = select(photos.c.content, photos.c.media_type)
        with self._reading() as connection:
            row = connection.execute(query.where(photos.c.feedback_id == feedback_id)).first()
        return None if row is None else Photo(bytes(row.content), row.media_type)

    def kept_until(self, feedback_id: str) -> datetime | None:
        """Return until when a photo is kept, as its sender was told.

        None where there is none, or where it is kept as long as the feedback.
        """
        query = select(photos.c.kept_until).where(photos.c.feedback_id == feedback_id)
        with self._reading() as connection:
            found: datetime | None = connection.scalar(query)
        return found

    def count(self) -> int:
        """Return how much feedback is kept."""
        with self._reading() as connection:
            return connection.scalar(select(func.count()).select_from(rows)) or 0

    def photo_count(self, *, besides: str = "") -> int:
        """Return how many photos are kept, besides those that one of this SHA-256 would replace."""
        query = select(func.count()).select_from(photos)
        if besides:
            query = query.where(photos.c.feedback_id.not_in(_to_review(besides)))
        with self._reading() as connection:
            return connection.scalar(query) or 0

    def delete(self, feedback_id: str) -> bool:
        """Forget a feedback and its photo; return whether there was one."""
        with self._writing() as connection:
            found = connection.execute(delete(rows).where(rows.c.id == feedback_id)).rowcount
        self._empty_journal()
        return bool(found)

    def forget_photos(self, now: datetime) -> int:
        """Forget the photos whose time is over, and what a reviewer discarded; return how many.

        What was discarded stays for `DISCARDED_FOR`, in which the reviewer may take that back.
        """
        discarded = (rows.c.status == "discarded") & (rows.c.reviewed_at < now - DISCARDED_FOR)
        unwanted = select(rows.c.id).where(discarded)
        over = (photos.c.kept_until < now) | photos.c.feedback_id.in_(unwanted)
        with self._writing() as connection:
            found = connection.execute(delete(photos).where(over)).rowcount
        # Also where nothing was found: it may have failed the last time, for somebody was reading.
        self._empty_journal()
        return found

    def review(
        self, feedback_id: str, status: Status, label: str | None, at: datetime | None = None
    ) -> bool:
        """Write down what a reviewer made of a feedback; "pending" takes that back.

        Args:
            feedback_id: Of which feedback.
            status: See `Feedback`.
            label: The right label, None for "none of these"; it counts with accepted and changed.
            at: When; now where left out.

        Returns:
            Whether there is such a feedback.
        """
        if status not in STATUSES:
            raise ValueError(f"status: expected one of {', '.join(STATUSES)}, got {status!r}")
        values = {
            "status": status,
            "reviewed": label if status in ("accepted", "changed") else None,
            "reviewed_at": None if status == "pending" else at or datetime.now(UTC),
        }
        with self._writing() as connection:
            query = update(rows).where(rows.c.id == feedback_id).values(values)
            return bool(connection.execute(query).rowcount)

    def items(
        self, statuses: Collection[Status] = STATUSES, *, with_photo: bool = False
    ) -> Iterator[Feedback]:
        """Yield the feedback of some statuses, oldest first.

        Args:
            statuses: Which to yield.
            with_photo: Whether to leave out those without a photo.
        """
        query = _selected(with_photo=with_photo).where(rows.c.status.in_(statuses))
        with self._reading() as connection:
            found = connection.execution_options(yield_per=1000).execute(
                query.order_by(rows.c.created_at, rows.c.id)
            )
            for row in found:
                yield _as_feedback(row)

    def queue(self, *, skip: int = 0) -> Feedback | None:
        """Return what to review next, the most informative first; None if nothing is left.

        Corrections come first, and of these the ones where the model was surest: it is furthest
        off there, or the visitor is. Then confirmations, those with the least margin first. What
        has no photo cannot be judged, and is not in the queue.

        Args:
            skip: How many of the queue to leave for later.
        """
        corrects = rows.c.given.is_distinct_from(rows.c.predicted)
        query = (
            _selected(with_photo=True)
            .where(rows.c.status == "pending")
            .order_by(
                case((corrects, 0), else_=1),
                case((corrects, -rows.c.margin), else_=rows.c.margin),
                rows.c.created_at,
                rows.c.id,
            )
        )
        with self._reading() as connection:
            row = connection.execute(query.offset(skip).limit(1)).first()
        return None if row is None else _as_feedback(row)

    def waiting(self) -> int:
        """Return how long the queue is."""
        query = select(func.count()).select_from(rows.join(photos))
        with self._reading() as connection:
            return connection.scalar(query.where(rows.c.status == "pending")) or 0

    def figures(self) -> FeedbackStats:
        """Return what all feedback together says."""
        with self._reading() as connection:
            return read_stats(connection)

    def sessions(self) -> str:
        """Return the mark of the sessions of /review that are good now, on every server."""
        query = select(about.c.value).where(about.c.name == _SESSIONS)
        with self._reading() as connection:
            return connection.scalar(query) or ""

    def end_sessions(self) -> None:
        """Make all sessions of /review worthless, also where somebody has a copy of a cookie."""
        mark = {"value": secrets.token_hex(KEY_BYTES)}
        marking = self._insert_or_update(about).values(name=_SESSIONS, **mark)
        marking = marking.on_conflict_do_update(index_elements=[about.c.name], set_=mark)
        with self._writing() as connection:
            connection.execute(marking)

    def _insert_or_update(self, table: Table) -> Any:
        # Only the dialect that is spoken: importing the other takes a twentieth of a second.
        dialect = import_module(f"sqlalchemy.dialects.{self._engine.dialect.name}")
        return dialect.insert(table)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _errors_in_words(self.where), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        engine = self._engine.execution_options(**{WRITES: True})
        with _errors_in_words(self.where), self._turn, engine.begin() as connection:
            yield connection

    def _empty_journal(self) -> None:
        """Leave nothing of what was deleted in the journal beside an SQLite file.

        Where somebody reads, as an export does, that is not possible; `forget_photos` tries again.
        """
        if self._sqlite:
            with _errors_in_words(self.where), self._turn, self._engine.connect() as connection:
                raw = connection.connection.driver_connection
                assert raw is not None  # noqa: S101  # for the type checker
                (patience_ms,) = raw.execute("PRAGMA busy_timeout").fetchone()
                raw.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_MS}")
                try:
                    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                finally:
                    raw.execute(f"PRAGMA busy_timeout = {patience_ms}")


@contextlib.contextmanager
def _errors_in_words(where: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:  # the latter past SQLAlchemy, see above
        raise FeedbackError(f"{where} cannot be used ({reason_of(error)}).") from error


def reason_of(error: Exception) -> str:
    """Return what a database says in its first line, without the statement and its values."""
    cause: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        cause = error.orig
    return (str(cause).strip() or type(cause).__name__).splitlines()[0].rstrip(".")


def _prepare(connection: Connection) -> bytes:
    """Make the tables if there are none, make sure that they can be written, return the key."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    metadata.create_all(connection)
    found = {row.name: row.value for row in connection.execute(select(about))}
    if not found:
        found = {"schema_version": str(SCHEMA_VERSION), "key": secrets.token_hex(KEY_BYTES)}
        connection.execute(
            insert(about), [{"name": name, "value": value} for name, value in found.items()]
        )
    if int(found["schema_version"]) > SCHEMA_VERSION:
        raise UsageError(
            f"This feedback store has the schema {found['schema_version']}, of a newer shopwindow; "
            f"this one knows {SCHEMA_VERSION}. Update shopwindow, or choose another store."
        )
    # Changes nothing, but fails where nothing could be written.
    connection.execute(
        update(about).where(about.c.name == "schema_version").values(value=about.c.value)
    )
    return bytes.fromhex(found["key"])


def _to_review(photo_sha256: str) -> Select[Any]:
    """Select the ids of what has a photo of this picture and is not reviewed yet."""
    of_it = (rows.c.photo_sha256 == photo_sha256) & (rows.c.status == "pending")
    return select(rows.c.id).select_from(rows.join(photos)).where(of_it)


def _selected(*, with_photo: bool = False) -> Select[Any]:
    has_photo = photos.c.feedback_id.is_not(None).label("has_photo")
    return select(rows, has_photo).select_from(rows.join(photos, isouter=not with_photo))


def _as_values(feedback: Feedback) -> dict[str, Any]:
    return {
        "id": feedback.id,
        "created_at": feedback.created_at,
        "model_name": feedback.model_name,
        "model_version": feedback.model_version,
        "model_sha256": feedback.model_sha256,
        "photo_sha256": feedback.photo_sha256,
        "label_column": feedback.column,
        "predicted": feedback.predicted,
        "confidence": feedback.confidence,
        "sure": feedback.sure,
        "margin": feedback.margin,
        "top": [one.as_json() for one in feedback.top],
        "given": feedback.given,
        "status": feedback.status,
        "reviewed": feedback.reviewed,
        "reviewed_at": feedback.reviewed_at,
    }


def _as_feedback(row: Row[Any]) -> Feedback:
    values = dict(row._mapping)
    values["column"] = values.pop("label_column")
    values["top"] = tuple(LabelScore(**one) for one in values["top"])
    values["has_photo"] = bool(values["has_photo"])
    return Feedback(**values)
