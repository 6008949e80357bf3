"""The ranking of labels: what is wrong comes first, and what is right is no suspect."""

from __future__ import annotations

import numpy as np
import pytest

from shopwindow.audit.ranking import rank_labels, votes_of_neighbours


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
    ranking = rank_labels(probs, np.eye(4, dtype=bool)[given])
    assert set(ranking.suspects.tolist()) == set(flipped.tolist())
    assert (ranking.suggested[flipped] == true[flipped]).all()


def test_the_less_probable_of_two_wrong_labels_comes_first() -> None:
    probs = np.array([[0.15, 0.85], [0.1, 0.9], [0.6, 0.4], [0.4, 0.6]])
    ranking = rank_labels(probs, _allowed([0, 0, 0, 1], 2))
    assert ranking.suspects.tolist() == [1, 0]
    assert ranking.suggested[[0, 1]].tolist() == [1, 1]


def test_any_of_several_allowed_labels_counts_as_the_one_given() -> None:
    probs = np.array([[0.45, 0.45, 0.1], [0.2, 0.2, 0.6], [0.1, 0.1, 0.8]])
    allowed = np.array([[True, True, False], [True, True, False], [False, False, True]])
    ranking = rank_labels(probs, allowed)
    assert ranking.scores[0] > 0 > ranking.scores[1]
    assert ranking.suggested[1] == 2


def test_an_image_without_a_label_is_not_judged() -> None:
    ranking = rank_labels(np.array([[0.1, 0.9], [0.2, 0.8]]), np.array([[False] * 2, [True] * 2]))
    assert not len(ranking.suspects)
    assert np.isinf(ranking.scores).all()


def test_nearer_neighbours_count_for_more_and_a_copy_for_nothing() -> None:
    neighbours = np.array([[1, 2, 3]] * 4)
    cosines = np.array([[1.0, 0.9, 0.8]] * 4, np.float32)
    allowed = _allowed([0, 0, 1, 2], 3)
    votes = votes_of_neighbours(neighbours, cosines, allowed, np.array([0, 0, 1, 2]))
    np.testing.assert_allclose(votes.sum(axis=1), 1)
    assert votes[0].argmax() == 1
    assert votes[0, 2] == pytest.approx(votes[0, 1] * np.exp(-2), rel=0.02)
    assert 0 < votes[0, 0] < 0.01


def test_a_neighbour_with_several_labels_divides_its_vote() -> None:
    allowed = np.array([[True, True, False], [True, True, False]])
    votes = votes_of_neighbours(
        np.array([[1], [0]]), np.ones((2, 1), np.float32), allowed, np.arange(2)
    )
    assert votes[0, 0] == votes[0, 1] == pytest.approx(0.5, abs=0.01)


def test_an_image_that_only_has_copies_gets_equal_votes() -> None:
    votes = votes_of_neighbours(
        np.array([[1], [0]]), np.ones((2, 1), np.float32), _allowed([0, 0], 2), np.zeros(2, int)
    )
    np.testing.assert_allclose(votes, 0.5)
