"""The feedback store: a database that keeps feedback and photos."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
from collections.abc import Collection, Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
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
from shopwindow.feedback.feedback import STATUSES, Embedding, Feedback, Photo, Status
from shopwindow.feedback.receipt import KEY_BYTES
from shopwindow.feedback.review_order import greedy_order
from shopwindow.feedback.schema import SCHEMA_VERSION, about, metadata
from shopwindow.feedback.schema import embedding as embeddings
from shopwindow.feedback.schema import feedback as rows
from shopwindow.feedback.schema import photo as photos
from shopwindow.feedback.stats import FeedbackStats, read_stats
from shopwindow.inference.prediction import LabelScore

WRITES = "shopwindow_writes"  # the execution option of a transaction that writes
DISCARDED_FOR = timedelta(days=1)  # in which a reviewer may change their mind
_CHECKPOINT_MS = 200  # others cannot write meanwhile
_CONSIDERED = 500  # photos of each kind when the next is chosen: a fraction of a second
_SESSIONS = "review_sessions"
_ADVISORY_LOCK = 0x5348_4F50  # an arbitrary number: "SHOP"


class FeedbackStore:
    """Feedback in a database; `open_store` opens one. Thread-safe.

    Every method raises FeedbackError if the database cannot be used.

    Args:
        engine: SQLite, set up as `open_store` does, or PostgreSQL.
        where: The name of the database for people, without a password.

    Attributes:
        where: As given.
        key: What receipts are signed with by default; the same for every server with this store.

    Raises:
        UsageError: The tables are from a newer shopwindow.
    """

    def __init__(self, engine: Engine, where: str) -> None:
        self.where = where
        self._engine = engine
        self._sqlite = engine.dialect.name == "sqlite"
        # SQLite lets one write at a time; the others would poll.
        self._write_lock: contextlib.AbstractContextManager[Any] = (
            threading.Lock() if self._sqlite else contextlib.nullcontext()
        )
        with self._writing() as connection:
            self.key = _prepare(connection)

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()

    def add(
        self,
        feedback: Feedback,
        photo: Photo | None = None,
        kept_until: datetime | None = None,
        embedding: Embedding | None = None,
    ) -> None:
        """Keep feedback, in place of that with the same id; when this returns, it is on the disk.

        Until it is reviewed, a picture has one photo only, that of its last sender: sending the
        same again and again fills neither the disk nor the queue.

        Args:
            feedback: What was said.
            photo: Of what, if its sender agrees that it is kept.
            kept_until: Until when, as promised to the sender; None: as long as the feedback.
            embedding: Of the photo, if the model gives one; without a photo it is not kept.

        Raises:
            ReviewedError: The feedback with this id was reviewed already.
        """
        values = _as_values(feedback)
        # "Insert or update" is one step: another that adds the same id waits for the row.
        upsert = self._insert_or_update(rows).values(values)
        upsert = upsert.on_conflict_do_update(
            index_elements=[rows.c.id], set_=values, where=rows.c.status == "pending"
        ).returning(rows.c.id)
        with self._writing() as connection:
            if connection.execute(upsert).first() is None:
                raise ReviewedError("This feedback was reviewed already, and cannot be changed.")
            replaced = photos.c.feedback_id == feedback.id
            if photo is not None:
                replaced |= photos.c.feedback_id.in_(_to_review(feedback.photo_sha256))
            old = connection.execute(delete(photos).where(replaced))
            if photo is not None:
                connection.execute(
                    insert(photos).values(
                        feedback_id=feedback.id,
                        media_type=photo.media_type,
                        content=photo.content,
                        kept_until=kept_until,
                    )
                )
            if photo is not None and embedding is not None:
                connection.execute(
                    insert(embeddings).values(
                        feedback_id=feedback.id,
                        model_sha256=embedding.model_sha256,
                        content=embedding.values.astype("<f2").tobytes(),
                    )
                )
        if old.rowcount:
            self._empty_journal()

    def find(self, feedback_id: str) -> Feedback | None:
        """Return the feedback with an id, if there is one."""
        with self._reading() as connection:
            row = connection.execute(_selected().where(rows.c.id == feedback_id)).first()
        return None if row is None else _as_feedback(row)

    def photo(self, feedback_id: str) -> Photo | None:
        """Return the photo of some feedback, if there is one."""
        query = select(photos.c.content, photos.c.media_type)
        with self._reading() as connection:
            row = connection.execute(query.where(photos.c.feedback_id == feedback_id)).first()
        return None if row is None else Photo(bytes(row.content), row.media_type)

    def kept_until(self, feedback_id: str) -> datetime | None:
        """Return the time until which a photo is kept, as promised to its sender.

        None if there is none, or if it is kept as long as the feedback.
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
        """Return how many photos are kept, without those that a photo of this SHA-256 replaces."""
        query = select(func.count()).select_from(photos)
        if besides:
            query = query.where(photos.c.feedback_id.not_in(_to_review(besides)))
        with self._reading() as connection:
            return connection.scalar(query) or 0

    def delete(self, feedback_id: str) -> bool:
        """Delete feedback and its photo; return whether there was any."""
        with self._writing() as connection:
            found = connection.execute(delete(rows).where(rows.c.id == feedback_id)).rowcount
        self._empty_journal()
        return bool(found)

    def delete_old_photos(self, now: datetime) -> int:
        """Delete the photos whose time is over, and those discarded; return how many.

        Discarded photos stay for `DISCARDED_FOR`, in which the reviewer can undo that.
        """
        discarded = (rows.c.status == "discarded") & (rows.c.reviewed_at < now - DISCARDED_FOR)
        unwanted = select(rows.c.id).where(discarded)
        over = (photos.c.kept_until < now) | photos.c.feedback_id.in_(unwanted)
        with self._writing() as connection:
            found = connection.execute(delete(photos).where(over)).rowcount
        # Even if nothing was found: the last time, somebody may have been reading.
        self._empty_journal()
        return found

    def review(
        self, feedback_id: str, status: Status, label: str | None, at: datetime | None = None
    ) -> bool:
        """Record a reviewer's decision; "pending" undoes it.

        Args:
            feedback_id: Of the feedback.
            status: See `Feedback`.
            label: The right label, None for "none of these"; it counts with accepted and changed.
            at: When; now by default.

        Returns:
            Whether there is feedback with this id.
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
            with_photo: Whether to leave out feedback without a photo.
        """
        query = _selected(with_photo=with_photo).where(rows.c.status.in_(statuses))
        with self._reading() as connection:
            found = connection.execution_options(yield_per=1000).execute(
                query.order_by(rows.c.created_at, rows.c.id)
            )
            for row in found:
                yield _as_feedback(row)

    def queue(self, *, skip: int = 0, model_sha256: str = "") -> Feedback | None:
        """Return what to review next, the most informative first; None if nothing is left.

        Where photos have embeddings that can be compared: what the model doubts, and has learned
        nothing like it; see `greedy_order`. The doubt is 1 less the margin, whatever the visitor
        said (benchmarks/labelling.py compares), and only the first `_CONSIDERED` photos of the
        other order are looked at.

        Otherwise corrections come first, those with the largest margin before others: the model was
        most certain there, and either it or the visitor is wrong. Then come confirmations, smallest
        margin first. Feedback without a photo cannot be judged, and is not in the queue.

        Args:
            skip: How many to leave for later.
            model_sha256: Of the model whose embeddings can be compared.
        """
        with self._reading() as connection:
            waiting = connection.execute(_in_queue().limit(_CONSIDERED)).all()
            vectors = _vectors(connection, model_sha256, rows.c.id.in_([row.id for row in waiting]))
            if not vectors or skip >= len(waiting):
                row = connection.execute(_in_queue().offset(skip).limit(1)).first()
                return None if row is None else _as_feedback(row)
            judged = rows.c.status.in_(("accepted", "changed"))
            labelled = _vectors(connection, model_sha256, judged)
        width = len(next(iter(vectors.values())))
        none = np.zeros(width, np.float32)
        order = greedy_order(
            np.clip(np.array([1 - row.margin for row in waiting], np.float32), 0, 1),
            np.stack([vectors.get(row.id, none) for row in waiting]),
            np.array([*labelled.values()], np.float32).reshape(-1, width),
            skip + 1,
        )
        return _as_feedback(waiting[order[-1]])

    def embeddings_mark(self, model_sha256: str) -> str:
        """Return what changes when photos with embeddings by a model come, go or are discarded."""
        query = select(func.count(), func.max(rows.c.created_at))
        with self._reading() as connection:
            found = connection.execute(
                query.select_from(rows.join(photos).join(embeddings)).where(_counted(model_sha256))
            ).one()
        return " ".join(map(str, found))

    def embeddings_since(
        self, model_sha256: str, since: datetime, most: int
    ) -> tuple[list[str], NDArray[np.float32]]:
        """Return ids and embeddings of the photos since some time, the latest first.

        Args:
            model_sha256: Of the model that made them.
            since: In UTC.
            most: How many at most.

        Returns:
            n ids, and (n, D) of unit length; (0, 0) if there are none. Discarded photos do not
            count.
        """
        wanted = _counted(model_sha256) & (rows.c.created_at >= since)
        with self._reading() as connection:
            found = _vectors(connection, model_sha256, wanted, most)
        return [*found], np.stack([*found.values()]) if found else np.empty((0, 0), np.float32)

    def find_all(self, feedback_ids: Collection[str]) -> dict[str, Feedback]:
        """Return the feedback with some ids, by id, of those that are still there."""
        with self._reading() as connection:
            found = connection.execute(_selected().where(rows.c.id.in_(feedback_ids)))
            return {row.id: _as_feedback(row) for row in found}

    def waiting(self) -> int:
        """Return how long the queue is."""
        query = select(func.count()).select_from(rows.join(photos))
        with self._reading() as connection:
            return connection.scalar(query.where(rows.c.status == "pending")) or 0

    def stats(self) -> FeedbackStats:
        """Return statistics of all feedback."""
        with self._reading() as connection:
            return read_stats(connection)

    def sessions(self) -> str:
        """Return the mark of the sessions of /review that are valid now, on every server."""
        query = select(about.c.value).where(about.c.name == _SESSIONS)
        with self._reading() as connection:
            return connection.scalar(query) or ""

    def end_sessions(self) -> None:
        """End all sessions of /review, even if somebody has a copy of a cookie."""
        mark = {"value": secrets.token_hex(KEY_BYTES)}
        upsert = self._insert_or_update(about).values(name=_SESSIONS, **mark)
        upsert = upsert.on_conflict_do_update(index_elements=[about.c.name], set_=mark)
        with self._writing() as connection:
            connection.execute(upsert)

    def _insert_or_update(self, table: Table) -> Any:
        # Only the dialect in use: importing the other takes a twentieth of a second.
        dialect = import_module(f"sqlalchemy.dialects.{self._engine.dialect.name}")
        return dialect.insert(table)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _feedback_errors(self.where), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        engine = self._engine.execution_options(**{WRITES: True})
        with _feedback_errors(self.where), self._write_lock, engine.begin() as connection:
            yield connection

    def _empty_journal(self) -> None:
        """Remove what was deleted from the journal beside an SQLite file, too.

        That is not possible while an export reads; `delete_old_photos` tries again.
        """
        if self._sqlite:
            with (
                _feedback_errors(self.where),
                self._write_lock,
                self._engine.connect() as connection,
            ):
                raw = connection.connection.driver_connection
                assert raw is not None  # noqa: S101  # for the type checker
                (timeout_ms,) = raw.execute("PRAGMA busy_timeout").fetchone()
                raw.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_MS}")
                try:
                    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                finally:
                    raw.execute(f"PRAGMA busy_timeout = {timeout_ms}")


@contextlib.contextmanager
def _feedback_errors(where: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:  # the latter from `_empty_journal`
        raise FeedbackError(f"{where} cannot be used ({reason_of(error)}).") from error


def reason_of(error: Exception) -> str:
    """Return the first line of a database's error, without the statement and its values."""
    cause: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        cause = error.orig
    return (str(cause).strip() or type(cause).__name__).splitlines()[0].rstrip(".")


def _prepare(connection: Connection) -> bytes:
    """Create missing tables, make sure that they can be written, and return the key."""
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
            f"This feedback store has schema {found['schema_version']}, from a newer shopwindow; "
            f"this one knows {SCHEMA_VERSION}. Update shopwindow, or choose another store."
        )
    # Changes nothing, but fails if nothing can be written.
    connection.execute(
        update(about).where(about.c.name == "schema_version").values(value=about.c.value)
    )
    return bytes.fromhex(found["key"])


def _to_review(photo_sha256: str) -> Select[Any]:
    """Select the ids of feedback with a photo of this picture that is not reviewed yet."""
    of_it = (rows.c.photo_sha256 == photo_sha256) & (rows.c.status == "pending")
    return select(rows.c.id).select_from(rows.join(photos)).where(of_it)


def _in_queue() -> Select[Any]:
    """Select what waits for a reviewer, in the order of `FeedbackStore.queue`."""
    corrects = rows.c.given.is_distinct_from(rows.c.predicted)
    return (
        _selected(with_photo=True)
        .where(rows.c.status == "pending")
        .order_by(
            case((corrects, 0), else_=1),
            case((corrects, -rows.c.margin), else_=rows.c.margin),
            rows.c.created_at,
            rows.c.id,
        )
    )


def _counted(model_sha256: str) -> Any:
    return (embeddings.c.model_sha256 == model_sha256) & (rows.c.status != "discarded")


def _vectors(
    connection: Connection, model_sha256: str, wanted: Any, most: int = _CONSIDERED
) -> dict[str, NDArray[np.float32]]:
    """Return embeddings by a model, (D,) of unit length, by the ids of feedback, latest first."""
    query = (
        select(rows.c.id, embeddings.c.content)
        .select_from(rows.join(photos).join(embeddings))
        .where(wanted & (embeddings.c.model_sha256 == model_sha256))
        .order_by(rows.c.created_at.desc(), rows.c.id)
        .limit(most)
    )
    return {
        row.id: np.frombuffer(row.content, "<f2").astype(np.float32)
        for row in connection.execute(query)
    }


def _selected(*, with_photo: bool = False) -> Select[Any]:
    has_photo = photos.c.feedback_id.is_not(None).label("has_photo")
    return select(rows, has_photo).select_from(rows.join(photos, isouter=not with_photo))


def _as_values(feedback: Feedback) -> dict[str, Any]:
    """Return the columns of a row; all but these have the names of the attributes."""
    names = {field.name for field in fields(feedback)} - {"column", "has_photo"}
    values: dict[str, Any] = {name: getattr(feedback, name) for name in names}
    values["label_column"] = feedback.column
    values["top"] = [score.as_json() for score in feedback.top]
    return values


def _as_feedback(row: Row[Any]) -> Feedback:
    values = dict(row._mapping)
    values["column"] = values.pop("label_column")
    values["top"] = tuple(LabelScore(**score) for score in values["top"])
    values["has_photo"] = bool(values["has_photo"])
    return Feedback(**values)
