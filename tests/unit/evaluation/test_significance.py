"""Two models on the same images: known values, scipy on random input, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shopwindow.errors import DataError
from shopwindow.evaluation.significance import (
    PairedCounts,
    bootstrap_interval,
    compare_answers,
    holm,
    mcnemar_exact,
)


def answers(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (0, 1, 1.0),
        (0, 6, 0.03125),  # 2 / 2 ** 6
        (1, 7, 0.0703125),  # 2 * (1 + 8) / 2 ** 8
        (12, 2, 0.012939453125),  # 2 * (1 + 14 + 91) / 2 ** 14
    ],
)
def test_mcnemar_gives_the_values_that_can_be_worked_out_by_hand(
    only_a: int, only_b: int, p_value: float
) -> None:
    assert mcnemar_exact(only_a, only_b) == pytest.approx(p_value, rel=1e-12)
    assert mcnemar_exact(only_b, only_a) == pytest.approx(p_value, rel=1e-12)


@pytest.mark.parametrize(("only_a", "only_b"), [(3, 40), (411, 362), (30_000, 30_900)])
def test_mcnemar_is_the_binomial_test_of_scipy(only_a: int, only_b: int) -> None:
    expected = stats.binomtest(only_a, only_a + only_b, 0.5).pvalue
    assert mcnemar_exact(only_a, only_b) == pytest.approx(expected, rel=1e-6)


def test_interval_is_that_of_scipys_bootstrap_over_the_images_themselves() -> None:
    a, b = answers(both=300, only_a=20, only_b=45, neither=135)
    low, high = bootstrap_interval(PairedCounts(500, 300, 20, 45))
    theirs = stats.bootstrap(
        (b.astype(float) - a.astype(float),),
        np.mean,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    # Two images of 500: what 10,000 draws leave to chance.
    assert low == pytest.approx(theirs.low, abs=0.004)
    assert high == pytest.approx(theirs.high, abs=0.004)
    assert low < 0.05 < high


def test_interval_holds_the_truth_as_often_as_it_says() -> None:
    random, true = np.random.default_rng(5), (0.05, 0.11)
    draws = random.multinomial(400, [*true, 1 - sum(true)], size=400)
    hits = 0
    for only_a, only_b, _ in draws.tolist():
        low, high = bootstrap_interval(PairedCounts(400, 0, only_a, only_b), resamples=2000)
        hits += low <= true[1] - true[0] <= high
    assert 0.92 <= hits / len(draws) <= 0.98


def test_holm_gives_the_published_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_better_model_is_named_with_its_lead() -> None:
    a, b = answers(both=700, only_a=20, only_b=60, neither=220)
    overall = compare_answers(a, b, np.zeros(1000, int), ["shoe"]).overall
    assert overall.better == "b"
    assert overall.counts.accuracy_a == 0.72
    assert overall.counts.accuracy_b == 0.76
    assert overall.counts.difference == pytest.approx(0.04)
    assert 0.02 < overall.interval[0] < 0.04 < overall.interval[1] < 0.06
    assert compare_answers(b, a, np.zeros(1000, int), ["shoe"]).overall.better == "a"


def test_a_difference_that_may_be_chance_names_nobody() -> None:
    a, b = answers(both=70, only_a=4, only_b=8, neither=18)
    assert compare_answers(a, b, np.zeros(100, int), ["shoe"]).overall.better is None


def test_equal_answers_differ_by_nothing() -> None:
    a, _ = answers(50, 0, 0, 50)
    overall = compare_answers(a, a, np.zeros(100, int), ["shoe"]).overall
    assert (overall.interval, overall.p_value, overall.better) == ((0.0, 0.0), 1.0, None)


def test_labels_are_compared_each_on_its_images_and_corrected_for_their_number() -> None:
    shoes = answers(both=10, only_a=0, only_b=12, neither=8)
    bags = answers(both=20, only_a=3, only_b=0, neither=7)
    a, b = (np.concatenate(parts) for parts in zip(shoes, bags, strict=True))
    targets = np.repeat([2, 0], [30, 30])
    found = compare_answers(a, b, targets, ["bag", "never seen", "shoe"]).per_class
    assert list(found) == ["bag", "shoe"]
    assert found["shoe"].better == "b"
    assert found["shoe"].counts.accuracy_a == pytest.approx(1 / 3)
    assert found["shoe"].p_value == pytest.approx(2 * 2 / 2**12)
    assert found["bag"].better is None


def test_an_image_of_several_labels_counts_overall_and_for_none_of_them() -> None:
    found = compare_answers(
        np.array([True, False]), np.array([False, True]), np.array([0, -1]), ["bag", "shoe"]
    )
    assert found.overall.counts == PairedCounts(images=2, both=0, only_a=1, only_b=1)
    assert found.per_class["bag"].counts == PairedCounts(images=1, both=0, only_a=1, only_b=0)
    assert list(found.per_class) == ["bag"]


def test_json_has_all_figures() -> None:
    a, b = answers(both=700, only_a=20, only_b=60, neither=220)
    found = compare_answers(a, b, np.zeros(1000, int), ["shoe"]).as_json()
    assert found["overall"]["difference"] == 0.04
    assert found["overall"]["only_b_right"] == 60
    assert found["overall"]["better"] == "b"
    assert found["per_class"][0] == {"label": "shoe", **found["overall"]}


@pytest.mark.parametrize(
    ("right_a", "right_b", "targets", "message"),
    [
        ([True], [True, False], [0, 0], "right_a: expected bool"),
        ([True, False], [1, 0], [0, 0], "right_b: expected bool"),
        ([True], [True], [2], "targets: expected integers from -1 to 1"),
        ([True], [True], [-2], "targets"),
        ([True], [True], [0.0], "targets"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    right_a: list[bool], right_b: list[bool], targets: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare_answers(right_a, right_b, targets, ["bag", "shoe"])


def test_no_images_and_negative_counts_are_refused() -> None:
    with pytest.raises(DataError, match="at least one image"):
        compare_answers(np.zeros(0, bool), np.zeros(0, bool), np.zeros(0, int), ["bag"])
    with pytest.raises(ValueError, match="0 or more"):
        mcnemar_exact(-1, 3)
    with pytest.raises(ValueError, match="expected counts"):
        PairedCounts(10, 8, 2, 1)
