import numpy as np
import pytest

from shopwindow.calibration.temperature import fit_temperature


def labelled_logits(count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are honest as they are: the targets are drawn from their own softmax."""
    generator = np.random.default_rng(5)
    logits = generator.normal(0, 2, (count, 6))
    odds = np.exp(logits)
    chances = odds / odds.sum(1, keepdims=True)
    targets = (chances.cumsum(1) > generator.random((count, 1))).argmax(1)
    return logits, targets


def test_honest_scores_need_no_temperature() -> None:
    assert fit_temperature(*labelled_logits()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("exaggeration", [0.5, 2.0, 7.0])
def test_exaggerated_scores_get_the_temperature_that_undoes_it(exaggeration: float) -> None:
    logits, targets = labelled_logits()
    honest = fit_temperature(logits, targets)
    assert fit_temperature(logits * exaggeration, targets) == pytest.approx(
        honest * exaggeration,
        rel=0.01,  # the prior for 1 weighs as much as one image of many
    )


def test_the_temperature_has_the_lowest_loss_around() -> None:
    logits, targets = labelled_logits(500)

    def loss(temperature: float) -> float:
        scaled = logits * 3 / temperature
        chances = np.exp(scaled - scaled.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        return float(-np.log(chances[np.arange(500), targets]).mean())

    best = fit_temperature(logits * 3, targets)
    assert loss(best) < min(loss(best * 0.97), loss(best * 1.03))


def test_adding_to_all_scores_of_an_image_changes_nothing() -> None:
    logits, targets = labelled_logits(300)
    assert fit_temperature(logits + 500, targets) == pytest.approx(fit_temperature(logits, targets))


def test_an_image_that_counts_thrice_is_one_that_is_there_three_times() -> None:
    logits, targets = labelled_logits(300)
    logits[:100] *= 4  # too certain
    counts = np.where(np.arange(300) < 100, 3, 1)
    repeated = fit_temperature(logits.repeat(counts, 0), targets.repeat(counts))
    assert fit_temperature(logits, targets, counts) == pytest.approx(repeated)
    assert repeated > 1.2 * fit_temperature(logits, targets)


@pytest.mark.parametrize("weights", [np.ones(2), -np.ones(3), np.full(3, np.nan)])
def test_weights_that_do_not_fit_are_refused(weights: np.ndarray) -> None:
    with pytest.raises(ValueError, match="weights: expected 3 numbers of 0 or more"):
        fit_temperature(np.eye(3), np.arange(3), weights)


def test_a_few_images_that_are_all_right_do_not_make_answers_certain() -> None:
    """The likelihood alone would ask for the lowest temperature that there is."""
    assert 0.5 < fit_temperature(np.eye(4).repeat(2, 0) * 4, np.arange(4).repeat(2)) <= 1


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "needs validation images, got none"),
        (np.zeros((2, 3)), np.zeros(3, int), r"got \(2, 3\) and \(3,\)"),
        (np.full((2, 3), np.nan), np.zeros(2, int), "finite"),
        (np.zeros((2, 3)), np.array([0, 3]), "targets: expected 0 to 2, got 0 to 3"),
        (np.zeros((2, 3)), np.array([-1, 0]), "targets"),
    ],
)
def test_a_temperature_from_nothing_usable_is_refused(
    logits: np.ndarray, targets: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit_temperature(logits, targets)
