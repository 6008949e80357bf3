"""Photos of the same kind are rarely called drift, others are; and it is always the same answer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from shopwindow.feedback.drift import MIN_PHOTOS, measure_drift


def photos(count: int, seed: int, moved: float = 0.0) -> NDArray[np.float32]:
    """Return (count, 16) of unit length, around a direction that `moved` turns."""
    found = np.random.default_rng(seed).normal(size=(count, 16))
    found[:, 0] += 2
    found[:, 1] += moved
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_photos_of_the_same_kind_are_rarely_called_drift() -> None:
    pairs = ((photos(40, seed), photos(60, 1000 + seed)) for seed in range(60))
    found = [drift for drift in (measure_drift(*pair) for pair in pairs) if drift is not None]
    assert len(found) == 60
    assert sum(one.found for one in found) <= 4  # of 60 with 1 % each: more once in 3,000 times
    assert np.median([one.ratio for one in found]) > 0.5, "the bound is far too high"


def test_photos_of_another_kind_are_called_drift() -> None:
    for seed in range(10):
        drift = measure_drift(photos(40, seed, moved=1.5), photos(60, 1000 + seed))
        assert drift is not None
        assert drift.found


@pytest.mark.parametrize(("n", "m"), [(MIN_PHOTOS - 1, 60), (60, MIN_PHOTOS - 1), (0, 60)])
def test_of_too_few_photos_nothing_is_said(n: int, m: int) -> None:
    assert measure_drift(photos(n, 0), photos(m, 1)) is None


def test_same_photos_give_the_same_answer() -> None:
    one, other = (measure_drift(photos(30, 0), photos(50, 1)) for _ in range(2))
    assert one is not None
    assert other is not None
    assert (one.distance, one.bound) == (other.distance, other.bound)
    np.testing.assert_array_equal(one.places, other.places)


def test_farthest_photo_is_the_one_that_is_unlike_all_of_the_training() -> None:
    month = photos(30, 0)
    month[7] = -month[7]
    drift = measure_drift(month, photos(50, 1))
    assert drift is not None
    assert int(drift.apart.argmax()) == 7


def test_map_shows_the_directions_of_largest_variance_within_its_frame() -> None:
    random = np.random.default_rng(0)
    spread = random.normal(size=(80, 16)) * ([3, 1] + [0.01] * 14)
    drift = measure_drift(spread[:30], spread[30:])
    assert drift is not None
    places = np.concatenate([drift.places, drift.sample_places])
    for axis in (0, 1):
        assert abs(np.corrcoef(places[:, axis], spread[:, axis])[0, 1]) > 0.99
    assert places.min() >= 0
    assert places.max() <= 1


def test_photos_that_are_all_the_same_are_no_error() -> None:
    same = np.repeat(photos(1, 0), 30, axis=0)
    drift = measure_drift(same, same)
    assert drift is not None
    assert not drift.found
