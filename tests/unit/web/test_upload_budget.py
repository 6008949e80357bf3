"""Uploads take turns where all together would hold too much memory."""

from __future__ import annotations

import logging

import pytest

from shopwindow.web.upload_budget import FIRST_S, LARGE_BYTES, UploadBudget

BIG = 10 * LARGE_BYTES


class Connection:
    """As much of a connection as `UploadBudget` looks at."""

    will_close = False


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def bodies(now: list[float]) -> UploadBudget:
    return UploadBudget(3 * BIG, clock=lambda: now[0])


def arriving(bodies: UploadBudget, count: int, size: int = BIG) -> list[Connection]:
    """Return connections whose bodies are on their way in, in the order in which they began."""
    connections = [Connection() for _ in range(count)]
    for one in connections:
        bodies.count(one, arriving_bytes=size, whole_bytes=0)
    return connections


def growing(bodies: UploadBudget, connections: list[Connection]) -> list[bool]:
    return [bodies.may_grow(one) for one in connections]


def test_bodies_that_fit_all_arrive_at_once(bodies: UploadBudget) -> None:
    assert growing(bodies, arriving(bodies, 3)) == [True] * 3


def test_of_too_many_the_one_that_began_first_goes_first(bodies: UploadBudget) -> None:
    first, *others = arriving(bodies, 4)
    assert growing(bodies, [first, *others]) == [True, False, False, False]
    bodies.count(first, arriving_bytes=0, whole_bytes=0)  # answered
    assert growing(bodies, others) == [True] * 3


def test_small_bodies_always_arrive(bodies: UploadBudget) -> None:
    arriving(bodies, 4)
    (small,) = arriving(bodies, 1, LARGE_BYTES - 1)
    assert bodies.may_grow(small)
    assert bodies.held_bytes == 4 * BIG


def test_the_first_is_cut_where_it_keeps_all_others_waiting(
    bodies: UploadBudget, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    slow, second, *others = arriving(bodies, 5)
    assert growing(bodies, [slow, second]) == [True, False]
    now[0] += FIRST_S - 1
    assert growing(bodies, [slow, second]) == [True, False]
    now[0] += 2
    with caplog.at_level(logging.WARNING):
        assert growing(bodies, [second, *others]) == [True, False, False, False]
    assert (slow.will_close, second.will_close) == (True, False)
    assert "is cut" in caplog.text
    assert bodies.held_bytes == 4 * BIG
    now[0] += FIRST_S - 1  # its own time has only begun
    assert bodies.may_grow(second)
    assert not second.will_close


def test_nobody_is_cut_while_it_is_the_server_that_is_slow(
    bodies: UploadBudget, now: list[float]
) -> None:
    waiting = Connection()
    bodies.count(waiting, arriving_bytes=0, whole_bytes=2 * BIG)
    connections = arriving(bodies, 2)
    assert growing(bodies, connections) == [False, False]
    now[0] += 10 * FIRST_S
    assert growing(bodies, connections) == [False, False]
    assert not any(one.will_close for one in connections)
    bodies.count(waiting, arriving_bytes=0, whole_bytes=0)
    assert growing(bodies, connections) == [True, True]


def test_time_of_the_first_begins_anew_with_each_crowd(
    bodies: UploadBudget, now: list[float]
) -> None:
    again, *others = arriving(bodies, 4)
    assert bodies.may_grow(again)
    for one in (again, *others):
        bodies.count(one, arriving_bytes=0, whole_bytes=0)  # all are answered
    now[0] += 10 * FIRST_S
    # The same connection sends its next picture, and is first in the next crowd too.
    bodies.count(again, arriving_bytes=BIG, whole_bytes=0)
    crowd = arriving(bodies, 3)
    assert bodies.may_grow(again)
    assert not again.will_close
    now[0] += FIRST_S - 1
    assert bodies.may_grow(again)
    # The crowd has gone for a while, and comes back.
    bodies.count(crowd[0], arriving_bytes=0, whole_bytes=0)
    now[0] += 10 * FIRST_S
    bodies.count(crowd[0], arriving_bytes=BIG, whole_bytes=0)
    assert bodies.may_grow(again)
    assert not again.will_close
