"""What to label next is doubtful, and unlike what was labelled or chosen before."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from shopwindow.feedback.review_order import greedy_order

NONE = np.empty((0, 8), np.float32)


def around(axis: int, count: int, seed: int) -> NDArray[np.float32]:
    """Return (count, 8) of unit length, all near one axis."""
    near = 0.01 * np.random.default_rng(seed).normal(size=(count, 8))
    near[:, axis] += 1
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


def test_ten_photos_alike_never_come_first_together() -> None:
    embeddings = np.concatenate([around(0, 10, 0), *(around(axis, 1, axis) for axis in (1, 2, 3))])
    doubts = np.array([0.9] * 10 + [0.3] * 3)
    first = greedy_order(doubts, embeddings, NONE, 4)
    assert sum(index < 10 for index in first) == 1
    assert set(first[1:]) == {10, 11, 12}


def test_what_is_like_a_labelled_photo_comes_last() -> None:
    embeddings = np.concatenate([around(0, 1, 0), around(1, 1, 1)])
    doubts = np.array([0.9, 0.3])
    assert greedy_order(doubts, embeddings, NONE, 2) == [0, 1]
    assert greedy_order(doubts, embeddings, around(0, 3, 2), 2) == [1, 0]


def test_of_photos_equally_far_apart_the_more_doubtful_comes_first() -> None:
    doubts = np.array([0.2, 0.9, 0.5])
    assert greedy_order(doubts, np.eye(3, 8, dtype=np.float32), NONE, 9) == [1, 2, 0]


def test_photos_without_embedding_are_among_the_others_and_each_comes_once() -> None:
    embeddings = np.concatenate([around(0, 5, 0), np.zeros((3, 8), np.float32)])
    doubts = np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.6, 0.45, 0.0])
    order = greedy_order(doubts, embeddings, NONE, 8)
    assert sorted(order) == list(range(8))
    assert order[0] == 5
    assert greedy_order(doubts[5:], embeddings[5:], NONE, 3) == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 1])
def test_no_more_are_chosen_than_asked_for(count: int) -> None:
    assert len(greedy_order(np.ones(3), np.eye(3, 8), NONE, count)) == count
