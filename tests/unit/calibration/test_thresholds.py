import numpy as np
import pytest

from shopwindow.calibration.thresholds import MIN_SURE_ANSWERS, choose_threshold


def test_the_threshold_is_the_lowest_that_keeps_the_precision() -> None:
    confidences = np.array([0.9, 0.8, 0.7, 0.6, 0.5]).repeat(MIN_SURE_ANSWERS)
    correct = np.array([True, True, False, True, False]).repeat(MIN_SURE_ANSWERS)
    threshold = choose_threshold(confidences, correct, precision=0.75)
    assert threshold.min_confidence == 0.6  # 3 of 4; at 0.7 it was 2 of 3, at 0.5 3 of 5
    assert threshold.precision == 0.75
    assert threshold.coverage == 0.8


def test_an_answer_that_counts_thrice_is_one_that_is_there_three_times() -> None:
    generator = np.random.default_rng(3)
    confidences = generator.random(300)
    correct = generator.random(300) < 0.4 + confidences / 2
    weights = generator.integers(1, 4, 300)
    counted = choose_threshold(confidences, correct, precision=0.8, weights=weights)
    repeated = choose_threshold(confidences.repeat(weights), correct.repeat(weights), precision=0.8)
    assert counted.min_confidence == repeated.min_confidence < 1
    assert counted.precision == pytest.approx(repeated.precision)
    assert counted.coverage == pytest.approx(repeated.coverage)
    assert counted != choose_threshold(confidences, correct, precision=0.8)
    # 38 of 40 is 95 %, though 1 / 60 cannot be added up exactly.
    right, sixtieths = np.arange(60) < 38, np.full(60, 1 / 60)
    falling = np.where(np.arange(60) < 40, 0.9, 0.5)
    assert choose_threshold(falling, right, weights=sixtieths).min_confidence == 0.9
    # However much they count, a few answers promise nothing.
    heavy = np.full(MIN_SURE_ANSWERS - 1, 1000.0)
    assert choose_threshold(np.full(len(heavy), 0.9), heavy > 0, weights=heavy).coverage == 0


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, float("nan")]])
def test_weights_of_answers_that_do_not_fit_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights: expected 2 numbers above 0"):
        choose_threshold(np.array([0.5, 0.6]), np.array([True, True]), weights=np.array(weights))


def test_equal_confidences_are_sure_together_or_not_at_all() -> None:
    confidences = np.array([0.9, 0.7, 0.7, 0.7]).repeat(MIN_SURE_ANSWERS)
    correct = np.array([True, True, False, False]).repeat(MIN_SURE_ANSWERS)
    threshold = choose_threshold(confidences, correct, precision=0.9)
    assert threshold.min_confidence == 0.9
    assert threshold.coverage == 0.25


def test_what_the_threshold_promises_holds_on_the_images_it_was_chosen_on() -> None:
    generator = np.random.default_rng(6)
    confidences = generator.random(2000).astype(np.float32)
    correct = generator.random(2000) < confidences
    threshold = choose_threshold(confidences, correct, precision=0.9)
    sure = np.array([threshold.is_sure(float(value)) for value in confidences])
    assert correct[sure].mean() == pytest.approx(threshold.precision)
    assert sure.mean() == pytest.approx(threshold.coverage)
    assert threshold.precision >= 0.9


def test_a_precision_out_of_reach_makes_nothing_sure() -> None:
    threshold = choose_threshold(np.full(2 * MIN_SURE_ANSWERS, 0.9), np.zeros(60, bool))
    assert (threshold.min_confidence, threshold.coverage) == (1.0, 0.0)
    assert not threshold.is_sure(1.0)


def test_answers_that_are_all_right_are_all_sure() -> None:
    confidences = np.array([0.4, 0.9]).repeat(MIN_SURE_ANSWERS)
    threshold = choose_threshold(confidences, np.ones(2 * MIN_SURE_ANSWERS, bool))
    assert (threshold.min_confidence, threshold.coverage) == (0.4, 1.0)


@pytest.mark.parametrize(
    ("confidences", "correct", "precision", "message"),
    [
        ([], [], 0.95, "needs validation images, got none"),
        ([0.5], [True, False], 0.95, r"got \(1,\) and \(2,\)"),
        ([0.5], [1], 0.95, "int64"),
        ([1.5], [True], 0.95, "confidences: expected 0 to 1"),
        ([float("nan")], [True], 0.95, "confidences: expected 0 to 1"),
        ([0.5], [True], 95, "precision: expected 0 to 1, got 95"),
    ],
)
def test_a_threshold_from_nothing_usable_is_refused(
    confidences: list[float], correct: list[object], precision: float, message: str
) -> None:
    outcomes = np.array(correct) if correct else np.zeros(0, bool)
    with pytest.raises(ValueError, match=message):
        choose_threshold(np.array(confidences), outcomes, precision=precision)


def test_a_few_lucky_answers_are_not_enough_to_be_sure() -> None:
    confidences = np.linspace(0.9, 0.4, 100)
    best = np.arange(100)
    assert choose_threshold(confidences, best < 29, precision=1).coverage == 0
    assert choose_threshold(confidences, best < 30, precision=1).coverage == 0.3
