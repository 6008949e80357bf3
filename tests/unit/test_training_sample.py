"""The sample of training embeddings: small, of all labels alike, and read as it was written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shopwindow.bundle.out_of_fold import without_answers
from shopwindow.bundle.training_sample import (
    KEY,
    MAX_IMAGES,
    choose_sample,
    read_sample,
    sample_record,
    sample_size,
)
from shopwindow.errors import BundleError


def test_sample_is_read_within_one_per_cent_and_at_unit_length() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 1280)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = read_sample(json.loads(json.dumps(sample_record(rows))), 1280)
    assert found is not None
    assert found.shape == rows.shape
    assert np.linalg.norm(found - rows, axis=1).max() < 0.01 * 2
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("width", [3, 1280, 2048, 65_536, 1_000_000])
def test_sample_takes_less_than_400_kb(width: int) -> None:
    count = sample_size(width)
    assert count <= MAX_IMAGES
    text = sample_record(np.ones((count, width), np.float32))[KEY] if count else ""
    assert len(text) < 400_000


def test_each_label_has_its_part_of_the_sample() -> None:
    codes = np.repeat([0, 1, 2], [500, 300, 200])
    chosen = choose_sample(codes, 100, seed=1)
    assert len(set(chosen)) == 100
    counts = np.bincount(codes[chosen])
    assert np.abs(counts - [50, 30, 20]).max() <= 1
    assert len(choose_sample(codes[:7], 100, seed=1)) == 7
    assert len(choose_sample(codes[:0], 100, seed=1)) == 0


def test_bundle_without_sample_or_embedding_has_none() -> None:
    assert read_sample({}, 3) is None
    assert read_sample(sample_record(np.eye(3)), 0) is None


@pytest.mark.parametrize("text", ["AAAAAA==", "AAA=", "é", 7])
def test_damaged_sample_is_one_sentence(text: object) -> None:
    with pytest.raises(BundleError, match=r"data\.training_sample: expected embeddings of 3"):
        read_sample({KEY: text}, 3)


def test_sample_is_not_for_everybody() -> None:
    assert without_answers({"source": "x"} | sample_record(np.eye(3))) == {"source": "x"}
