"""A sample of the training photos' embeddings, by which a server sees what its photos are unlike.

It is in the metadata, in 8 bits: at most 350 KB of text, which takes a millisecond to read. The
photos cannot be made from it, nor does it say which they were.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.errors import BundleError

KEY = "training_sample"
MAX_IMAGES = 256
_MAX_BYTES = 260_000  # a third more as text


def sample_size(width: int) -> int:
    """Return of how many images embeddings of `width` numbers are kept."""
    return min(MAX_IMAGES, _MAX_BYTES // max(width, 1))


def choose_sample(codes: NDArray[np.int64], count: int, *, seed: int) -> NDArray[np.int64]:
    """Choose images of which each label has as large a part as it has of all of them.

    Every n-th image in the order of their labels, and within a label by chance.

    Args:
        codes: (N,) of the label of each image.
        count: How many to choose; more than N means all.
        seed: Of the choice.

    Returns:
        Positions from 0 to N - 1.
    """
    random = np.random.default_rng(seed)
    count = min(len(codes), count)
    order = np.lexsort((random.random(len(codes)), codes))
    places = (np.arange(count) + random.random()) * (len(codes) / max(count, 1))
    return order[places.astype(np.int64)]


def sample_record(embeddings: NDArray[np.floating]) -> dict[str, Any]:
    """Return JSON-ready data, to be merged into a bundle's `data`.

    Args:
        embeddings: (M, D) of unit length.
    """
    # Their length is known, so that the scale of a row need not be kept.
    largest = np.maximum(np.abs(embeddings).max(axis=1, keepdims=True), 1e-12)
    levels = np.round(embeddings / largest * 127).astype(np.int8)
    return {KEY: base64.b64encode(levels.tobytes()).decode("ascii")}


def read_sample(data: Mapping[str, Any], width: int) -> NDArray[np.float32] | None:
    """Read what `sample_record` wrote; None in a bundle without it.

    Args:
        data: A bundle's `data`.
        width: D, the numbers of an embedding.

    Returns:
        (M, D) of unit length, within 1 % of what was written.

    Raises:
        BundleError: It is damaged.
    """
    if (text := data.get(KEY)) is None or not width:
        return None
    try:
        levels = np.frombuffer(base64.b64decode(text, validate=True), np.int8)
        rows = levels.reshape(-1, width).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise BundleError(
            f"The bundle's metadata are wrong: data.{KEY}: expected embeddings of {width} numbers, "
            f"found {type(error).__name__} ({error})."
        ) from error
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    found: NDArray[np.float32] = rows / np.maximum(lengths, 1e-12)
    return found
