"""Embeddings as a hundred bytes each, so that a million of them can be looked through in memory.

The embeddings are rotated to their principal components, of which the first ones are kept, and each
component is rounded to 8 bits. That finds a few hundred candidates, which are then compared by
their whole embeddings; docs/gallery.md has the recall of both steps together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COMPONENTS = 128
# Embeddings that the components are worked out from; more of them change nothing that matters.
SAMPLE = 20_000
_LARGEST = 127
_LEAST_STEP = 1e-9


@dataclass(frozen=True)
class Compression:
    """How embeddings of D numbers become codes of K bytes.

    Attributes:
        mean: (D,) float32, of all embeddings.
        components: (D, K) float32, the directions in which they differ most, each of length 1.
        steps: (K,) float32 above 0: what 1 stands for in each byte of a code.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    steps: NDArray[np.float32]

    @classmethod
    def fit(cls, embeddings: NDArray[np.float32]) -> Compression:
        """Find the components of a sample.

        Args:
            embeddings: (N, D) float32, at least one. K is `COMPONENTS`, or D where that is less.
        """
        mean = embeddings.mean(0, dtype=np.float64).astype(np.float32)
        centred = embeddings - mean
        # Eigenvectors come with ascending eigenvalues.
        _, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
        components = np.ascontiguousarray(vectors[:, ::-1][:, :COMPONENTS], np.float32)
        widest = np.abs(centred @ components).max(0)
        steps = np.maximum(widest / _LARGEST, _LEAST_STEP).astype(np.float32)
        return cls(mean, components, steps)

    def encode(self, embeddings: NDArray[np.float32]) -> NDArray[np.int8]:
        """Return (N, K) int8 codes of (N, D) float32 embeddings."""
        found = (embeddings - self.mean) @ self.components / self.steps
        return np.clip(np.rint(found), -_LARGEST, _LARGEST).astype(np.int8)

    def similarities(
        self, codes: NDArray[np.int8], embedding: NDArray[np.float32], *, block: int = 8192
    ) -> NDArray[np.float32]:
        """Return (N,) float32, about the dot product of an embedding with each that was encoded.

        NumPy has no quick product of bytes, only of floats: they are made block by block, so that
        they stay in the processor's cache.

        Args:
            codes: (N, K) int8.
            embedding: (D,) float32.
            block: Rows at a time.
        """
        weights = (embedding @ self.components) * self.steps
        found = np.empty(len(codes), np.float32)
        floats = np.empty((min(block, len(codes)), codes.shape[1]), np.float32)
        for start in range(0, len(codes), block):
            part = codes[start : start + block]
            rows = floats[: len(part)]
            np.copyto(rows, part)
            np.dot(rows, weights, out=found[start : start + len(part)])
        found += embedding @ self.mean
        return found


def best(similarities: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Return the positions of the `count` largest, the largest first; the first of equals first."""
    count = min(count, len(similarities))
    if not count:
        return np.zeros(0, np.intp)
    bound = np.partition(similarities, len(similarities) - count)[len(similarities) - count]
    among = np.flatnonzero(similarities >= bound)
    return among[np.argsort(-similarities[among], kind="stable")][:count]
