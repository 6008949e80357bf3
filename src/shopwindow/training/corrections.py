"""What people have put right, as one more source of a training.

All of it is learnt from: there are few, they are what the training is for, and a split of ten
photos would measure nothing. How good the new model is, the held-out images of the other data sets
say, and so no correction may show one of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from shopwindow.data.dataset import Dataset
from shopwindow.data.duplicates import resemble
from shopwindow.data.spec import DataSpec
from shopwindow.data.split import Split
from shopwindow.errors import DataError
from shopwindow.training.mix import ExtraDataset, LoadedExtra

# A correction weighs as much as so many images of the main data set, up to a fifth of a batch.
WEIGHT = 10
MAX_SHARE = 0.2


def open_corrections(
    folder: Path,
    main: Dataset,
    split: Split,
    extras: Sequence[LoadedExtra],
    *,
    batch_size: int,
    cache_dir: Path,
    progress: bool,
) -> LoadedExtra:
    """Read corrections with the labels of the main data set, but none that shows a held-out image.

    Args:
        folder: As `shopwindow feedback export` writes it.
        main: Decides labels and size.
        split: Of `main`.
        extras: The further data sets of the training.
        batch_size: Of which the corrections get at least one image.
        cache_dir: Where the decoded photos are kept; people's photos, so a place of their own.
        progress: Whether to show progress on stderr.

    Returns:
        The corrections, with nothing in the validation part and those that were left out in none.

    Raises:
        DataError: There is none that can be used.
    """
    dataset = DataSpec(folder).load(
        rule=main.rule,
        vocabularies={"label": main.vocabularies[main.label_columns[0]]},
        cache_dir=cache_dir,
        progress=progress,
    )
    held_out = [
        main.image_blocks(split.valid),
        *(extra.dataset.image_blocks(extra.valid) for extra in extras),
    ]
    everything = np.arange(len(dataset), dtype=np.int64)
    shown = resemble(dataset.image_blocks(everything), chain.from_iterable(held_out))
    learned = everything[~shown]
    if not len(learned):
        raise DataError(
            f"{folder}: expected corrections to learn from, but all {len(dataset):,} show images "
            "that were held out to judge the model by; train without --with-feedback"
        )
    share = min(MAX_SHARE, max(WEIGHT * len(learned) / len(split.train), 1 / batch_size))
    nothing = np.empty(0, np.int64)
    return LoadedExtra(
        ExtraDataset(folder, share),
        dataset,
        Split(learned, nothing, "corrections", split.seed, 0.0),
    )
