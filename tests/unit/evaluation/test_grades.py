from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from shopwindow.bundle.quality import LabelQuality, QualityTable
from shopwindow.errors import DataError
from shopwindow.evaluation.grades import expected_calibration_error, wilson_interval
from shopwindow.evaluation.metrics import (
    grade,
    highest_loss,
    losses,
    reliability,
    sure_answers,
    top_k_accuracy,
)

LABELS = ["belt", "shoe", "watch"]
# Answers: belt, shoe, shoe, watch; only the third is wrong.
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1], [0.0, 0.05, 0.95]], dtype=np.float32
)
TARGETS = np.array([0, 1, 0, 2])


def test_figures_of_a_case_worked_out_by_hand() -> None:
    grades = grade(PROBABILITIES, TARGETS, LABELS)
    assert grades.accuracy == 0.75
    assert grades.top3_accuracy == grades.top5_accuracy == 1.0
    # F1: belt 2*1/(2+1), shoe 2*1/(1+2), watch 1
    assert grades.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert grades.log_loss == pytest.approx(-np.log([0.7, 0.8, 0.3, 0.95]).mean(), rel=1e-6)
    pairs = [dataclasses.astuple(pair) for pair in grades.confusions]
    assert pairs == [("belt", "shoe", 1, 0.5)]


def test_images_without_a_label_are_left_out_and_counted() -> None:
    blank = np.full((2, 3), 1 / 3, dtype=np.float32)
    with_blanks = grade(np.vstack([blank, PROBABILITIES]), np.array([-1, -1, *TARGETS]), LABELS)
    without = grade(PROBABILITIES, TARGETS, LABELS)
    assert with_blanks.missing == 2
    assert with_blanks.as_json() | {"missing": 0} == without.as_json()


def test_a_column_in_which_no_image_has_a_label_is_refused() -> None:
    with pytest.raises(DataError, match="at least one image with a label"):
        grade(PROBABILITIES, np.full(4, -1), LABELS)


def test_a_label_that_no_image_has_does_not_lower_macro_f1() -> None:
    wider = np.hstack([PROBABILITIES, np.zeros((4, 1), dtype=np.float32)])
    assert grade(wider, TARGETS, [*LABELS, "hat"]).macro_f1 == pytest.approx(
        grade(PROBABILITIES, TARGETS, LABELS).macro_f1
    )


def test_scores_that_are_not_defined_are_none_rather_than_zero() -> None:
    confused = np.eye(4, dtype=np.float32)[[0, 0, 1]]
    hat, belt, scarf, nowhere = grade(
        confused, [2, 0, 0], ["hat", "belt", "scarf", "tie"]
    ).per_class
    assert hat == LabelQuality("hat", images=2, recall=0.5, precision=0.5)
    assert hat.f1 == pytest.approx(0.5)
    assert (belt.precision, belt.recall, belt.f1) == (0, None, 0)
    assert (scarf.precision, scarf.recall, scarf.f1) == (None, 0, 0)
    assert (nowhere.precision, nowhere.recall, nowhere.f1) == (None, None, None)


def test_equal_probabilities_rank_in_the_order_of_the_labels() -> None:
    even = np.full((3, 3), 1 / 3)
    assert top_k_accuracy(even, np.array([0, 1, 2]), 1) == pytest.approx(1 / 3)
    assert top_k_accuracy(even, np.array([0, 1, 2]), 2) == pytest.approx(2 / 3)


def test_a_right_label_given_no_probability_at_all_has_a_finite_loss() -> None:
    nats = losses(np.array([[1.0, 0.0]], dtype=np.float32), np.array([1]))
    assert 80 < nats[0] < 90


def test_highest_loss_puts_the_worst_first_and_leaves_out_missing_labels() -> None:
    targets = np.array([0, 1, -1, 1])
    assert highest_loss(PROBABILITIES, targets).tolist() == [3, 0, 1]
    assert highest_loss(PROBABILITIES, targets, 1).tolist() == [3]


def test_sure_answers_are_those_at_the_threshold_or_above() -> None:
    # Exact in float32, so that an answer lies right on the threshold.
    probabilities = np.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]], dtype=np.float32)
    sure = sure_answers(probabilities, np.array([0, 1, 0]), 0.75)
    assert (sure.precision, sure.coverage) == (0.5, pytest.approx(2 / 3))
    nothing = sure_answers(probabilities, np.array([0, 1, 0]), 0.8)
    assert (nothing.precision, nothing.coverage) == (None, 0)


def test_the_interval_is_that_of_wilson_and_never_leaves_zero_to_one() -> None:
    # The example of Newcombe 1998, "Two-sided confidence intervals for the single proportion".
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    for trials in range(1, 60):
        assert wilson_interval(0, trials)[0] == 0
        assert wilson_interval(trials, trials)[1] == 1


@pytest.mark.parametrize(
    ("probabilities", "targets", "labels", "message"),
    [
        (PROBABILITIES[0], TARGETS, LABELS, r"expected a float array \(N, C\)"),
        (np.array([[1, 0, 0]]), TARGETS[:1], LABELS, "expected a float array"),
        (PROBABILITIES, TARGETS[:3], LABELS, r"expected an integer array \(4,\)"),
        (PROBABILITIES, TARGETS.astype(float), LABELS, "expected an integer array"),
        (PROBABILITIES, np.array([0, 1, 0, 3]), LABELS, r"expected -1 \(missing\) to 2"),
        (PROBABILITIES, np.array([0, -2, 0, 1]), LABELS, "got -2 to 1"),
        (PROBABILITIES * 0.5, TARGETS, LABELS, "sum to 1"),
        (np.log(PROBABILITIES + 0.1), TARGETS, LABELS, "not logits"),
        (np.where(PROBABILITIES > 0.9, np.nan, PROBABILITIES), TARGETS, LABELS, "got row 3"),
        (PROBABILITIES, TARGETS, LABELS[:2], "expected 3 different labels"),
        (PROBABILITIES, TARGETS, ["belt", "belt", "watch"], "2 of them different"),
        (PROBABILITIES, TARGETS, "abc", "got the text 'abc'"),
    ],
)
def test_wrong_arguments_are_refused_with_what_was_expected(
    probabilities: Any, targets: Any, labels: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        grade(probabilities, targets, labels)


@pytest.mark.parametrize(
    "change",
    [
        {"confusion": np.eye(3, dtype=np.int64)},
        {"confusion": np.eye(4, dtype=np.int64)},
        {"reliability": ()},
        {"log_loss": float("nan")},
        {"missing": -1},
        {"top5_accuracy": 0.5},
        {"top3_accuracy": 0.5},
        {"top5_accuracy": float("nan")},
        {"labels": ("belt", "watch")},
    ],
)
def test_grades_refuse_figures_that_contradict_each_other(change: dict[str, Any]) -> None:
    grades = grade(PROBABILITIES, TARGETS, LABELS)
    with pytest.raises(ValueError, match="expected"):
        dataclasses.replace(grades, **change)


def test_the_confusion_matrix_can_be_rebuilt_from_the_json() -> None:
    grades = grade(PROBABILITIES, TARGETS, LABELS)
    data = json.loads(json.dumps(grades.as_json(), allow_nan=False))
    matrix = np.diag([one["correct"] for one in data["per_class"]])
    for pair in data["confused_pairs"]:
        matrix[LABELS.index(pair["true"]), LABELS.index(pair["predicted"])] = pair["count"]
    assert matrix.tolist() == grades.confusion.tolist()


def test_a_model_that_is_never_sure_is_not_sure_at_full_confidence_either() -> None:
    certain = sure_answers(np.eye(2, dtype=np.float32), np.array([0, 1]), None)
    assert (certain.sure, certain.precision, certain.coverage) == (0, None, 0)
    assert certain.as_json()["min_confidence"] is None
    with pytest.raises(ValueError, match="expected no sure answers without a min_confidence"):
        dataclasses.replace(certain, sure=1, sure_correct=1)


def test_calibration_error_of_a_case_worked_out_by_hand() -> None:
    # Two answers in (0.8, 0.867], one right: gap 0.33. Two in (0.933, 1], both right: gap 0.03.
    bins = reliability(np.array([0.82, 0.84, 0.96, 0.98]), np.array([True, False, True, True]))
    assert expected_calibration_error(bins) == pytest.approx(0.5 * 0.33 + 0.5 * 0.03)


def test_an_answer_on_an_edge_belongs_to_the_bin_below() -> None:
    edges = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    on_edges, right = np.array([0.2, 0.4, 1.0]), np.ones(3, dtype=bool)
    bins = reliability(on_edges, right, edges)
    assert [one.images for one in bins] == [1, 1, 0, 0, 1]
    # In a bundle, to the bin above, which is the one that `bin_for` finds.
    bins = reliability(on_edges, right, edges, edge_belongs="above")
    assert [one.images for one in bins] == [0, 1, 1, 0, 1]
    table = QualityTable(bins)
    assert all(table.bin_for(confidence) in (bins[1], bins[2], bins[4]) for confidence in on_edges)


def test_a_confidence_that_rounding_took_over_one_counts_as_one() -> None:
    bins = reliability(np.array([1.000001]), np.array([True]))
    assert (bins[-1].images, bins[-1].confidence) == (1, 1.0)


def test_honest_confidences_have_almost_no_calibration_error_and_boasts_have_much() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.2, 1, 20_000)
    correct = rng.uniform(size=20_000) < confidences
    assert expected_calibration_error(reliability(confidences, correct)) < 0.02
    boasts = expected_calibration_error(reliability(np.full(20_000, 0.999), correct))
    assert boasts == pytest.approx(0.399, abs=0.02)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_the_bins_are_those_of_scikit_learn(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    confidences, correct = rng.uniform(0.01, 1, images), rng.uniform(size=images) < 0.7
    filled = [one for one in reliability(confidences, correct) if one.images]
    accuracy, confidence = calibration_curve(correct, confidences, n_bins=15, pos_label=True)
    assert [one.accuracy for one in filled] == pytest.approx(list(accuracy))
    assert [one.confidence for one in filled] == pytest.approx(list(confidence))
