"""Folds: no duplicate on two sides, every label in each, and the same ones every time."""

from __future__ import annotations

import numpy as np
import pytest

from shopwindow.probe.cross_validation import assign_folds


def test_images_of_one_group_stay_in_one_fold() -> None:
    rng = np.random.default_rng(1)
    codes, groups = rng.integers(0, 3, 200), rng.integers(0, 60, 200)
    folds = assign_folds(codes, groups, 5, seed=3)
    for group in np.unique(groups):
        assert len(np.unique(folds[groups == group])) == 1


@pytest.mark.parametrize("seed", range(5))
def test_each_label_is_spread_as_evenly_as_it_goes(seed: int) -> None:
    codes = np.repeat([0, 1, 2, 3], [50, 13, 5, 2])
    folds = assign_folds(codes, np.arange(70), 5, seed=seed)
    for code in range(4):
        counts = np.bincount(folds[codes == code], minlength=5)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(folds, minlength=5)
    assert sizes.max() - sizes.min() <= 2


def test_two_images_of_a_label_are_in_two_folds() -> None:
    codes = np.array([0, 0, 1, 1])
    folds = assign_folds(codes, np.arange(4), 5, seed=0)
    assert folds[0] != folds[1]
    assert folds[2] != folds[3]


def test_large_groups_leave_no_fold_empty() -> None:
    codes, groups = np.repeat([0, 1], 20), np.repeat(np.arange(10), 4)
    folds = assign_folds(codes, groups, 5, seed=0)
    assert np.bincount(folds, minlength=5).tolist() == [8] * 5


def test_folds_are_those_of_the_seed() -> None:
    codes, groups = np.zeros(50, np.int64), np.arange(50)
    first = assign_folds(codes, groups, 5, seed=1)
    np.testing.assert_array_equal(first, assign_folds(codes, groups, 5, seed=1))
    assert (first != assign_folds(codes, groups, 5, seed=2)).any()
