"""What judges a model, it must not have learned: from other data sets, or in a training before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from shopwindow.bundle import Bundle
from shopwindow.data.dataset import Dataset
from shopwindow.data.duplicates import resemble
from shopwindow.data.split import Split
from shopwindow.errors import DataError
from shopwindow.training.mix import LoadedExtra


def keep_apart(
    dataset: Dataset, split: Split, extras: Sequence[LoadedExtra]
) -> tuple[LoadedExtra, ...]:
    """Leave out of further data sets what would be learned here and judged by there.

    A picture may be in several data sets, such as in last year's photos and in all photos. What
    one holds out, another may not teach; what one teaches, another may not be judged by.

    Args:
        dataset: The main data set; it keeps all its images.
        split: Of it.
        extras: The further ones; of two of them, the first keeps its images.

    Raises:
        DataError: A data set that loses all images of a side so.
    """
    kept: list[LoadedExtra] = []
    for extra in extras:
        others = [(dataset, split.train, split.valid)]
        others += [(one.dataset, one.train, one.valid) for one in kept]
        taught = chain.from_iterable(one.image_blocks(train) for one, train, _ in others)
        held_out = chain.from_iterable(one.image_blocks(valid) for one, _, valid in others)
        images, train, valid = extra.dataset.image_blocks, extra.split.train, extra.split.valid
        elsewhere = [
            train[resemble(images(train), held_out)],
            valid[resemble(images(valid), taught)],
        ]
        kept.append(replace(extra, elsewhere=np.concatenate(elsewhere)))
        for part, left, why in (
            ("to learn from", kept[-1].train, "hold out"),
            ("to be judged by", kept[-1].valid, "learn from"),
        ):
            if not len(left):
                raise DataError(
                    f"{extra.spec.data}: expected images {part}, but all of them show what the "
                    f"other data sets {why}; bring images that those do not have"
                )
    return tuple(kept)


def find_other_split(bundle: Bundle, parts: Sequence[tuple[str, Dataset, Split]]) -> str | None:
    """Return the name of a data set of which other images were held out for an older model.

    Args:
        bundle: The older model; it recorded the names and splits of its data sets.
        parts: Name, images and split of the data sets of a new training.

    Returns:
        None where there is none, as far as the names tell.
    """
    data = bundle.info.data
    also = data.get("also")
    records = [data, *(also if isinstance(also, list) else [])]
    digests: dict[object, set[object]] = {}  # two data sets may have folders of the same name
    for record in records:
        match record:
            case {"source": source, "split": {"digest": digest}}:
                digests.setdefault(source, set()).add(digest)
    for name, dataset, split in parts:
        if name in digests and split.digest(dataset) not in digests[name]:
            return name
    return None
