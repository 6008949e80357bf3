"""How unlike all that a model has learned from an image is: one number, fitted to known images.

Three signs are added up, each in units of its spread over the training images:

- The energy of the answer (Liu et al. 2020, arXiv:2010.03759): how little any label stands out.
- The Mahalanobis distance of the embedding from the training images (Lee et al. 2018,
  arXiv:1807.03888), in its main directions.
- The same for an earlier block of the network, averaged over the image: what the last layer needs
  for no label is gone from the embedding. Here each kind of photo has a centre of its own, and the
  nearest counts.

No image of anything else is needed, so nothing is assumed about what will come. The threshold comes
from held-out images: few of what is known may be called unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import KnownPhotos, Novelty

Floats = NDArray[np.float64]

# Of the held-out images of the main data set, and of each further one, so many may be called
# unknown: further data sets are smaller, and their photos vary more.
MAX_UNKNOWN = 0.01
MAX_UNKNOWN_FURTHER = 0.03
# A kind of photo with fewer images has no say: chance would decide.
MIN_IMAGES = 40
# The weights of both distances beside the energy.
_DISTANCE_WEIGHT = 0.25
# Main directions that are kept, of the embedding and of a block; with 256 of 1,280 in half
# precision, that is 0.7 MB.
_DIRECTIONS, _BLOCK_DIRECTIONS = 256, 128
_IMAGES_PER_DIRECTION = 4
_RIDGE = 0.1  # of the mean variance, added to each
LEAST = 1e-6  # a distance below it is none
_FOLDS = 5


@dataclass(frozen=True)
class Signs:
    """What the network shows of n images of one kind.

    Attributes:
        logits: (n, C) of the main label column, before any temperature.
        embedding: (n, D) of unit length.
        block: (n, B) an earlier block, averaged over the image; B is 0 where there is none.
    """

    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]
    block: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Signs:
        return Signs(self.logits[rows], self.embedding[rows], self.block[rows])


@dataclass(frozen=True)
class Ellipsoid:
    """Where features lie: log of the squared distance from the centre, in units of their spread.

    Attributes:
        centre: (D,) float32.
        directions: (D, K) float32, each divided by the spread along it.
        scale: What the logarithm is multiplied by.
        shift: What is then added; so that the training images have mean 0 and spread 1.
    """

    centre: NDArray[np.float32]
    directions: NDArray[np.float32]
    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, features: NDArray[np.floating]) -> Floats:
        """(n, D) features -> (n,)."""
        across = (features.astype(np.float64) - self.centre) @ self.directions
        logs = np.log(np.maximum((across**2).sum(axis=1), LEAST))
        return np.asarray(logs * self.scale + self.shift, np.float64)


@dataclass(frozen=True)
class NoveltyScore:
    """The sum of the three signs.

    Attributes:
        energy: `scale` and `shift` of the energy.
        embedding: Where embeddings lie.
        blocks: Where blocks lie, for each kind of photo; empty where the network has no block.
        nearest: `scale` and `shift` of the least of these.
    """

    energy: tuple[float, float]
    embedding: Ellipsoid
    blocks: tuple[Ellipsoid, ...]
    nearest: tuple[float, float]

    def __call__(self, signs: Signs) -> Floats:
        """Return the (n,) novelty: 0 in the mean of the training images, higher if less like."""
        scale, shift = self.energy
        total = _energy(signs.logits) * scale + shift + self.embedding(signs.embedding)
        if self.blocks:
            scale, shift = self.nearest
            total += np.min([one(signs.block) for one in self.blocks], axis=0) * scale + shift
        return np.asarray(total, np.float64)


def _energy(logits: NDArray[np.floating]) -> Floats:
    wide = logits.astype(np.float64)
    highest = wide.max(axis=1)
    return np.asarray(-highest - np.log(np.exp(wide - highest[:, None]).sum(axis=1)), np.float64)


def fit_novelty(kinds: Sequence[Signs], weights: Sequence[float]) -> NoveltyScore:
    """Fit the score to images that the model has learned from, or to some like those.

    Args:
        kinds: One for each kind of photo, each of `MIN_IMAGES` or more.
        weights: What the images of each count together, above 0.
    """
    each = np.concatenate(
        [np.full(len(k), w / len(k)) for k, w in zip(kinds, weights, strict=True)]
    )
    each /= each.sum()
    energies = _energy(np.concatenate([kind.logits for kind in kinds]))
    embeddings = np.concatenate([kind.embedding for kind in kinds])
    scale, shift = _standardising(energies, each, 1.0)
    blocks, nearest = [], (0.0, 0.0)
    if kinds[0].block.shape[1]:
        for kind in kinds:
            same = np.full(len(kind), 1 / len(kind))
            blocks.append(_fit_ellipsoid(kind.block, same, _BLOCK_DIRECTIONS, 1.0))
        together = np.concatenate([kind.block for kind in kinds])
        least = np.min([one(together) for one in blocks], axis=0)
        nearest = _standardising(least, each, _DISTANCE_WEIGHT)
    return NoveltyScore(
        (scale, shift),
        _fit_ellipsoid(embeddings, each, _DIRECTIONS, _DISTANCE_WEIGHT),
        tuple(blocks),
        nearest,
    )


def _fit_ellipsoid(
    features: NDArray[np.floating], weights: Floats, most: int, spread: float
) -> Ellipsoid:
    rows = features.astype(np.float64)
    centre = weights @ rows
    across = (rows - centre) * np.sqrt(weights)[:, None]
    variances, axes = np.linalg.eigh(across.T @ across)
    kept = max(1, min(most, len(variances), len(rows) // _IMAGES_PER_DIRECTION))
    variances, axes = np.maximum(variances[::-1][:kept], 0), axes[:, ::-1][:, :kept]
    floor = max(_RIDGE * float((across**2).sum()) / rows.shape[1], 1e-12)
    directions = axes / np.sqrt(variances + floor)
    plain = Ellipsoid(centre.astype(np.float32), directions.astype(np.float32))
    scale, shift = _standardising(plain(rows), weights, spread)
    return Ellipsoid(plain.centre, plain.directions, scale, shift)


def _standardising(values: Floats, weights: Floats, spread: float) -> tuple[float, float]:
    """Return scale and shift by which values get mean 0 and this spread."""
    mean = float(weights @ values)
    scale = spread / max(float(np.sqrt(weights @ (values - mean) ** 2)), 1e-6)
    return scale, -mean * scale


def novelty_out_of_fold(kinds: Sequence[Signs], weights: Sequence[float]) -> list[Floats]:
    """Return the novelty of each image by a score fitted to the others, (n,) for each kind.

    For images of which none is held out; their logits must be out of fold, too.
    """
    random = np.random.default_rng(0)
    folds = [random.permutation(len(kind)) % _FOLDS for kind in kinds]
    found = [np.zeros(len(kind)) for kind in kinds]
    for turn in range(_FOLDS):
        others = [kind[fold != turn] for kind, fold in zip(kinds, folds, strict=True)]
        score = fit_novelty(others, weights)
        for kind, fold, values in zip(kinds, folds, found, strict=True):
            values[fold == turn] = score(kind[fold == turn])
    return found


def measure_novelty(names: Sequence[str], found: Sequence[NDArray[np.floating]]) -> Novelty | None:
    """Return the threshold, and what thresholds of one half of the images do to the other half.

    Args:
        names: Of the data sets, the main one first.
        found: (n,) novelty of images of each; those with fewer than `MIN_IMAGES` have no say.

    Returns:
        None where all are too small.
    """
    sets = [
        (name, MAX_UNKNOWN if number == 0 else MAX_UNKNOWN_FURTHER, values)
        for number, (name, values) in enumerate(zip(names, found, strict=True))
        if len(values) >= MIN_IMAGES
    ]
    if not sets:
        return None
    halves = [np.random.default_rng(0).permutation(len(values)) % 2 == 0 for *_, values in sets]
    crossed = [
        _threshold(
            [
                (most, values[half == side])
                for (_, most, values), half in zip(sets, halves, strict=True)
            ]
        )
        for side in (True, False)
    ]
    known = []
    for (name, _, values), half in zip(sets, halves, strict=True):
        unknown = values > np.where(half, crossed[1], crossed[0])  # by that of the other half
        known.append(KnownPhotos(name, len(values), round(float(unknown.mean()), 5)))
    return Novelty(_threshold([(most, values) for _, most, values in sets]), tuple(known))


def _threshold(sets: Sequence[tuple[float, NDArray[np.floating]]]) -> float:
    """Return the lowest threshold above which no more than the fraction of each set lies."""
    # The highest of the values that are left: with few images, the highest of all.
    limits = [float(np.quantile(values, 1 - most, method="higher")) for most, values in sets]
    # Rounded up in the fourth decimal, as predictions show it.
    return float(np.ceil(max(limits) * 1e4) / 1e4)
