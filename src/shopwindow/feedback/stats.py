"""What all feedback together says about a model: how much, how often right, how sure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, case, func, select

from shopwindow.feedback.feedback import STATUSES
from shopwindow.feedback.schema import feedback as rows
from shopwindow.feedback.schema import photo as photos


@dataclass(frozen=True, slots=True)
class Count:
    """Some feedback, counted.

    Attributes:
        name: What it has in common: a week by its first day, a label, a model.
        count: How much there is, at least 1.
        right: How much of it says that the model was right, 0 to `count`.
        sure: About how much of it the model was sure, 0 to `count`.
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
    """How often the model said one label where it was another; None for "none of these"."""

    predicted: str
    label: str | None
    count: int


@dataclass(frozen=True, slots=True)
class FeedbackStats:
    """All that can be counted; discarded feedback counts in `statuses` only.

    A label is the reviewer's where there is one, else the visitor's.

    Attributes:
        total: Everything; None where there is nothing.
        weeks: By week, Monday to Sunday in UTC, the latest first.
        labels: By the label that the model gave, the most frequent first.
        models: By name and version of the model, the most recently used first.
        mix_ups: The most frequent first.
        statuses: How much feedback has which status.
        photos: How many photos are kept.
    """

    total: Count | None
    weeks: tuple[Count, ...]
    labels: tuple[Count, ...]
    models: tuple[Count, ...]
    mix_ups: tuple[ConfusionCount, ...]
    statuses: dict[str, int]
    photos: int


def read_stats(connection: Connection, *, most: int = 50) -> FeedbackStats:
    """Count the feedback of a store.

    Args:
        connection: To the store.
        most: Rows of each list at most.
    """
    label = case((rows.c.status.in_(("accepted", "changed")), rows.c.reviewed), else_=rows.c.given)
    right = case((label.is_not_distinct_from(rows.c.predicted), 1), else_=0)
    tally = (
        func.count(),
        func.sum(right),
        func.sum(case((rows.c.sure, 1), else_=0)),
        func.avg(rows.c.confidence),
    )
    counts = rows.c.status != "discarded"

    def tallies(*names: Any, order: Any) -> list[Count]:
        query = select(*names, *tally).where(counts).group_by(*names).order_by(order)
        return [
            Count(" ".join(map(str, found)), count, right_, sure, confidence)
            for *found, count, right_, sure, confidence in connection.execute(query)
        ]

    day = func.date(rows.c.created_at)
    weeks = _by_week(tallies(day, order=day.desc()))
    taken_for = select(rows.c.predicted, label, func.count()).where(counts, right == 0)
    mix_ups = connection.execute(
        taken_for.group_by(rows.c.predicted, label).order_by(func.count().desc()).limit(most)
    )
    statuses = select(rows.c.status, func.count()).group_by(rows.c.status)
    found_statuses = {row[0]: row[1] for row in connection.execute(statuses)}
    return FeedbackStats(
        total=_sum("", weeks),
        weeks=tuple(weeks[:most]),
        labels=tuple(tallies(rows.c.predicted, order=func.count().desc())[:most]),
        models=tuple(
            tallies(
                rows.c.model_name, rows.c.model_version, order=func.max(rows.c.created_at).desc()
            )[:most]
        ),
        mix_ups=tuple(ConfusionCount(*row) for row in mix_ups),
        statuses={status: found_statuses.get(status, 0) for status in STATUSES},
        photos=connection.scalar(select(func.count()).select_from(photos)) or 0,
    )


def _by_week(days: Iterable[Count]) -> list[Count]:
    weeks: dict[str, Count] = {}
    for one in days:
        day = date.fromisoformat(one.name)
        monday = (day - timedelta(days=day.weekday())).isoformat()
        renamed = Count(monday, one.count, one.right, one.sure, one.confidence)
        weeks[monday] = weeks[monday] + renamed if monday in weeks else renamed
    return list(weeks.values())


def _sum(name: str, parts: Iterable[Count]) -> Count | None:
    total = None
    for one in parts:
        renamed = Count(name, one.count, one.right, one.sure, one.confidence)
        total = renamed if total is None else total + renamed
    return total
