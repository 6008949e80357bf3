"""Look at a data set with the features of a frozen network, and find what is probably wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shopwindow.audit.neighbours import directions, nearest
from shopwindow.audit.pictures import rank_pictures
from shopwindow.audit.ranking import VOTERS, LabelRanking, rank_labels, votes_of_neighbours
from shopwindow.calibration.temperature import fit_temperature
from shopwindow.data.dataset import Dataset
from shopwindow.data.label_sets import allowed_labels
from shopwindow.data.split import connected_groups
from shopwindow.errors import DataError
from shopwindow.probe.backbone import Backbone
from shopwindow.probe.cross_validation import assign_folds, cross_validate
from shopwindow.probe.probe_run import split_or_not

FOLDS = 5
# Of each kind that has no limit, so many of the most extreme.
EXTREMES = 10
# An image is as far from the others as from so many of its neighbours, on average.
_NEAR = 5
_SEED = 42


@dataclass(frozen=True)
class Audit:
    """What is probably wrong in a data set of N images.

    Attributes:
        dataset: The images.
        ranking: Of the main labels.
        neighbours: (N, k) int64, the most similar images of each, the most similar first.
        strangers: The images that are farthest from all others, the farthest first.
        across_labels: Pairs of images with different labels that look most alike.
        across_split: Pairs that look most alike, of which a training learns from one and holds the
            other out; empty where it holds nothing out.
        pictures: The most extreme images of each kind, such as `darkest`.
    """

    dataset: Dataset = field(repr=False)
    ranking: LabelRanking
    neighbours: NDArray[np.int64]
    strangers: list[int]
    across_labels: list[tuple[int, int]]
    across_split: list[tuple[int, int]]
    pictures: dict[str, list[int]]


def audit_dataset(dataset: Dataset, backbone: Backbone, *, progress: bool) -> Audit:
    """Find what is probably wrong in a data set.

    Args:
        dataset: At the size of the backbone's rule.
        backbone: Makes the features, which are kept beside the decoded images.
        progress: Whether to show progress on stderr.

    Raises:
        DataError: All images belong to one group, or have one label.
    """
    main = dataset.label_columns[0]
    allowed = allowed_labels(dataset.codes[main], dataset.sets[main])
    if allowed.shape[1] < 2:
        raise DataError(
            f"expected at least two labels to tell apart, found {allowed.shape[1]}; add images of "
            "something else, or choose another --label-column or a smaller --min-images"
        )
    features = backbone.features_of(dataset, progress=progress)
    copies = dataset.duplicate_groups()
    groups = connected_groups(copies, dataset.groups)
    neighbours, cosines = nearest(directions(features), min(VOTERS, len(dataset) - 1))
    probs = out_of_fold(features, dataset.codes[main], allowed, groups)
    votes = votes_of_neighbours(neighbours, cosines, allowed, copies)
    split = split_or_not(dataset, seed=_SEED)
    held_out = np.isin(np.arange(len(dataset)), split.valid)
    far = cosines[:, :_NEAR].mean(axis=1)
    return Audit(
        dataset,
        rank_labels(probs * votes, allowed),
        neighbours,
        np.argsort(far, kind="stable")[:EXTREMES].tolist(),
        pairs_across(neighbours, cosines, dataset.codes[main]),
        pairs_across(neighbours, cosines, held_out),
        rank_pictures(dataset, EXTREMES),
    )


def out_of_fold(
    features: NDArray[np.float32],
    codes: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    groups: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return (N, C) calibrated probabilities, each by a head that has not learned from the image.

    Args:
        features: (N, D) float32.
        codes: (N,) the labels, by which the folds are balanced.
        allowed: (N, C) bool, what each of them allows.
        groups: (N,) images of one group stay in one fold.

    Raises:
        DataError: All images belong to one group.
    """
    folds = assign_folds(codes, groups, FOLDS, seed=_SEED)
    if len(np.unique(folds)) < 2:
        raise DataError(
            "expected images of at least two groups, found one, so that no image can be judged by "
            "what was learned from others; add images, or leave --group-column out"
        )
    # One fold is enough to choose the penalty by, and all of them would take three times as long.
    chosen = cross_validate(features, allowed, folds, judged=folds[:1]).penalty
    logits = cross_validate(features, allowed, folds, penalties=(chosen,)).logits
    some = allowed.any(axis=1)
    inside = np.where(allowed, logits, -np.inf).argmax(axis=1)
    return _softmax(logits / np.float32(fit_temperature(logits[some], inside[some])))


def pairs_across(
    neighbours: NDArray[np.int64], cosines: NDArray[np.float32], sides: NDArray[np.generic]
) -> list[tuple[int, int]]:
    """Return the pairs of different sides that look most alike, at most `EXTREMES`.

    Args:
        neighbours: (N, k) int64, as from `nearest`.
        cosines: (N, k) float32.
        sides: (N,) such as labels.
    """
    rows, places = np.nonzero(sides[neighbours] != sides[:, None])
    order = np.argsort(-cosines[rows, places], kind="stable")
    pairs: dict[tuple[int, int], None] = {}
    for number in order.tolist():
        if len(pairs) == EXTREMES:
            break
        row = int(rows[number])
        other = int(neighbours[row, places[number]])
        pairs[min(row, other), max(row, other)] = None
    return list(pairs)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    powers = np.exp(wide)
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result
