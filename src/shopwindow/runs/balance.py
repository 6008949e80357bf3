"""Class-balanced sampling: images of rare labels are drawn more often.

With power 0.5, the square root, a label with a hundred times the images is seen ten times as often
(Mahajan et al. 2018, arXiv:1805.00932). With 1 all labels are seen equally often, and the few
images of a rare one so often that they are memorised.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from shopwindow.data.label_sets import allowed_labels


def expected_draws(
    codes: NDArray[np.int64], sets: NDArray[np.bool_], power: float
) -> NDArray[np.float64]:
    """Return how often to draw each image in a pass of as many draws as there are images.

    In proportion to `n ** -power` for an image of a label with n images. An image with several
    possible labels counts for each of them in part, and gets the mean of their weights. Images that
    show none of the labels count as one more label.

    Args:
        codes: (N,) main labels; see `data.label_sets`.
        sets: (K, C) bool, the column's table of sets.
        power: 0 draws every image once, 1 every label equally often.

    Returns:
        (N,) positive numbers that add up to N.
    """
    allowed = allowed_labels(codes, sets).astype(np.float64)
    parts: NDArray[np.float64] = np.column_stack([allowed, ~allowed.any(axis=1)])
    parts = parts / parts.sum(axis=1, keepdims=True)
    counts = parts.sum(axis=0)
    weights = parts @ np.where(counts > 0, counts, 1.0) ** -power
    draws: NDArray[np.float64] = weights * len(codes) / weights.sum()
    return draws


def draw_pass(draws: NDArray[np.float64], random: Generator) -> NDArray[np.int64]:
    """Draw N images, each as often as expected, rounded up or down at random.

    Systematic sampling: evenly spaced marks on a line on which each image has a piece as long as
    its expectation. Each label is drawn as often as it should be to within one image; independent
    draws would miss by the square root of that number, and repeat images that are due once.

    Args:
        draws: (N,) from `expected_draws`.
        random: Decides the rounding and the order.

    Returns:
        (N,) int64 positions in a random order.
    """
    count = len(draws)
    order = random.permutation(count)
    order = order[np.argsort(draws[order], kind="stable")]  # equal ones side by side
    marks = np.arange(count) + random.random()
    places = np.searchsorted(np.cumsum(draws[order]), marks, side="right")
    drawn: NDArray[np.int64] = order[places.clip(max=count - 1)]  # the sum may be rounded down
    return random.permutation(drawn)
