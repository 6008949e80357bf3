"""Compressed embeddings find the same neighbours as whole ones, in less room."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from shopwindow.gallery.compression import COMPONENTS, Compression, best


def unit_vectors(count: int, width: int, *, seed: int = 0, rank: int = 24) -> NDArray[np.float32]:
    """Make vectors that, like embeddings, differ in fewer directions than they have numbers."""
    rng = np.random.default_rng(seed)
    basis = np.random.default_rng(99).standard_normal((rank, width))
    vectors = rng.standard_normal((count, rank)) @ basis + 3 * basis[0]
    vectors += 0.01 * rng.standard_normal(vectors.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_similarities_are_dot_products_but_for_the_rounding() -> None:
    vectors, photo = unit_vectors(500, 300), unit_vectors(1, 300, seed=1)[0]
    compression = Compression.fit(vectors)
    codes = compression.encode(vectors)
    assert codes.shape == (500, COMPONENTS)
    assert codes.dtype == np.int8
    np.testing.assert_allclose(compression.similarities(codes, photo), vectors @ photo, atol=5e-3)


@pytest.mark.parametrize("block", [1, 7, 500, 8192])
def test_blocks_of_any_size_give_the_same(block: int) -> None:
    vectors = unit_vectors(501, 40)
    compression = Compression.fit(vectors)
    codes = compression.encode(vectors)
    found = compression.similarities(codes, vectors[3], block=block)
    np.testing.assert_allclose(found, vectors @ vectors[3], atol=5e-3)


def test_fewer_numbers_than_components_are_all_kept() -> None:
    vectors = unit_vectors(9, 3, rank=3)
    compression = Compression.fit(vectors)
    assert compression.encode(vectors).shape == (9, 3)


def test_a_single_embedding_can_be_compressed() -> None:
    vectors = unit_vectors(1, 30)
    compression = Compression.fit(vectors)
    codes = compression.encode(vectors)
    np.testing.assert_allclose(compression.similarities(codes, vectors[0]), [1], atol=1e-3)


def test_the_sample_does_not_limit_what_can_be_encoded() -> None:
    """One that lies further out than any of the sample gets the largest code, not a wrapped one."""
    compression = Compression.fit(np.eye(4, dtype=np.float32)[:2] * 0.01)
    codes = compression.encode(np.eye(4, dtype=np.float32)[:2] * 5)
    assert np.abs(codes).max() == 127
    assert (np.sign(codes[0, 0]), np.sign(codes[1, 0])) in {(1, -1), (-1, 1)}


@pytest.mark.parametrize("count", [1, 3, 10, 50])
def test_the_best_come_in_order_and_of_equals_the_first(count: int) -> None:
    similarities = np.random.default_rng(2).integers(0, 5, 40).astype(np.float32)
    expected = np.argsort(-similarities, kind="stable")[:count]
    np.testing.assert_array_equal(best(similarities, count), expected)


def test_of_nothing_there_is_no_best() -> None:
    assert best(np.zeros(0, np.float32), 6).tolist() == []
