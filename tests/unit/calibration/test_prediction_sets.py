"""Prediction sets hold the right label as often as they promise, whatever the network is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from shopwindow.bundle.prediction_sets import PredictionSets, SetRule, SetsOfKind
from shopwindow.calibration.prediction_sets import (
    HeldOutAnswers,
    fit_prediction_sets,
    least_probability,
    right_scores,
)


def answers(count: int, *, seed: int, labels: int = 6, wit: float = 1.0) -> HeldOutAnswers:
    """Answers of a network of some wit, whose probabilities are honest only where that is 1."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, labels))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    worth = np.exp(wit * logits) / np.exp(wit * logits).sum(axis=1, keepdims=True)
    right = (worth.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    sure = probs.max(axis=1) >= 0.8
    return HeldOutAnswers(
        "photos", probs, np.eye(labels, dtype=bool)[right], sure, np.arange(count)
    )


def sizes_of(sets: PredictionSets, one: HeldOutAnswers, kind: int = 0) -> NDArray[np.int64]:
    kinds = np.eye(len(sets.kinds))[[kind] * len(one.probs)]
    return sets.sizes(one.probs, one.sure, kinds)


def held_by(one: HeldOutAnswers, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    rank = np.argsort(-one.probs, axis=1).argsort(axis=1)
    return rank[one.allowed] < sizes


@pytest.mark.parametrize("count", [19, 39, 50, 200])
def test_bound_holds_for_just_so_many_further_images_as_theory_says(count: int) -> None:
    """In the mean over calibrations: ceil(0.95 (n + 1)) of n + 1, no more and no less."""
    random, trials = np.random.default_rng(count), 40_000
    scores = random.random((trials, count + 1))  # of the images to calibrate on, and of one more
    bounds = np.array([least_probability(row) for row in scores[:, :-1]])
    expected = np.ceil(0.95 * (count + 1) - 1e-9) / (count + 1)
    assert expected >= 0.95
    deviation = np.sqrt(expected * (1 - expected) / trials)
    assert abs((scores[:, -1] >= bounds).mean() - expected) < 4 * deviation


def test_bound_needs_nineteen_images() -> None:
    scores = np.linspace(0.1, 1, 19)
    assert least_probability(scores[:18]) is None
    assert least_probability(scores) == pytest.approx(0.1)
    assert least_probability(np.empty(0)) is None


def test_bound_never_rises_with_the_level() -> None:
    scores = np.random.default_rng(1).random(500)
    bounds = [least_probability(scores, level=level) for level in np.linspace(0.01, 0.99, 99)]
    assert None not in bounds
    assert bounds == sorted(bounds, reverse=True)  # type: ignore[type-var]
    assert len(set(bounds)) == 99


def test_score_is_that_of_the_likeliest_right_label_and_1_where_it_is_the_best() -> None:
    probs = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    allowed = np.array([[True, True, False], [False, True, True]])
    np.testing.assert_array_equal(right_scores(probs, allowed), [1, 0.3])


@pytest.mark.parametrize("wit", [0.6, 1.0, 3.0])
def test_sets_hold_as_many_right_labels_as_promised_sure_or_not(wit: float) -> None:
    """Also of a network that is far too certain, or not certain enough."""
    sets = fit_prediction_sets([answers(4000, seed=1, wit=wit)])
    assert sets is not None
    new = answers(20_000, seed=2, wit=wit)
    sizes = sizes_of(sets, new)
    for some in (new.sure, ~new.sure):
        share = held_by(new, sizes)[some].mean()
        least = 0.95 - 4 * np.sqrt(0.95 * 0.05 / 1000)  # a thousand images or more were calibrated
        assert share > least
        # More is held only where the best label alone is right often enough.
        assert share < 0.98 or (sizes[some] == 1).all()


def test_figures_of_a_rule_are_those_of_new_images() -> None:
    one, new = answers(4000, seed=3), answers(20_000, seed=4)
    sets = fit_prediction_sets([one])
    assert sets is not None
    rule = sets.kinds[0].not_sure
    assert rule is not None
    assert rule.images == (~one.sure).sum()
    sizes = sizes_of(sets, new)[~new.sure]
    assert rule.held == pytest.approx(held_by(new, sizes_of(sets, new))[~new.sure].mean(), abs=0.01)
    assert rule.mean_size == pytest.approx(sizes.mean(), abs=0.15)


def test_images_that_belong_together_do_not_judge_each_other() -> None:
    """Of two people one is always understood and the other never: neither tells of the other."""
    probs = np.tile([0.5, 0.3, 0.15, 0.05], (60, 1))
    allowed = np.zeros((60, 4), bool)
    allowed[:30, 0] = allowed[30:, 2] = True
    nobody = np.zeros(60, bool)
    one = HeldOutAnswers("photos", probs, allowed, nobody, np.repeat([0, 1], 30))
    sets = fit_prediction_sets([one])
    apart = fit_prediction_sets([replace(one, groups=np.arange(60))])
    assert sets is not None and apart is not None  # noqa: PT018
    assert (sets.kinds[0].not_sure, apart.kinds[0].not_sure) == (
        SetRule(0.15, 60, 0.5, 2.0),
        SetRule(0.15, 60, 1.0, 3.0),
    )


def test_each_kind_of_photo_has_a_bound_of_its_own() -> None:
    good, poor = answers(1000, seed=5, wit=3), answers(1000, seed=6, wit=0.7)
    sets = fit_prediction_sets([good, replace(poor, source="phones")])
    assert sets is not None
    assert [kind.source for kind in sets.kinds] == ["photos", "phones"]
    new = answers(1000, seed=7)
    assert (sizes_of(sets, new, 0) <= sizes_of(sets, new, 1)).all()
    assert sizes_of(sets, new, 0).mean() < sizes_of(sets, new, 1).mean()


def test_sets_that_would_hold_every_label_are_no_promise() -> None:
    coin = answers(400, seed=8, labels=2, wit=0.0)
    assert fit_prediction_sets([coin]) is None
    # Where only the predictions that are not sure are coins, the sure ones keep their sets.
    clear = replace(coin, allowed=coin.allowed.copy())
    best = np.eye(2, dtype=bool)[coin.probs.argmax(axis=1)]
    clear.allowed[coin.sure] = best[coin.sure]
    sets = fit_prediction_sets([clear])
    assert sets is not None
    assert sets.kinds[0].not_sure is None
    assert (sizes_of(sets, clear) == np.where(coin.sure, 1, 0)).all()


def test_few_images_promise_nothing_and_few_more_say_nothing_of_themselves() -> None:
    assert fit_prediction_sets([answers(18, seed=9)]) is None
    few = answers(200, seed=10, wit=3)
    some = np.flatnonzero(~few.sure)[:30]
    sets = fit_prediction_sets(
        [
            HeldOutAnswers(
                "few", few.probs[some], few.allowed[some], few.sure[some], few.groups[some]
            )
        ]
    )
    assert sets is not None
    rule = sets.kinds[0].not_sure
    assert rule is not None
    assert (rule.images, rule.held, rule.mean_size) == (30, None, None)
    assert sets.kinds[0].sure is None


@pytest.mark.parametrize("seed", range(20))
def test_no_set_is_empty_and_each_begins_with_the_best_label(seed: int) -> None:
    random = np.random.default_rng(seed)
    rules = [SetRule(least, 100, 0.95, 1.0) for least in random.random(4)]
    sets = PredictionSets(0.95, (SetsOfKind("a", *rules[:2]), SetsOfKind("b", *rules[2:])))
    probs = random.dirichlet(np.full(7, 0.3), 200).astype(np.float32)
    sure, kinds = random.random(200) < 0.5, random.dirichlet([1, 1], 200)
    sizes = sets.sizes(probs, sure, kinds)
    assert sizes.min() >= 1
    ranked = -np.sort(-probs, axis=1)
    for row, (size, kind) in enumerate(zip(sizes, kinds.argmax(axis=1), strict=True)):
        rule = (sets.kinds[kind].sure if sure[row] else sets.kinds[kind].not_sure) or rules[0]
        assert (ranked[row, 1:size] >= rule.least).all()
        assert (ranked[row, size:] < rule.least).all()
