"""What a bundle has seen in its training: the digests of the images, and which were held out.

By them it is known what may judge it, wherever the images lie now and whatever they are called.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.errors import BundleError

KEY = "seen"


@dataclass(frozen=True)
class SeenImages:
    """The images of all data sets of a training, by `digest_of` their files.

    Those to which the bundle carries answers out of fold are not among them.

    Attributes:
        learned: (n,) uint64, what it has learned from.
        held_out: (m,) uint64, what it was judged by.
    """

    learned: NDArray[np.uint64]
    held_out: NDArray[np.uint64]

    def as_json(self) -> dict[str, Any]:
        """Return JSON-ready data, to be merged into a bundle's `data`: 11 bytes an image."""
        return {KEY: {"learned": _text(self.learned), "held_out": _text(self.held_out)}}


def read_seen(data: Mapping[str, Any]) -> SeenImages | None:
    """Read what `as_json` wrote; None in a bundle that does not say, such as an imported one.

    Args:
        data: A bundle's `data`.

    Raises:
        BundleError: It is damaged.
    """
    if (record := data.get(KEY)) is None:
        return None
    try:
        parts = [base64.b64decode(record[part], validate=True) for part in ("learned", "held_out")]
        learned, held_out = (np.frombuffer(part, "<u8").astype(np.uint64) for part in parts)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"The bundle's metadata are wrong: data.{KEY}: expected digests of images, found "
            f"{type(error).__name__} ({error})."
        ) from error
    return SeenImages(learned, held_out)


def _text(digests: NDArray[np.uint64]) -> str:
    # In order, and once each: nothing but which images they were.
    return base64.b64encode(np.unique(digests).astype("<u8").tobytes()).decode("ascii")
