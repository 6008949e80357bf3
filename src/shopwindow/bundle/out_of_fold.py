"""Out-of-fold predictions of the images that a bundle was itself fitted to.

A model of sixty photos learns from all of them; none is held out. So it is graded by
cross-validation: each photo is predicted by a head that had not learned from it. The bundle carries
these predictions. Whoever grades it on its own photos, or compares it with another bundle on them,
gets these instead of what it has memorised.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle.seen import KEY as SEEN
from shopwindow.bundle.training_sample import KEY as TRAINING_SAMPLE
from shopwindow.errors import BundleError

METHOD = "cross-validated"  # of a split, in the metadata
_KEY = "out_of_fold"
# As many probabilities may be kept as make some 3 MB of text.
MAX_ANSWERS = 1_000_000


@dataclass(frozen=True)
class OutOfFoldAnswers:
    """Answers to N images, by heads that had not learned from them.

    Attributes:
        digests: (N,) uint64, `digest_of` the file of each image.
        answers: By label column, (N, C) float32 probabilities.
        folds: In how many parts the images were judged.
    """

    digests: NDArray[np.uint64]
    answers: dict[str, NDArray[np.float32]]
    folds: int

    def as_json(self) -> dict[str, Any]:
        """Return JSON-ready data, to be merged into a bundle's `data`."""
        return {
            _KEY: {
                "folds": self.folds,
                "digests": _text(self.digests.astype("<u8")),
                "answers": {name: _text(a.astype("<f2")) for name, a in self.answers.items()},
            }
        }

    def position_of(self, digest: int) -> int | None:
        """Return where the image of this digest is, or None where the bundle has not seen it."""
        found = np.flatnonzero(self.digests == np.uint64(digest))
        return int(found[0]) if len(found) else None


def read_out_of_fold(
    data: Mapping[str, Any], columns: Sequence[tuple[str, int]]
) -> OutOfFoldAnswers | None:
    """Read what `as_json` wrote; None where a bundle held images out instead.

    Args:
        data: A bundle's `data`.
        columns: Name and number of labels of its label columns.

    Raises:
        BundleError: It is damaged.
    """
    if (record := data.get(_KEY)) is None:
        return None
    try:
        digests = np.frombuffer(base64.b64decode(record["digests"], validate=True), "<u8")
        answers = {}
        for name, labels in columns:
            flat = np.frombuffer(base64.b64decode(record["answers"][name], validate=True), "<f2")
            answers[name] = flat.reshape(len(digests), labels).astype(np.float32)
            if not ((answers[name] >= 0) & (answers[name] <= 1)).all():  # nor NaN
                raise ValueError("probabilities outside 0 to 1")
        return OutOfFoldAnswers(digests.astype(np.uint64), answers, int(record["folds"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleError(
            f"The bundle's metadata are wrong: data.{_KEY}: expected digests and answers, found "
            f"{type(error).__name__} ({error})."
        ) from error


def without_answers(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bundle's `data` for everybody: without answers, digests and embeddings of photos."""
    shown = {key: value for key, value in data.items() if key not in (SEEN, TRAINING_SAMPLE)}
    if isinstance(record := shown.get(_KEY), dict):
        shown[_KEY] = {"folds": record.get("folds")}
    return shown


def _text(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")
