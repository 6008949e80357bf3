"""Cross-validation: the penalty that suits the data, and answers of heads that had not learned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shopwindow.calibration.regression import fit_head
from shopwindow.probe.cross_validation import PENALTIES, assign_folds, cross_validate

WIDE = 40


def data(
    count: int, noise: float, *, seed: int = 1, labels: int = 3
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(count) % labels)
    centres = rng.normal(size=(labels, WIDE))
    features = centres[codes] + noise * rng.normal(size=(count, WIDE))
    return features.astype(np.float32), codes


def hot(codes: NDArray[np.integer], labels: int = 3) -> NDArray[np.bool_]:
    return np.eye(labels, dtype=np.bool_)[codes]


def test_penalty_is_stronger_where_there_is_more_noise() -> None:
    found = []
    for noise in (0.5, 10.0):
        features, codes = data(150, noise)
        folds = assign_folds(codes, np.arange(150), 5, seed=0)
        found.append(cross_validate(features, hot(codes), folds).penalty)
    assert found[1] > 10 * found[0]
    assert set(found) <= set(PENALTIES)


def test_labels_that_say_nothing_are_answered_by_chance() -> None:
    """A head that had seen the image would know its label by heart: 40 features, 60 images."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(60, WIDE)).astype(np.float32)
    codes = rng.permutation(np.arange(60) % 3)
    folds = assign_folds(codes, np.arange(60), 5, seed=0)
    found = cross_validate(features, hot(codes), folds, penalties=(1e-3,))
    assert (found.logits.argmax(axis=1) == codes).mean() < 0.5
    learned = fit_head(features, hot(codes), penalty=1e-3)
    assert (learned(features).argmax(axis=1) == codes).mean() > 0.95


def test_logits_of_a_fold_are_those_of_the_head_of_all_others() -> None:
    features, codes = data(60, 2.0)
    folds = assign_folds(codes, np.arange(60), 5, seed=0)
    found = cross_validate(features, hot(codes), folds, penalties=(0.1,))
    for fold in range(5):
        others = folds != fold
        head = fit_head(features[others], hot(codes)[others], penalty=0.1)
        np.testing.assert_allclose(
            found.logits[~others], head(features[~others]), atol=1e-5, rtol=1e-5
        )


def test_label_of_an_image_plays_no_part_in_its_logits() -> None:
    features, codes = data(60, 2.0)
    folds = assign_folds(codes, np.arange(60), 5, seed=0)
    other = codes.copy()
    other[folds == 2] = (codes[folds == 2] + 1) % 3
    answers = [
        cross_validate(features, hot(some), folds, penalties=(0.1,)).logits
        for some in (codes, other)
    ]
    np.testing.assert_array_equal(answers[0][folds == 2], answers[1][folds == 2])
    assert np.abs(answers[0] - answers[1])[folds != 2].max() > 0.01


def test_images_of_no_fold_are_learned_from_in_every_turn_and_never_judged() -> None:
    features, codes = data(90, 2.0)
    own = assign_folds(codes[:30], np.arange(30), 5, seed=0)
    folds = np.concatenate([own, np.full(60, -1)])
    found = cross_validate(features, hot(codes), folds, penalties=(0.1,))
    others = folds != 0
    head = fit_head(features[others], hot(codes)[others], penalty=0.1)
    np.testing.assert_allclose(
        found.logits[folds == 0], head(features[folds == 0]), atol=1e-5, rtol=1e-5
    )
    assert not found.logits[30:].any()


def test_only_the_folds_that_are_judged_cost_a_head() -> None:
    features, codes = data(60, 2.0)
    folds = assign_folds(codes, np.arange(60), 5, seed=0)
    steps = []
    found = cross_validate(
        features,
        hot(codes),
        folds,
        judged=np.array([0]),
        penalties=(0.1,),
        step=lambda: steps.append(1),
    )
    assert len(steps) == 1
    assert found.logits[folds == 0].any()
    assert not found.logits[folds != 0].any()


def test_search_ends_soon_after_the_best_penalty() -> None:
    features, codes = data(60, 20.0)
    folds = assign_folds(codes, np.arange(60), 5, seed=0)
    steps = []
    found = cross_validate(features, hot(codes), folds, step=lambda: steps.append(1))
    tried = len(steps) / 5
    assert tried == PENALTIES.index(found.penalty) + 1 + 2
    assert tried < len(PENALTIES)


def test_images_that_are_all_in_one_fold_are_answered_alike() -> None:
    features, codes = data(60, 2.0)
    found = cross_validate(features, hot(codes), np.zeros(60, np.int64))
    assert not found.logits.any()
