"""Neighbours are exact, and pairs are the most alike across sides."""

from __future__ import annotations

import numpy as np

from shopwindow.audit.auditing import pairs_across
from shopwindow.audit.neighbours import directions, nearest
from shopwindow.audit.pictures import brightness_and_detail


def test_neighbours_are_those_of_a_full_comparison() -> None:
    rng = np.random.default_rng(0)
    points = directions(rng.normal(size=(1500, 8)).astype(np.float32))
    found, cosines = nearest(points, 3)
    alike = points @ points.T
    np.fill_diagonal(alike, -2)
    np.testing.assert_allclose(cosines, -np.sort(-alike, axis=1)[:, :3], atol=1e-5)
    assert (found != np.arange(1500)[:, None]).all()


def test_pairs_are_of_different_sides_each_once_and_the_most_alike_first() -> None:
    neighbours = np.array([[1, 2], [0, 2], [1, 0]])
    cosines = np.array([[0.9, 0.5], [0.9, 0.7], [0.7, 0.5]], np.float32)
    assert pairs_across(neighbours, cosines, np.array([0, 0, 1])) == [(1, 2), (0, 2)]


def test_brightness_is_the_mean_and_a_flat_picture_has_no_detail() -> None:
    flat = np.full((1, 20, 20, 3), 80, np.uint8)
    checked = (np.indices((20, 20)).sum(axis=0) % 2 * 255).astype(np.uint8)
    images = np.concatenate([flat, np.repeat(checked[None, ..., None], 3, axis=3)])
    brightness, detail = brightness_and_detail(images)
    np.testing.assert_allclose(brightness, [80, 127.5], atol=0.1)
    assert detail[0] < 1e-3
    assert detail[1] > 500
