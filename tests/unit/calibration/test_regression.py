"""The head of least loss: scikit-learn's where it has one, and what it has none for."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from shopwindow.calibration.regression import LinearHead, fit_head

LABELS = 4


def blobs(count: int, *, seed: int, distance: float = 1.0) -> tuple[NDArray[np.float32], ...]:
    """(N, 12) features, (N,) codes: a cloud for each label, far from 0 and wide."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, LABELS, count)
    centres = np.random.default_rng(0).normal(scale=distance, size=(LABELS, 12))
    points = centres[codes] + rng.normal(size=(count, 12))
    return (5 + 3 * points).astype(np.float32), codes


def hot(codes: NDArray[np.integer], labels: int = LABELS) -> NDArray[np.bool_]:
    return np.eye(labels, dtype=np.bool_)[codes]


def shares(head: LinearHead, features: NDArray[np.float32]) -> NDArray[np.floating]:
    logits = head(features).astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def in_unit_variance(features: NDArray[np.float32]) -> NDArray[np.float32]:
    return (features - features.mean(axis=0)) / np.sqrt(features.var(axis=0).mean())


@pytest.mark.parametrize("penalty", [1.0, 0.03, 1e-3])
def test_probabilities_are_those_of_scikit_learn(penalty: float) -> None:
    features, codes = blobs(300, seed=1)
    head = fit_head(features, hot(codes), penalty=penalty)
    theirs = LogisticRegression(C=1 / (penalty * len(features)), max_iter=5000, tol=1e-8)
    inputs = in_unit_variance(features)
    theirs.fit(inputs, codes)
    np.testing.assert_allclose(shares(head, features), theirs.predict_proba(inputs), atol=0.01)


def test_weights_count_as_in_scikit_learn() -> None:
    features, codes = blobs(300, seed=2)
    weights = np.where(codes == 0, 5.0, 0.5)
    head = fit_head(features, hot(codes), penalty=0.03, weights=weights)
    inputs = in_unit_variance(features)
    theirs = LogisticRegression(C=1 / 0.03, max_iter=5000, tol=1e-8)
    theirs.fit(inputs, codes, sample_weight=weights / weights.sum())
    np.testing.assert_allclose(shares(head, features), theirs.predict_proba(inputs), atol=0.01)
    alike = fit_head(features, hot(codes), penalty=0.03)
    assert shares(head, features)[:, 0].mean() > shares(alike, features)[:, 0].mean() + 0.05


def test_image_that_weighs_nothing_is_not_learned_from() -> None:
    features, codes = blobs(200, seed=3)
    spoilt = codes.copy()
    spoilt[100:] = (codes[100:] + 1) % LABELS
    # The mean and the variance are those of all rows: these stay as they are.
    weights = np.repeat([1.0, 0.0], 100)
    right = fit_head(features, hot(codes), penalty=0.1, weights=weights)
    same = fit_head(features, hot(spoilt), penalty=0.1, weights=weights)
    np.testing.assert_array_equal(right.weights, same.weights)


def test_scale_and_place_of_the_features_change_no_answer() -> None:
    features, codes = blobs(200, seed=4)
    head = fit_head(features, hot(codes), penalty=0.01)
    moved = fit_head(features * 100 - 7, hot(codes), penalty=0.01)
    np.testing.assert_allclose(shares(head, features), shares(moved, features * 100 - 7), atol=0.01)


def test_set_of_labels_says_that_none_of_the_others_is_right() -> None:
    """A third of the images say only that theirs is one of two labels; the clouds tell which."""
    features, codes = blobs(400, seed=5, distance=1.5)
    allowed = hot(codes)
    coarse = np.arange(400) % 3 == 0
    pair = hot(codes) | hot(codes ^ 1)  # 0 or 1, 2 or 3
    allowed[coarse] = pair[coarse]
    head = fit_head(features, allowed, penalty=0.01)
    fine = fit_head(features, hot(codes), penalty=0.01)
    new, truth = blobs(1000, seed=6, distance=1.5)
    accuracy = [(one(new).argmax(axis=1) == truth).mean() for one in (head, fine)]
    assert accuracy[0] > accuracy[1] - 0.02


def test_set_of_labels_alone_leaves_them_alike() -> None:
    features, codes = blobs(300, seed=7, distance=2)
    head = fit_head(features, hot(codes) | hot(codes ^ 1), penalty=0.01)
    found = shares(head, features)
    np.testing.assert_allclose(found[:, 0], found[:, 1], atol=0.01)
    pairs = np.stack([found[:, :2].sum(axis=1), found[:, 2:].sum(axis=1)], axis=1)
    assert (pairs.argmax(axis=1) == codes // 2).mean() > 0.95


def test_image_of_none_of_the_labels_is_answered_evenly() -> None:
    features, codes = blobs(300, seed=8, distance=2)
    strange = np.full((60, 12), 40, np.float32) + np.random.default_rng(8).normal(size=(60, 12))
    together = np.concatenate([features, strange]).astype(np.float32)
    nothing = np.zeros((60, LABELS), np.bool_)
    head = fit_head(together, np.concatenate([hot(codes), nothing]), penalty=1e-3)
    found = shares(head, together[300:])
    np.testing.assert_allclose(found.mean(axis=0), 1 / LABELS, atol=0.03)
    assert found.max() < 0.6
    assert (head(features).argmax(axis=1) == codes).mean() > 0.95


def test_start_changes_the_time_and_not_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    features, codes = blobs(300, seed=9)
    near = fit_head(features, hot(codes), penalty=0.012)
    passes = 0
    exp = np.exp

    def counted(values: NDArray[np.floating]) -> NDArray[np.floating]:
        nonlocal passes
        passes += 1
        return exp(values)

    monkeypatch.setattr(np, "exp", counted)  # once in each pass over the data
    cold = fit_head(features, hot(codes), penalty=0.01)
    cold_passes, passes = passes, 0
    warm = fit_head(features, hot(codes), penalty=0.01, start=near)
    assert passes < 0.7 * cold_passes
    np.testing.assert_allclose(
        warm(features) - warm(features).mean(axis=1, keepdims=True),
        cold(features) - cold(features).mean(axis=1, keepdims=True),
        atol=0.05,
    )


def test_the_head_itself_as_the_start_gives_it_back() -> None:
    features, codes = blobs(300, seed=10)
    head = fit_head(features, hot(codes), penalty=0.1)
    again = fit_head(features, hot(codes), penalty=0.1, start=head)
    np.testing.assert_allclose(shares(again, features), shares(head, features), atol=1e-3)


def test_features_that_never_change_give_the_shares_of_the_labels() -> None:
    codes = np.repeat([0, 1], [30, 10])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head = fit_head(np.ones((40, 3), np.float32), hot(codes, 2), penalty=1e-3)
    np.testing.assert_allclose(shares(head, np.ones((1, 3), np.float32)), [[0.75, 0.25]], atol=0.01)


def test_separable_images_end_in_finite_weights() -> None:
    features, codes = blobs(40, seed=11, distance=20)
    head = fit_head(features, hot(codes), penalty=1e-4)
    assert np.isfinite(head.weights).all()
    assert (head(features).argmax(axis=1) == codes).all()
