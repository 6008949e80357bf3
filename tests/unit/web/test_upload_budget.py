"""Uploads take turns where all together would hold too much memory."""

from __future__ import annotations

import logging

import pytest

from shopwindow.web.server.upload_budget import LARGE_BYTES, TURN_S, UploadBudget

BIG = 10 * LARGE_BYTES


class Connection:
    """As much of a connection as `UploadBudget` looks at."""

    will_close = False


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def budget(now: list[float]) -> UploadBudget:
    return UploadBudget(3 * BIG, clock=lambda: now[0])


def arriving(budget: UploadBudget, count: int, size: int = BIG) -> list[Connection]:
    """Return connections whose bodies are on their way in, in the order in which they began."""
    connections = [Connection() for _ in range(count)]
    for connection in connections:
        budget.count(connection, arriving_bytes=size, complete_bytes=0)
    return connections


def growing(budget: UploadBudget, connections: list[Connection]) -> list[bool]:
    return [budget.may_grow(connection) for connection in connections]


def test_bodies_that_fit_all_arrive_at_once(budget: UploadBudget) -> None:
    assert growing(budget, arriving(budget, 3)) == [True] * 3


def test_upload_that_began_first_goes_first(budget: UploadBudget) -> None:
    first, *others = arriving(budget, 4)
    assert growing(budget, [first, *others]) == [True, False, False, False]
    budget.count(first, arriving_bytes=0, complete_bytes=0)  # answered
    assert growing(budget, others) == [True] * 3


def test_small_bodies_always_arrive(budget: UploadBudget) -> None:
    arriving(budget, 4)
    (small,) = arriving(budget, 1, LARGE_BYTES - 1)
    assert budget.may_grow(small)
    assert budget.held_bytes == 4 * BIG


def test_first_upload_is_cut_off_when_it_keeps_the_others_waiting(
    budget: UploadBudget, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    slow, second, *others = arriving(budget, 5)
    assert growing(budget, [slow, second]) == [True, False]
    now[0] += TURN_S - 1
    assert growing(budget, [slow, second]) == [True, False]
    now[0] += 2
    with caplog.at_level(logging.WARNING):
        assert growing(budget, [second, *others]) == [True, False, False, False]
    assert (slow.will_close, second.will_close) == (True, False)
    assert "was cut off" in caplog.text
    assert budget.held_bytes == 4 * BIG
    now[0] += TURN_S - 1  # its own time has only begun
    assert budget.may_grow(second)
    assert not second.will_close


def test_nobody_is_cut_off_while_the_server_is_slow(budget: UploadBudget, now: list[float]) -> None:
    waiting = Connection()
    budget.count(waiting, arriving_bytes=0, complete_bytes=2 * BIG)
    connections = arriving(budget, 2)
    assert growing(budget, connections) == [False, False]
    now[0] += 10 * TURN_S
    assert growing(budget, connections) == [False, False]
    assert not any(one.will_close for one in connections)
    budget.count(waiting, arriving_bytes=0, complete_bytes=0)
    assert growing(budget, connections) == [True, True]


def test_first_upload_has_all_its_time_in_each_crowd(
    budget: UploadBudget, now: list[float]
) -> None:
    again, *others = arriving(budget, 4)
    assert budget.may_grow(again)
    for one in (again, *others):
        budget.count(one, arriving_bytes=0, complete_bytes=0)  # all are answered
    now[0] += 10 * TURN_S
    # The same connection sends its next picture, and is first in the next crowd too.
    budget.count(again, arriving_bytes=BIG, complete_bytes=0)
    crowd = arriving(budget, 3)
    assert budget.may_grow(again)
    assert not again.will_close
    now[0] += TURN_S - 1
    assert budget.may_grow(again)
    # The crowd has gone for a while, and comes back.
    budget.count(crowd[0], arriving_bytes=0, complete_bytes=0)
    now[0] += 10 * TURN_S
    budget.count(crowd[0], arriving_bytes=BIG, complete_bytes=0)
    assert budget.may_grow(again)
    assert not again.will_close
