"""The ranking of labels: what is wrong comes first, and what is merely hard is no suspect."""

from __future__ import annotations

import numpy as np
import pytest

from shopwindow.audit.ranking import rank_labels


def _allowed(codes: list[int], classes: int) -> np.ndarray:
    return np.eye(classes, dtype=bool)[codes]


@pytest.mark.parametrize("seed", range(3))
def test_flipped_labels_come_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 4, 400)
    flipped = rng.choice(400, 20, replace=False)
    given = true.copy()
    given[flipped] = (given[flipped] + 1) % 4
    probs = np.full((400, 4), 0.05)
    probs[np.arange(400), true] = rng.uniform(0.5, 0.9, 400)
    probs /= probs.sum(axis=1, keepdims=True)
    ranking = rank_labels(probs, np.eye(4, dtype=bool)[given])
    assert set(np.argsort(ranking.scores)[:20].tolist()) == set(flipped.tolist())
    assert set(ranking.order.tolist()) <= set(flipped.tolist())
    assert (ranking.suggested[flipped] == true[flipped]).all()


def test_the_less_probable_of_two_wrong_labels_comes_first() -> None:
    probs = np.array([[0.15, 0.85], [0.1, 0.9], [0.6, 0.4], [0.4, 0.6]])
    ranking = rank_labels(probs, _allowed([0, 0, 0, 1], 2))
    assert ranking.order.tolist() == [1, 0]
    assert ranking.suggested[[0, 1]].tolist() == [1, 1]


def test_a_label_that_is_merely_less_probable_is_no_suspect() -> None:
    probs = np.array([[0.45, 0.55], [0.1, 0.9], [0.1, 0.9]])
    assert not rank_labels(probs, _allowed([0, 1, 1], 2)).suspects.any()


def test_any_of_several_allowed_labels_counts_as_the_one_given() -> None:
    probs = np.array([[0.45, 0.45, 0.1], [0.2, 0.2, 0.6], [0.1, 0.1, 0.8]])
    allowed = np.array([[True, True, False], [True, True, False], [False, False, True]])
    ranking = rank_labels(probs, allowed)
    assert ranking.scores[0] > 0 > ranking.scores[1]
    assert ranking.suggested[1] == 2


def test_an_image_without_a_label_is_not_judged() -> None:
    ranking = rank_labels(np.array([[0.1, 0.9], [0.2, 0.8]]), np.array([[False] * 2, [True] * 2]))
    assert not ranking.suspects.any()
    assert np.isinf(ranking.scores).all()
