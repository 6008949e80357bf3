"""Work that comes back: how soon, how often, and when no more."""

from __future__ import annotations

import threading

import pytest

from shopwindow.periodic import Periodic


def test_work_is_done_again_and_again_until_it_is_stopped() -> None:
    thrice = threading.Event()
    done: list[int] = []

    def work() -> None:
        done.append(1)
        if len(done) == 3:
            thrice.set()

    repeating = Periodic(work, every_s=0.001, name="repeated")
    repeating.start()
    assert thrice.wait(timeout=60)
    repeating.stop()
    count = len(done)
    assert "repeated" not in {thread.name for thread in threading.enumerate()}
    assert len(done) == count


@pytest.mark.parametrize(("at_once", "times"), [(True, 1), (False, 0)])
def test_work_begins_at_the_start_only_where_it_is_to(at_once: bool, times: int) -> None:
    done: list[int] = []
    repeating = Periodic(lambda: done.append(1), every_s=3600, name="repeated", at_once=at_once)
    repeating.start()
    repeating.stop()  # waits for work under way, but not for an hour
    assert len(done) == times


def test_what_never_started_can_be_stopped() -> None:
    Periodic(lambda: None, every_s=1, name="repeated").stop()
