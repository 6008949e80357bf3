"""Feedback is counted as reviewers judged it, the same way by both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from shopwindow.feedback.feedback import Feedback, Photo
from shopwindow.feedback.store import FeedbackStore

Make = Callable[..., Feedback]
SUNDAY = datetime(2026, 11, 22, 23, 59, 59, tzinfo=UTC)
MONDAY = datetime(2026, 11, 23, 0, 0, 1, tzinfo=UTC)
LATER = datetime(2026, 11, 25, tzinfo=UTC)


def test_reviewers_count_before_visitors(store: FeedbackStore, make_feedback: Make) -> None:
    right = make_feedback(created_at=SUNDAY, confidence=0.9, sure=True)
    wrong = make_feedback(created_at=SUNDAY, confidence=0.5)  # but the reviewer says blue
    right_after_all = make_feedback(created_at=MONDAY, given="blue")
    discarded = make_feedback(created_at=MONDAY, given="green")
    outlier = make_feedback(created_at=LATER, given=None, predicted="white", model_version="2.0")
    for one in (right, wrong, right_after_all, discarded):
        store.add(one, Photo(b"a photo"))
    store.add(outlier)
    store.review(wrong.id, "changed", "blue")
    store.review(right_after_all.id, "changed", "red")
    store.review(discarded.id, "discarded", None)
    figures = store.stats()
    assert [(one.name, one.count, one.right, one.sure) for one in figures.weeks] == [
        ("2026-11-23", 2, 1, 0),
        ("2026-11-16", 2, 1, 1),
    ]
    assert figures.weeks[1].confidence == pytest.approx(0.7)
    assert [(one.name, one.count, one.right) for one in figures.labels] == [
        ("red", 3, 2),
        ("white", 1, 0),
    ]
    assert [(one.name, one.count) for one in figures.models] == [
        ("colours 2.0", 1),
        ("colours 1.0", 3),
    ]
    assert {(one.predicted, one.label, one.count) for one in figures.confusions} == {
        ("red", "blue", 1),
        ("white", None, 1),
    }
    assert figures.statuses == {"pending": 2, "accepted": 0, "changed": 2, "discarded": 1}
    assert figures.photos == 4
    assert figures.total is not None
    assert (figures.total.count, figures.total.right) == (4, 2)


def test_empty_store_has_empty_statistics(store: FeedbackStore) -> None:
    figures = store.stats()
    assert figures.total is None
    assert (figures.weeks, figures.labels, figures.models, figures.confusions) == ((), (), (), ())
    assert figures.photos == 0
