"""Parts of a data set that are judged in turn by what was learned from all the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def assign_folds(
    codes: NDArray[np.integer], groups: NDArray[np.integer], folds: int, *, seed: int
) -> NDArray[np.int64]:
    """Spread images over folds, each label as evenly as its groups allow.

    Args:
        codes: (N,) the label of each image, 0 or more.
        groups: (N,) images with the same number stay in one fold.
        folds: How many, 2 or more.
        seed: Of the order.

    Returns:
        (N,) int64, from 0 to folds - 1.
    """
    members: dict[int, list[int]] = {}
    for index in np.random.default_rng(seed).permutation(len(codes)).tolist():
        members.setdefault(int(groups[index]), []).append(index)
    counts = np.zeros((folds, int(codes.max()) + 1), np.int64)  # images by fold and label
    result = np.zeros(len(codes), np.int64)
    # Large groups first, while there is room for them everywhere.
    for group in sorted(members.values(), key=len, reverse=True):
        labels = codes[group]
        # The fold that has least of these labels; of several, the one that has least in all.
        fold = min(range(folds), key=lambda n: (counts[n, labels].sum(), counts[n].sum()))
        result[group] = fold
        np.add.at(counts[fold], labels, 1)
    return result
