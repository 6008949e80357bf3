"""Our figures are scikit-learn's, on any input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from shopwindow.evaluation.metrics import grade, losses, top_k_accuracy

Answers = tuple[NDArray[np.float32], NDArray[np.int64], list[str]]


@st.composite
def answers(draw: st.DrawFn) -> Answers:
    """Probabilities, targets and labels; some labels occur in no target, some in no answer."""
    classes = draw(st.integers(2, 9))
    images = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = rng.normal(0, draw(st.floats(0.1, 4)), (images, classes))
    shares = np.exp(logits)
    shares /= shares.sum(axis=1, keepdims=True)
    return (
        shares.astype(np.float32),
        rng.integers(0, draw(st.integers(1, classes)), images),
        [f"label {i}" for i in range(classes)],
    )


@settings(max_examples=60, deadline=None)
@given(answers())
def test_accuracy_and_macro_f1_and_the_class_table_are_those_of_scikit_learn(
    given: Answers,
) -> None:
    probabilities, targets, labels = given
    grades = grade(probabilities, targets, labels)
    predicted = probabilities.argmax(axis=1)
    everything = np.arange(len(labels))
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        targets, predicted, labels=everything, zero_division=0.0
    )
    assert grades.accuracy == pytest.approx(sk.accuracy_score(targets, predicted))
    assert [score.precision or 0.0 for score in grades.per_class] == pytest.approx(list(precision))
    assert [score.recall or 0.0 for score in grades.per_class] == pytest.approx(list(recall))
    assert [score.f1 or 0.0 for score in grades.per_class] == pytest.approx(list(f1))
    assert [score.images for score in grades.per_class] == list(support)
    assert grades.macro_f1 == pytest.approx(
        sk.f1_score(targets, predicted, labels=np.unique(targets), average="macro")
    )


@settings(max_examples=60, deadline=None)
@given(answers())
def test_the_confusion_matrix_is_that_of_scikit_learn_and_its_pairs_are_sorted(
    given: Answers,
) -> None:
    probabilities, targets, labels = given
    grades = grade(probabilities, targets, labels)
    expected = sk.confusion_matrix(
        targets, probabilities.argmax(axis=1), labels=np.arange(len(labels))
    )
    assert grades.confusion.tolist() == expected.tolist()
    counts = [pair.images for pair in grades.confusions]
    assert counts == sorted(counts, reverse=True)
    for pair in grades.confusions:
        row = expected[labels.index(pair.label)]
        assert pair.images == row[labels.index(pair.taken_for)]
        assert pair.share == pytest.approx(pair.images / row.sum())


@settings(max_examples=60, deadline=None)
@given(answers(), st.integers(1, 6))
def test_top_k_and_log_loss_are_those_of_scikit_learn(given: Answers, k: int) -> None:
    probabilities, targets, labels = given
    everything = np.arange(len(labels))
    shares = probabilities.astype(np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    if len(labels) > max(2, k):  # scikit-learn takes two columns for a binary task, and warns at k
        assert top_k_accuracy(shares, targets, k) == pytest.approx(
            sk.top_k_accuracy_score(targets, shares, k=k, labels=everything)
        )
    assert losses(shares, targets).mean() == pytest.approx(
        sk.log_loss(targets, shares, labels=everything), rel=1e-6
    )


@settings(max_examples=40, deadline=None)
@given(answers())
def test_top_k_never_falls_with_k_and_ends_at_one(given: Answers) -> None:
    probabilities, targets, labels = given
    by_k = [top_k_accuracy(probabilities, targets, k) for k in range(1, len(labels) + 1)]
    assert by_k == sorted(by_k)
    assert by_k[0] == (probabilities.argmax(axis=1) == targets).mean()
    assert by_k[-1] == 1.0
