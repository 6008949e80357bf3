"""Whether photos are farther from those of the training than chance explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_PHOTOS = 20
MAX_PHOTOS = 2000
CHANCE = 0.01
_PERMUTATIONS = 999
_ITERATIONS = 30
_AT_ONCE = 111  # permutations; a divisor of their number

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Drift:
    """How far n photos are from the training sample.

    Attributes:
        distance: The energy distance of the two, 0 or more; no unit.
        bound: What it stays below in 99 of 100 cases if both are from the same photos.
        apart: (n,) the distance of each photo from its nearest one of the sample, 0 to 2.
        places: (n, 2) float32, the photos on a map, 0 to 1.
        sample_places: (m, 2) float32, the training sample on the same map.
    """

    distance: float
    bound: float
    apart: NDArray[np.float32]
    places: NDArray[np.float32]
    sample_places: NDArray[np.float32]

    @property
    def ratio(self) -> float:
        """The distance divided by its bound: above 1, chance does not explain it."""
        return self.distance / self.bound

    @property
    def found(self) -> bool:
        """Whether the photos are farther away than chance explains."""
        return self.ratio > 1


def measure_drift(photos: Floats, sample: Floats) -> Drift | None:
    """Compare the embeddings of photos with a sample of those of the training.

    The energy distance (Székely, Rizzo 2013, doi:10.1016/j.jspi.2013.03.018) is 0 for equal
    distributions alone. Its bound is that of a permutation test: the photos of both sides are
    mixed and parted anew, always in the same 999 ways, and it is exceeded by 1 % of them. That
    takes the photos for independent: many by one visitor count as more than they say.

    Args:
        photos: (n, D) of unit length, up to `MAX_PHOTOS`: time and memory grow with n squared.
        sample: (m, D) of unit length.

    Returns:
        None where n or m is below `MIN_PHOTOS`: too few to say.
    """
    n, m = len(photos), len(sample)
    if min(n, m) < MIN_PHOTOS:
        return None
    both = np.concatenate([photos, sample]).astype(np.float32)
    distances = np.sqrt(np.maximum(2 - 2 * (both @ both.T), 0))
    np.fill_diagonal(distances, 0)  # which rounding leaves above 0
    side = np.arange(n + m) < n
    distance = float(_energy(distances, side[:, None])[0])
    random = np.random.default_rng(0)
    by_chance = [
        _energy(distances, random.permuted(np.tile(side, (_AT_ONCE, 1)), axis=1).T)
        for _ in range(_PERMUTATIONS // _AT_ONCE)
    ]
    # Of 999 permutations and the truth, ten are 1 %.
    everything = np.sort(np.append(np.concatenate(by_chance), distance))
    bound = float(everything[-1 - round(CHANCE * len(everything))])
    places = _map(both)
    return Drift(
        max(distance, 0.0),
        max(bound, 1e-9),  # photos that are all the same
        distances[:n, n:].min(axis=1),
        places[:n],
        places[n:],
    )


def _energy(distances: Floats, sides: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the energy distance of the two sides for each way (column) to part the rows."""
    signs = sides.astype(np.float32)
    weights = signs / signs.sum(axis=0) - (1 - signs) / (1 - signs).sum(axis=0)
    found: NDArray[np.float64] = -(weights * (distances @ weights)).sum(axis=0, dtype=np.float64)
    return found


def _map(embeddings: Floats) -> NDArray[np.float32]:
    """Return (N, 2), the first two principal components, each axis from 0 to 1 at one scale."""
    centred = embeddings - embeddings.mean(axis=0)
    # By subspace iteration: all components of 1,280 numbers would take seconds.
    axes = np.random.default_rng(0).normal(size=(centred.shape[1], 4)).astype(np.float32)
    for _ in range(_ITERATIONS):
        axes, _ = np.linalg.qr(centred.T @ (centred @ axes))
    *_, turned = np.linalg.svd(centred @ axes, full_matrices=False)
    chosen = (axes @ turned.T)[:, :2]
    # An axis may point either way: always the same, so that the map does not flip by the month.
    largest = np.abs(chosen).argmax(axis=0)
    chosen = chosen * np.sign(chosen[largest, np.arange(chosen.shape[1])])
    places = np.zeros((len(centred), 2), np.float32)
    places[:, : chosen.shape[1]] = centred @ chosen
    low, high = places.min(axis=0), places.max(axis=0)
    middle, span = (low + high) / 2, max(float((high - low).max()), 1e-9)
    scaled: NDArray[np.float32] = ((places - middle) / span + 0.5).astype(np.float32)
    return scaled
