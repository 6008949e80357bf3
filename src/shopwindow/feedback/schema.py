"""The tables of a feedback store, the same in SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

SCHEMA_VERSION = 1

metadata = MetaData()


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC: neither database keeps a time zone by itself."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time as it is stored."""
        return value if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return a stored time with its zone."""
        return value if value is None else value.replace(tzinfo=UTC)


# `schema_version`; the `key` that signs receipts if the settings have none; and once somebody has
# logged out, `review_sessions`, the mark of the sessions since then.
about = Table(
    "shopwindow",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("created_at", UtcTime, nullable=False),
    Column("model_name", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("model_sha256", String(64), nullable=False),
    Column("photo_sha256", String(64), nullable=False),
    Column("label_column", Text, nullable=False),
    Column("predicted", Text, nullable=False),
    Column("confidence", Float(53), nullable=False),
    Column("sure", Boolean, nullable=False),
    Column("margin", Float(53), nullable=False),
    Column("top", JSON, nullable=False),
    Column("given", Text),
    Column("status", String(10), nullable=False),
    Column("reviewed", Text),
    Column("reviewed_at", UtcTime),
)
Index("feedback_by_time", feedback.c.created_at)
Index("feedback_by_status", feedback.c.status)

# A table of its own, so that queries over thousands of rows do not read photos.
photo = Table(
    "photo",
    metadata,
    Column(
        "feedback_id", String(32), ForeignKey(feedback.c.id, ondelete="CASCADE"), primary_key=True
    ),
    Column("media_type", String(40), nullable=False),
    Column("kept_until", UtcTime),  # as promised to its sender; null: as long as the feedback
    Column("content", LargeBinary, nullable=False),
)

# A table of its own, which earlier stores get when they are opened; it is deleted with the photo,
# also by an earlier version that does not know of it.
embedding = Table(
    "embedding",
    metadata,
    Column(
        "feedback_id",
        String(32),
        ForeignKey(photo.c.feedback_id, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("model_sha256", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),  # float16, little-endian
)
