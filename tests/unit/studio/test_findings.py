"""What a measurement says about labels."""

from __future__ import annotations

import numpy as np

from shopwindow.calibration.thresholds import NEVER
from shopwindow.studio.findings import confusions, figures, find_doubts, per_label, what_next
from shopwindow.studio.fitting import Examples, Measured

LABELS = ("hat", "shirt", "shoe")


def measured(codes: list[int], answers: list[int], groups: list[int] | None = None) -> Measured:
    """Return answers with a probability of 0.9 each."""
    probs = np.full((len(codes), 3), 0.05, np.float32)
    probs[np.arange(len(codes)), answers] = 0.9
    features = np.eye(len(codes), 8, dtype=np.float32)
    examples = Examples(
        tuple(f"{number}.jpg" for number in range(len(codes))),
        features,
        LABELS,
        np.array(codes),
        np.array(groups or range(len(codes))),
    )
    return Measured(examples, probs, 1.0, NEVER, 0.1)


CODES = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]


def test_confident_answer_against_a_label_is_a_doubt() -> None:
    found = find_doubts(measured(CODES, [1, *CODES[1:]]), {})
    assert [(doubt.name, doubt.label, doubt.guess) for doubt in found] == [
        ("0.jpg", "hat", "shirt")
    ]
    assert find_doubts(measured(CODES, CODES), {}) == []


def test_doubt_that_was_dismissed_stays_away_until_the_label_changes() -> None:
    answers = measured(CODES, [1, *CODES[1:]])
    assert find_doubts(answers, {"0.jpg": "hat"}) == []
    assert len(find_doubts(answers, {"0.jpg": "shoe"})) == 1


def test_photos_of_one_thing_with_two_labels_are_in_doubt() -> None:
    groups = [0, 1, 2, 3, 0, 0, *range(6, 12)]
    (doubt,) = find_doubts(measured(CODES, CODES, groups), {})
    assert doubt.as_json() == {
        "id": "0.jpg",
        "label": "hat",
        "guess": "shirt",
        "confidence": 0.667,
        "why": "twin",
        "twin": "4.jpg",
    }


def test_confusion_comes_with_photos_of_both_sides() -> None:
    (found,) = confusions(measured(CODES, [1, 1, *CODES[2:]]))
    assert (found["label"], found["taken_for"], found["photos"], found["share"]) == (
        "hat",
        "shirt",
        2,
        0.5,
    )
    assert [pair["id"] for pair in found["pairs"]] == ["0.jpg", "1.jpg"]
    assert {pair["like"] for pair in found["pairs"]} <= {f"{n}.jpg" for n in range(4, 8)}


def test_figures_are_those_of_the_answers() -> None:
    found = figures(measured(CODES, [1, *CODES[1:]]))
    assert (found["accuracy"], found["measured_on"]) == (round(11 / 12, 4), 12)
    assert found["interval"][0] < 11 / 12 < found["interval"][1]


def test_advice_names_the_label_that_is_confused_most() -> None:
    answers = measured(CODES, [1, 1, *CODES[2:]])
    counts = {"hat": 20, "shirt": 20, "shoe": 4}
    few, confused, unlabelled = what_next(counts, 3, answers.grades)
    assert (few["kind"], few["label"], few["add"]) == ("few", "shoe", 6)
    assert confused["sentence"] == (
        "hat is taken for shirt in 2 of 4 photos: ten more photos of hat that look like shirt "
        "would help most."
    )
    assert unlabelled["kind"] == "unlabelled"


def test_two_things_are_asked_for_first() -> None:
    assert what_next({}, 5, None)[0]["kind"] == "labels"
    assert what_next({"hat": 20}, 0, None)[0]["kind"] == "labels"


def test_label_that_is_not_measured_yet_has_no_figures() -> None:
    rows = per_label({"hat": 4, "new": 1}, measured(CODES, CODES).grades)
    assert rows == [
        {"label": "hat", "photos": 4, "recall": 1.0, "precision": 1.0},
        {"label": "new", "photos": 1, "recall": None, "precision": None},
    ]
