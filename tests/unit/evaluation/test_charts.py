from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shopwindow.evaluation.charts import (
    colour_strength,
    confusion_picture,
    order_labels,
    reliability_bars,
)
from shopwindow.evaluation.grades import Grades
from shopwindow.evaluation.metrics import grade


def grades_of(confusion: NDArray[np.int64]) -> Grades:
    """Grades with exactly this confusion matrix."""
    classes = len(confusion)
    cells = np.repeat(np.arange(classes * classes), confusion.ravel())
    certain = np.eye(classes)[cells % classes]
    return grade(certain, cells // classes, [f"label {i}" for i in range(classes)])


def test_labels_that_are_confused_stand_next_to_each_other() -> None:
    confusion = np.diag(np.full(6, 20))
    for one, other in ((0, 4), (4, 2), (1, 5)):  # 0-4-2 and 1-5; 3 is never confused
        confusion[one, other] = 5
    place = np.argsort(order_labels(confusion))
    assert abs(place[0] - place[4]) == 1
    assert abs(place[4] - place[2]) == 1
    assert abs(place[1] - place[5]) == 1
    assert place[3] == 5


def test_two_groups_are_turned_so_that_the_labels_they_share_mistakes_over_meet() -> None:
    confusion = np.diag(np.full(4, 20))
    for one, other, count in ((0, 1, 9), (2, 3, 8), (0, 3, 2)):
        confusion[one, other] = count
    order = order_labels(confusion).tolist()
    assert order in ([1, 0, 3, 2], [2, 3, 0, 1])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 25))
def test_the_order_names_every_label_once(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    confusion = rng.integers(0, 4, (classes, classes)) * (
        rng.uniform(size=(classes, classes)) < 0.3
    )
    assert sorted(order_labels(confusion)) == list(range(classes))


def test_only_labels_in_enough_confusions_are_drawn_and_the_rest_is_counted() -> None:
    confusion = np.diag(np.full(5, 20))
    confusion[0, 1], confusion[2, 3] = 6, 1
    picture = confusion_picture(grades_of(confusion), max_labels=3)
    assert picture is not None
    assert {tick.title for tick in picture.ticks} == {"label 0", "label 1"}
    assert (picture.min_involved, picture.drawn, picture.total) == (2, 6, 7)


def test_no_more_labels_are_drawn_than_can_be_read_even_if_all_are_confused_alike() -> None:
    confusion = np.diag(np.full(8, 5)) + np.roll(np.eye(8, dtype=np.int64), 1, axis=1)
    picture = confusion_picture(grades_of(confusion), max_labels=3)
    assert picture is not None
    assert len(picture.ticks) == 3


def test_a_model_without_mistakes_has_no_confusion_picture() -> None:
    assert confusion_picture(grades_of(np.diag([3, 4]))) is None


def test_each_square_lies_at_its_true_row_and_predicted_column() -> None:
    picture = confusion_picture(grades_of(np.array([[8, 2], [0, 5]])))
    assert picture is not None
    (wrong,) = [mark for mark in picture.marks if not mark.right]
    assert wrong.title == "label 0 → label 1: 2 of 10 (20.0 %)"
    names = [tick.title for tick in picture.ticks]
    assert names[int(wrong.y_px // picture.cell_px)] == "label 0"
    assert names[int(wrong.x_px // picture.cell_px)] == "label 1"


@pytest.mark.parametrize(("labels", "side_px"), [(2, 150), (3, 225), (10, 300), (40, 600)])
def test_picture_of_few_labels_is_large_enough_to_see(labels: int, side_px: float) -> None:
    confusion = np.diag(np.full(labels, 5)) + np.roll(np.eye(labels, dtype=np.int64), 1, axis=1)
    picture = confusion_picture(grades_of(confusion))
    assert picture is not None
    assert picture.side_px == side_px == len(picture.ticks) * picture.cell_px


def test_colour_grows_with_the_share_and_is_full_at_a_half() -> None:
    strengths = [colour_strength(share) for share in (0.001, 0.01, 0.1, 0.5)]
    assert strengths == sorted(set(strengths))
    assert strengths[-1] == colour_strength(1.0) == 1.0


def test_empty_bins_are_not_drawn() -> None:
    bars = reliability_bars(grade(np.array([[0.9, 0.1], [0.55, 0.45]]), [0, 0], ["a", "b"]))
    assert [bar.images for bar in bars] == [1, 1]
    assert all(bar.error_low <= bar.accuracy <= bar.error_high for bar in bars)
    assert sum(bar.share for bar in bars) == pytest.approx(1)
