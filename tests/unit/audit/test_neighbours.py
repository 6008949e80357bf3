"""Neighbours are exact, of other groups only, and a stranger is far from all of them."""

from __future__ import annotations

import numpy as np

from shopwindow.audit.auditing import strangers_of
from shopwindow.audit.neighbours import nearest, unit_length
from shopwindow.audit.pictures import brightness_and_detail


def test_neighbours_are_those_of_a_full_comparison() -> None:
    rng = np.random.default_rng(0)
    points = unit_length(rng.normal(size=(1500, 8)).astype(np.float32))
    found, cosines = nearest(points, 3, np.arange(1500))
    alike = points @ points.T
    np.fill_diagonal(alike, -2)
    np.testing.assert_allclose(cosines, -np.sort(-alike, axis=1)[:, :3], atol=1e-5)
    assert (found != np.arange(1500)[:, None]).all()


def test_images_of_one_group_are_no_neighbours() -> None:
    points = unit_length(np.array([[1, 0], [1, 0.01], [0, 1]], np.float32))
    found, cosines = nearest(points, 2, np.array([0, 0, 1]))
    assert found[0, 0] == 2
    assert cosines[0, 1] == -2


def test_an_image_far_from_all_others_is_a_stranger() -> None:
    cosines = np.random.default_rng(0).uniform(0.7, 0.8, (100, 5)).astype(np.float32)
    cosines[[17, 40]] = [[0.1], [0.2]]
    assert strangers_of(cosines).tolist() == [17, 40]


def test_brightness_is_the_mean_and_a_flat_picture_has_no_detail() -> None:
    flat = np.full((1, 20, 20, 3), 80, np.uint8)
    checked = (np.indices((20, 20)).sum(axis=0) % 2 * 255).astype(np.uint8)
    images = np.concatenate([flat, np.repeat(checked[None, ..., None], 3, axis=3)])
    brightness, detail = brightness_and_detail(images)
    np.testing.assert_allclose(brightness, [80, 127.5], atol=0.1)
    assert detail[0] < 1e-3
    assert detail[1] > 500
