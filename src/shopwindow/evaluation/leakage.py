"""Which images of a data set a bundle has learned from, and which may grade it.

A bundle knows the images of its training by the digests of their files, so that neither their names
nor their folder matter. Older bundles know them by their names and the seed of a split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import Bundle
from shopwindow.bundle.out_of_fold import OutOfFoldAnswers, read_out_of_fold
from shopwindow.bundle.seen import read_seen
from shopwindow.data.dataset import Dataset
from shopwindow.data.split import Split, split_images
from shopwindow.errors import DataError, ShopwindowError, UsageError
from shopwindow.plain_text import counted

Part = Literal["valid", "all"]


@dataclass(frozen=True)
class Exposure:
    """Which of N images a bundle saw in its training, as far as it says.

    Attributes:
        learned: (N,) bool, it has learned from them.
        out_of_fold: (N,) bool, some of those: it carries out-of-fold predictions for them.
        held_out: (N,) bool, they measured it. No image is both this and `learned`.
        knows_all: Whether it is certain that all other images are new to it.
    """

    learned: NDArray[np.bool_]
    out_of_fold: NDArray[np.bool_]
    held_out: NDArray[np.bool_]
    knows_all: bool

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(N,) bool, the images of the training."""
        return self.learned | self.held_out

    @property
    def validation(self) -> NDArray[np.bool_]:
        """(N,) bool, the images of the training that may grade it."""
        return self.out_of_fold | self.held_out

    @property
    def fair(self) -> NDArray[np.bool_]:
        """(N,) bool, all images that may grade it."""
        return self.validation | ~self.learned if self.knows_all else self.validation


def exposure_of(bundle: Bundle, dataset: Dataset) -> Exposure:
    """Return which images of a data set a bundle saw in its training.

    Args:
        bundle: Made by `shopwindow train`; any other does not say what it saw.
        dataset: Any data set; for bundles without digests, read as for their training.

    Raises:
        BundleError: What it says is damaged.
    """
    carried, seen = out_of_fold_answers(bundle), read_seen(bundle.info.data)
    out_of_fold = np.zeros(len(dataset), np.bool_)
    if carried is not None:
        out_of_fold = np.isin(dataset.digests, carried.digests)
    if seen is not None:
        learned = np.isin(dataset.digests, seen.learned) | out_of_fold
        held_out = np.isin(dataset.digests, seen.held_out) & ~learned
        return Exposure(learned, out_of_fold, held_out, knows_all=True)
    learned, held_out = out_of_fold.copy(), np.zeros(len(dataset), np.bool_)
    for record in _records(bundle):
        if (split := find_split(bundle, dataset, record.get("split"))) is not None:
            learned[split.train] = True
            held_out[split.valid] = True
    data = bundle.info.data
    is_all = carried is not None and not data.get("also") and not data.get("corrections")
    held_out &= ~out_of_fold
    return Exposure(learned & ~held_out, out_of_fold, held_out, knows_all=is_all)


def choose_images(
    dataset: Dataset, bundle: Bundle, part: Part | None
) -> tuple[NDArray[np.int64], str, list[str]]:
    """Return which images to grade, the same in words, and what a reader must know about it.

    Raises:
        UsageError: `part` is `valid`, and none of the images was held out of the training.
        DataError: The bundle has learned from all of them.
    """
    exposure = exposure_of(bundle, dataset)
    chosen = np.ones(len(dataset), np.bool_)
    if part == "valid":
        chosen = exposure.validation
        if not chosen.any():
            raise UsageError(
                "--part valid: expected images that were held out of the model's training, found "
                "none (an older model knows them only by the names, labels and options of its "
                "training); without --part valid, all images are graded"
            )
    elif part is None and (exposure.knows_all or exposure.seen.any()):
        chosen = exposure.fair
        if not chosen.any():
            raise DataError(
                f"expected images that {bundle.info.name} has not learned from, found "
                f"{len(chosen):,} that it has (by the content of their files); give other images"
            )
    images, left = int(chosen.sum()), len(chosen) - int(chosen.sum())
    total = counted(len(chosen), "image")
    text = f"{images:,} of {total}" if left else f"all {total}"
    if exposure.held_out.any() and np.array_equal(chosen, exposure.held_out):
        split = bundle.info.data.get("split")
        how = f" ({split.get('method')} split, seed {split.get('seed')})" if split else ""
        text = f"the validation part: {text}{how}"
        left = 0  # which is what the text says
    return np.flatnonzero(chosen), text, _notes(bundle, exposure, chosen, left)


def _notes(bundle: Bundle, exposure: Exposure, chosen: NDArray[np.bool_], left: int) -> list[str]:
    """Say what a reader must know about the chosen images, and about those that were left out."""
    notes = []
    if cross_validated := int((exposure.out_of_fold & chosen).sum()):
        notes.append(
            f"the model was trained on {cross_validated:,} of these images; they are graded by "
            "cross-validation: each prediction is from a model that had not seen the image"
        )
    if biased := int((exposure.learned & ~exposure.out_of_fold & chosen).sum()):
        notes.append(f"the model learned from {biased:,} of these images, so the grade is too good")
    if left and exposure.knows_all:
        notes.append(f"{counted(left, 'image')} not graded, as the model has learned from them")
    elif left:
        notes.append(
            f"{counted(left, 'image')} not graded, as the model may have learned from them, and "
            "carries no out-of-fold predictions for them"
        )
    if exposure.knows_all and not exposure.seen.any():
        notes.append(
            f"none of these files is one of the {_count(bundle):,} that the model was trained on; "
            "if they show the same pictures anyway, the grade is too good"
        )
    elif not exposure.knows_all and not exposure.seen.any():
        notes.append(
            "not the whole data that the model was trained on: all images were graded, and if it "
            "learned from some of them, the grade is too good"
        )
    return notes


def _count(bundle: Bundle) -> int:
    """Count the images of the training that a bundle knows by their digests."""
    carried, seen = out_of_fold_answers(bundle), read_seen(bundle.info.data)
    count = 0 if carried is None else len(carried.digests)
    return count if seen is None else count + len(seen.learned) + len(seen.held_out)


def out_of_fold_answers(bundle: Bundle) -> OutOfFoldAnswers | None:
    """Return what a cross-validated bundle carries; None of one that held images out.

    Raises:
        BundleError: It is damaged.
    """
    columns = [(column.name, len(column.labels)) for column in bundle.info.columns]
    return read_out_of_fold(bundle.info.data, columns)


def find_split(bundle: Bundle, dataset: Dataset, record: object) -> Split | None:
    """Return a split of the training, or None if this is not the data that was split.

    Args:
        bundle: If it knows its images by content, they must be the same ones.
        dataset: Read as for the training, at the same size.
        record: What the bundle recorded of the split.
    """
    try:
        match record:
            case {"method": method, "seed": seed, "valid_fraction": fraction, "digest": digest}:
                split = split_images(dataset, valid_fraction=fraction, seed=seed, method=method)
                if split.digest(dataset) != digest:
                    return None
                seen = read_seen(bundle.info.data)
                known = seen is None or np.isin(dataset.digests[split.valid], seen.held_out).all()
                return split if known else None
    except (ShopwindowError, TypeError, ValueError):
        pass  # data that cannot be split so, or a record that this version does not understand
    return None


def recorded_sources(bundle: Bundle) -> list[object]:
    """Return the names of the data sets that a bundle learned from."""
    return [record.get("source") for record in _records(bundle)]


def _records(bundle: Bundle) -> list[dict[str, Any]]:
    also = bundle.info.data.get("also")
    further = also if isinstance(also, list) else []
    return [record for record in (bundle.info.data, *further) if isinstance(record, dict)]
