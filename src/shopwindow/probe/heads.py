"""The heads of a linear probe, and what they say about images that they have not learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from shopwindow.bundle.out_of_fold import METHOD as CROSS_VALIDATED
from shopwindow.calibration.regression import LinearHead, fit_head
from shopwindow.data.dataset import Dataset
from shopwindow.data.duplicates import resemble
from shopwindow.data.label_sets import allowed_labels
from shopwindow.data.split import connected_groups
from shopwindow.errors import DataError
from shopwindow.evaluation.asking import Probs, ValidationSet
from shopwindow.probe.cross_validation import PENALTIES, assign_folds, cross_validate
from shopwindow.runs import TrainingOptions
from shopwindow.runs.mix import LoadedExtra, TrainingMix

FOLDS = 5
# Images that are in no fold: learned from in each turn of cross-validation, or in none.
_EACH, _NONE = -1, -2


@dataclass(frozen=True)
class FittedHeads:
    """One head per label column, and the answers that it is judged by.

    Attributes:
        heads: By label column, fitted to all that may be learned from.
        penalty: Of all heads.
        validation_sets: Logits of images that were held out, or out of fold; the main data set
            first.
        folds: Number of folds; fewer than `FOLDS` where there are fewer groups.
    """

    heads: dict[str, LinearHead]
    penalty: float
    validation_sets: list[ValidationSet]
    folds: int


def fit_heads(
    mix: TrainingMix,
    features: list[NDArray[np.float32]],
    options: TrainingOptions,
    *,
    progress: bool,
) -> FittedHeads:
    """Choose the penalty by images that were not learned from, then fit each column.

    Args:
        mix: What to learn from; a main data set that holds nothing out is cross-validated.
        features: (N, D) float32 for each of `mix.datasets`.
        options: Of the training.
        progress: Whether to show progress on stderr.

    Raises:
        DataError: All images belong to one group, so that none can judge the others.
    """
    cross_validated = mix.split.method == CROSS_VALIDATED
    inputs = np.concatenate([f[s.train] for f, s in zip(features, mix.sources, strict=True)])
    codes, weights = mix.targets_and_weights()
    folds, own = _assign(mix, options), len(mix.split.train)
    columns = mix.dataset.label_columns
    heads: dict[str, LinearHead] = {}
    out_of_fold: Probs = {}
    penalty = 0.0
    total = len(PENALTIES) * (FOLDS if cross_validated else 1) + (FOLDS + 1) * len(columns)
    with tqdm(total=total, desc="Fitting", unit=" heads", disable=not progress) as bar:
        for number, (column, sets) in enumerate(zip(columns, mix.sets, strict=True)):
            known = codes[:, number] >= 0
            allowed = allowed_labels(codes[:, number], sets)
            some = known & (folds != _NONE)
            if number == 0 or cross_validated:
                found = cross_validate(
                    inputs[some],
                    allowed[some],
                    folds[some],
                    weights=weights[some],
                    judged=None if cross_validated else np.array([0]),
                    penalties=PENALTIES if number == 0 else (penalty,),
                    step=bar.update,
                )
                if number == 0:
                    penalty = found.penalty
                mine = np.flatnonzero(some[:own])
                out_of_fold[column] = np.zeros((own, allowed.shape[1]), np.float32)
                out_of_fold[column][mine] = found.logits[: len(mine)]
            heads[column] = fit_head(
                inputs[known], allowed[known], penalty=penalty, weights=weights[known]
            )
            bar.update()
        bar.total = bar.n

    def logits_of(dataset: Dataset, indices: NDArray[np.int64]) -> Probs:
        if cross_validated and dataset is mix.dataset:
            return out_of_fold
        rows = next(f for d, f in zip(mix.datasets, features, strict=True) if d is dataset)[indices]
        return {name: head(rows) for name, head in heads.items()}

    validation_sets = mix.validation_sets(options.data.name, logits_of)
    return FittedHeads(heads, penalty, validation_sets, len(np.unique(folds[:own])))


def _assign(mix: TrainingMix, options: TrainingOptions) -> NDArray[np.int64]:
    """Return the (n,) folds of all images to learn from, `_EACH` and `_NONE` among them."""
    dataset, split = mix.dataset, mix.split
    cross_validated = split.method == CROSS_VALIDATED
    groups = np.arange(len(dataset), dtype=np.int64)
    if options.split == "grouped":
        groups = connected_groups(dataset.duplicate_groups(), dataset.groups)
    own = assign_folds(
        dataset.codes[dataset.label_columns[0]][split.train],
        groups[split.train],
        FOLDS,
        seed=options.seed,
    )
    if cross_validated and len(np.unique(own)) < 2:
        raise DataError(
            f"{options.data}: expected images of at least two groups, so that some can test what "
            "was learned from the others, but all of them show one picture or have one value in "
            f"{options.group_column or 'a group column'}; add images, or leave --group-column out"
        )
    # Images of further data sets are learned from in each turn, unless they show one that is
    # judged. Corrections are in none: a photo that was corrected may be one of those.
    further = [
        _unless_judged(extra, mix) if cross_validated else np.full(len(extra.train), _EACH)
        for extra in mix.extras
    ]
    if mix.corrections is not None:
        further.append(np.full(len(mix.corrections.train), _NONE))
    return np.concatenate([own, *further])


def _unless_judged(extra: LoadedExtra, mix: TrainingMix) -> NDArray[np.int64]:
    judged = mix.dataset.image_blocks(mix.split.train)
    shown = resemble(extra.dataset.image_blocks(extra.train), judged)
    return np.where(shown, _NONE, _EACH)
