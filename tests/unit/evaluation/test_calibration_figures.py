from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from shopwindow.bundle.quality import QualityTable
from shopwindow.evaluation.grades import expected_calibration_error
from shopwindow.evaluation.metrics import reliability


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
