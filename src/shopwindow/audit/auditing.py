"""Look at a data set with the features of a frozen network, and find what is probably wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shopwindow.audit.neighbours import nearest, unit_length
from shopwindow.audit.pictures import poor_pictures
from shopwindow.audit.ranking import LabelRanking, rank_labels
from shopwindow.calibration.temperature import fit_temperature
from shopwindow.data.dataset import Dataset
from shopwindow.data.label_sets import allowed_labels
from shopwindow.data.split import connected_groups, split_images
from shopwindow.errors import DataError
from shopwindow.probe.backbone import Backbone
from shopwindow.probe.cross_validation import assign_folds, cross_validate

FOLDS = 5
NEIGHBOURS = 6
# Cosine of two features, above which pictures are as good as the same; see docs/audit.md.
NEAR_DUPLICATE = 0.97
# Tukey's inner fence: so many interquartile ranges below the lower quartile.
_FENCE = 1.5
_SEED = 42


@dataclass(frozen=True)
class NearDuplicate:
    """Two images that look the same to the network.

    Attributes:
        first: Index of one.
        second: Index of the other, above `first`.
        cosine: Of their features, at most 1.
        across_labels: Whether their labels differ.
        across_split: Whether one is learned from and the other held out.
    """

    first: int
    second: int
    cosine: float
    across_labels: bool
    across_split: bool


@dataclass(frozen=True)
class Audit:
    """What is probably wrong in a data set of N images.

    Attributes:
        dataset: The images.
        ranking: Of the main labels.
        neighbours: (N, k) int64, the most similar images of each, the most similar first.
        strangers: Indices of images far from all others, the farthest first.
        near_duplicates: Pairs across labels or across the split, the most alike first.
        poor: Index -> what is wrong with the picture.
    """

    dataset: Dataset = field(repr=False)
    ranking: LabelRanking
    neighbours: NDArray[np.int64]
    strangers: NDArray[np.int64]
    near_duplicates: tuple[NearDuplicate, ...]
    poor: dict[int, str]


def audit_dataset(dataset: Dataset, backbone: Backbone, *, progress: bool) -> Audit:
    """Find what is probably wrong in a data set.

    Args:
        dataset: At the size of the backbone's rule.
        backbone: Makes the features, which are kept beside the decoded images.
        progress: Whether to show progress on stderr.

    Raises:
        DataError: All images belong to one group, or have one label.
    """
    features = backbone.features_of(dataset, progress=progress)
    main = dataset.label_columns[0]
    groups = connected_groups(dataset.duplicate_groups(), dataset.groups)
    ranking = audit_labels(features, dataset.codes[main], dataset.sets[main], groups)
    each = np.arange(len(dataset), dtype=np.int64)
    neighbours, cosines = nearest(unit_length(features), min(NEIGHBOURS, len(dataset) - 1), each)
    return Audit(
        dataset,
        ranking,
        neighbours,
        strangers_of(cosines),
        _near_duplicates(dataset, neighbours, cosines),
        poor_pictures(dataset),
    )


def audit_labels(
    features: NDArray[np.float32],
    codes: NDArray[np.int64],
    sets: NDArray[np.bool_],
    groups: NDArray[np.int64],
) -> LabelRanking:
    """Rank labels by a linear probe that has not learned from them.

    Args:
        features: (N, D) float32.
        codes: (N,) the labels, as from `number_labels`.
        sets: (K, C) the table of their sets.
        groups: (N,) images of one group stay in one fold.

    Raises:
        DataError: One group, or one label, which nothing can be compared with.
    """
    allowed = allowed_labels(codes, sets)
    if allowed.shape[1] < 2:
        raise DataError(
            f"expected at least two labels to tell apart, found {allowed.shape[1]}; add images of "
            "something else, or choose another --label-column or a smaller --min-images"
        )
    return rank_labels(out_of_fold(features, codes, allowed, groups), allowed)


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
    found = cross_validate(features, allowed, folds)
    inside = np.where(allowed, found.logits, -np.inf).argmax(axis=1)
    some = allowed.any(axis=1)
    temperature = fit_temperature(found.logits[some], inside[some])
    return _softmax(found.logits / np.float32(temperature))


def strangers_of(cosines: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the images that are far from all others, the farthest first.

    Those whose mean similarity to their nearest neighbours lies below the inner fence of Tukey
    (Exploratory Data Analysis, 1977).

    Args:
        cosines: (N, k) float32, of each image and its nearest neighbours.
    """
    likeness = cosines.mean(axis=1)
    low, high = np.quantile(likeness, [0.25, 0.75])
    found = np.flatnonzero(likeness < low - _FENCE * (high - low))
    order: NDArray[np.int64] = found[np.argsort(likeness[found], kind="stable")]
    return order


def _near_duplicates(
    dataset: Dataset, neighbours: NDArray[np.int64], cosines: NDArray[np.float32]
) -> tuple[NearDuplicate, ...]:
    codes = dataset.codes[dataset.label_columns[0]]
    held_out = _held_out(dataset)
    pairs: dict[tuple[int, int], NearDuplicate] = {}
    for row, column in np.argwhere(cosines >= NEAR_DUPLICATE).tolist():
        first, second = sorted((row, int(neighbours[row, column])))
        labels = bool(codes[first] != codes[second])
        split = bool(held_out[first] != held_out[second])
        if labels or split:
            cosine = min(float(cosines[row, column]), 1.0)
            pairs[first, second] = NearDuplicate(first, second, cosine, labels, split)
    return tuple(sorted(pairs.values(), key=lambda pair: (-pair.cosine, pair.first, pair.second)))


def _held_out(dataset: Dataset) -> NDArray[np.bool_]:
    """Return (N,) whether a training with its usual seed would hold an image out."""
    held_out = np.zeros(len(dataset), np.bool_)
    held_out[split_images(dataset, seed=_SEED).valid] = True
    return held_out


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    powers = np.exp(wide)
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result
