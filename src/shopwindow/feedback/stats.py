"""Statistics of all feedback: how much there is, how often the model was right, and how sure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import Connection, case, func, select

from shopwindow.feedback.feedback import STATUSES
from shopwindow.feedback.schema import feedback as rows
from shopwindow.feedback.schema import photo as photos


@dataclass(frozen=True, slots=True)
class Count:
    """Some feedback, counted.

    Attributes:
        name: What it has in common: a week (its first day), a label or a model.
        count: How many, at least 1.
        right: In how many the model was right, 0 to `count`.
        sure: In how many the model was sure, 0 to `count`.
        confidence: The mean confidence of the model, 0 to 1.
    """

    name: str
    count: int
    right: int
    sure: int
    confidence: float

    def __add__(self, other: Count) -> Count:
        count = self.count + other.count
        confidence = self.confidence * self.count + other.confidence * other.count
        return Count(
            self.name, count, self.right + other.right, self.sure + other.sure, confidence / count
        )


@dataclass(frozen=True, slots=True)
class ConfusionCount:
    """How often the model said one label instead of another; None for "none of these"."""

    predicted: str
    label: str | None
    count: int


@dataclass(frozen=True, slots=True)
class FeedbackStats:
    """Statistics of all feedback; discarded feedback counts in `statuses` only.

    The right label is the reviewer's if there is one, otherwise the visitor's.

    Attributes:
        total: All feedback; None if there is none.
        weeks: By week, Monday to Sunday in UTC, the latest first.
        labels: By the label that the model gave, the most frequent first.
        models: By name and version of the model, the most recently used first.
        confusions: The most frequent first.
        statuses: How many feedbacks have which status.
        photos: How many photos are kept.
    """

    total: Count | None
    weeks: tuple[Count, ...]
    labels: tuple[Count, ...]
    models: tuple[Count, ...]
    confusions: tuple[ConfusionCount, ...]
    statuses: dict[str, int]
    photos: int


def read_stats(connection: Connection, *, max_rows: int = 50) -> FeedbackStats:
    """Count the feedback of a store.

    Args:
        connection: To the store.
        max_rows: The most rows of each list.
    """
    label = case((rows.c.status.in_(("accepted", "changed")), rows.c.reviewed), else_=rows.c.given)
    right = case((label.is_not_distinct_from(rows.c.predicted), 1), else_=0)
    aggregates = (
        func.count(),
        func.sum(right),
        func.sum(case((rows.c.sure, 1), else_=0)),
        func.avg(rows.c.confidence),
    )
    valid = rows.c.status != "discarded"

    def counts(*names: Any, order: Any) -> list[Count]:
        query = select(*names, *aggregates).where(valid).group_by(*names).order_by(order)
        return [
            Count(" ".join(map(str, found)), count, right_, sure, confidence)
            for *found, count, right_, sure, confidence in connection.execute(query)
        ]

    day = func.date(rows.c.created_at)
    weeks = _by_week(counts(day, order=day.desc()))
    taken_for = select(rows.c.predicted, label, func.count()).where(valid, right == 0)
    confusions = connection.execute(
        taken_for.group_by(rows.c.predicted, label).order_by(func.count().desc()).limit(max_rows)
    )
    statuses = select(rows.c.status, func.count()).group_by(rows.c.status)
    found_statuses = {row[0]: row[1] for row in connection.execute(statuses)}
    return FeedbackStats(
        total=replace(reduce(add, weeks), name="") if weeks else None,
        weeks=tuple(weeks[:max_rows]),
        labels=tuple(counts(rows.c.predicted, order=func.count().desc())[:max_rows]),
        models=tuple(
            counts(
                rows.c.model_name, rows.c.model_version, order=func.max(rows.c.created_at).desc()
            )[:max_rows]
        ),
        confusions=tuple(ConfusionCount(*row) for row in confusions),
        statuses={status: found_statuses.get(status, 0) for status in STATUSES},
        photos=connection.scalar(select(func.count()).select_from(photos)) or 0,
    )


def _by_week(days: Iterable[Count]) -> list[Count]:
    weeks: dict[str, Count] = {}
    for count in days:
        day = date.fromisoformat(count.name)
        monday = (day - timedelta(days=day.weekday())).isoformat()
        renamed = replace(count, name=monday)
        weeks[monday] = weeks[monday] + renamed if monday in weeks else renamed
    return list(weeks.values())
