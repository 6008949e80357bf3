"""Whether an older model has learned from images that are to judge a new one."""

from __future__ import annotations

from collections.abc import Sequence

from shopwindow.bundle import Bundle
from shopwindow.dataset.dataset import Dataset
from shopwindow.dataset.split import Split


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
