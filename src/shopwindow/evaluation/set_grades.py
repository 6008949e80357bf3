"""How often prediction sets hold the right label, and how large they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.evaluation.grades import wilson_interval


@dataclass(frozen=True, slots=True)
class SetGrades:
    """The prediction sets of some of the images.

    Attributes:
        of: Which images: "all", "sure", "not sure", or those that the bundle takes for a kind.
        images: How many of them have a label and a set, 1 or more.
        held: How many of these sets hold the label.
        mean_size: The mean number of labels in them.
    """

    of: str
    images: int
    held: int
    mean_size: float

    @property
    def share(self) -> float:
        """The fraction of sets that hold the label, 0 to 1."""
        return self.held / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `share` for this many images, 0 to 1 each."""
        return wilson_interval(self.held, self.images)

    def as_json(self) -> dict[str, Any]:
        """Return JSON-ready data, in the shape that docs/evaluation.md promises."""
        return {
            "of": self.of,
            "images": self.images,
            "held": round(self.share, 6),
            "held_interval_95": [round(edge, 6) for edge in self.interval],
            "mean_size": round(self.mean_size, 4),
        }


def grade_sets(
    probabilities: NDArray[np.floating],
    targets: NDArray[np.integer],
    sizes: NDArray[np.integer],
    parts: Mapping[str, NDArray[np.bool_]],
) -> tuple[SetGrades, ...]:
    """Grade the sets of each part of the images.

    Args:
        probabilities: (N, C), as in `metrics`.
        targets: (N,) true codes; those below 0 have none and are left out.
        sizes: (N,) how many labels, most probable first, are in the set; 0 where there is none.
        parts: By name, (N,) which images.

    Returns:
        A row for each part that has images with a label and a set.
    """
    rank = np.argsort(-probabilities, axis=1, kind="stable").argsort(axis=1)
    held = rank[np.arange(len(targets)), np.maximum(targets, 0)] < sizes
    graded = (targets >= 0) & (sizes > 0)
    return tuple(
        SetGrades(of, int(some.sum()), int(held[some].sum()), float(sizes[some].mean()))
        for of, some in ((of, part & graded) for of, part in parts.items())
        if some.any()
    )
