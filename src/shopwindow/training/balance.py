"""Rare labels more often than they come: class-balanced sampling.

Drawn as they come, the images of a label with six of them are lost among those with six thousand.
With the power 0.5, the square root, a hundredfold label is seen ten times as often (Mahajan et al.
2018, arXiv:1805.00932); with 1 all labels are seen alike, and the few images of a rare one so often
that they are learnt by heart.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from shopwindow.data.label_sets import allowed_labels


def expected_draws(
    codes: NDArray[np.int64], sets: NDArray[np.bool_], power: float
) -> NDArray[np.float64]:
    """Say how often each image is to be drawn in a pass of as many draws as there are images.

    In proportion to `n ** -power` for an image of a label with n images. An image that allows
    several labels counts for each of them in part, and gets the mean of what they get. Those that
    show none of the labels count as one more label.

    Args:
        codes: (N,) main labels; see `dataset.label_sets`.
        sets: (K, C) bool, the column's table of sets.
        power: 0 for images as they come, 1 for all labels alike.

    Returns:
        (N,) positive numbers with the sum N.
    """
    allowed = allowed_labels(codes, sets).astype(np.float64)
    parts: NDArray[np.float64] = np.column_stack([allowed, ~allowed.any(axis=1)])
    parts = parts / parts.sum(axis=1, keepdims=True)
    counts = parts.sum(axis=0)
    weights = parts @ np.where(counts > 0, counts, 1.0) ** -power
    draws: NDArray[np.float64] = weights * len(codes) / weights.sum()
    return draws


def draw_pass(draws: NDArray[np.float64], random: Generator) -> NDArray[np.int64]:
    """Draw N images, each as often as expected, rounded up or down by chance.

    Systematic sampling: evenly spaced marks on a line on which each image has a piece as long as
    its expectation. Labels are met as often as they should be to within one image, which
    independent draws would miss by the square root of their number, and nothing is drawn twice
    that should come once.

    Args:
        draws: (N,) from `expected_draws`.
        random: Decides the rounding and the order.

    Returns:
        (N,) int64 positions in a random order.
    """
    count = len(draws)
    order = random.permutation(count)
    order = order[np.argsort(draws[order], kind="stable")]  # alike beside alike
    marks = np.arange(count) + random.random()
    places = np.searchsorted(np.cumsum(draws[order]), marks, side="right")
    drawn: NDArray[np.int64] = order[places.clip(max=count - 1)]  # the sum is N but for rounding
    return random.permutation(drawn)
