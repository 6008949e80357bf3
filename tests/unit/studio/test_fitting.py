"""A head that follows its labels."""

from __future__ import annotations

import numpy as np

from shopwindow.studio.fitting import Examples, fit, measure


def examples(labels: tuple[str, ...], per_label: int = 20, *, grouped: bool = False) -> Examples:
    """Return points around a corner of a cube for each label."""
    rng = np.random.default_rng(5)
    codes = np.repeat(np.arange(len(labels)), per_label)
    features = 3 * np.eye(len(labels), 16)[codes] + rng.normal(0, 0.3, (len(codes), 16))
    groups = np.zeros(len(codes), np.int64) if grouped else np.arange(len(codes))
    names = tuple(map(str, range(len(codes))))
    return Examples(names, features.astype(np.float32), labels, codes, groups)


def test_head_starts_from_the_one_before_and_ends_where_a_new_one_would() -> None:
    two, three = examples(("hat", "shoe")), examples(("hat", "shirt", "shoe"))
    before = fit(two, 0.1, None)
    warm, cold = fit(three, 0.1, before), fit(three, 0.1, None)
    assert np.abs(warm.probs(three.features) - cold.probs(three.features)).max() < 0.02
    assert (warm.probs(three.features).argmax(axis=1) == three.codes).all()


def test_measurement_has_an_answer_for_each_photo() -> None:
    found = measure(examples(("hat", "shoe")))
    assert found is not None
    assert found.grades.accuracy == 1
    assert np.allclose(found.probs.sum(axis=1), 1, atol=1e-5)
    assert found.threshold.coverage > 0


def test_photos_of_one_group_measure_nothing() -> None:
    assert measure(examples(("hat", "shoe"), grouped=True)) is None
