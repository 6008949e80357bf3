"""The answers that a cross-validated bundle carries for the images that it has learned from."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from shopwindow.bundle.out_of_fold import OutOfFoldAnswers, read_out_of_fold
from shopwindow.errors import BundleError
from shopwindow.imaging.formats import digest_of

COLUMNS = [("kind", 3), ("colour", 2)]


@pytest.fixture
def answers() -> OutOfFoldAnswers:
    rng = np.random.default_rng(1)
    return OutOfFoldAnswers(
        np.array([digest_of(b"one"), digest_of(b"two"), 2**64 - 1, 0], np.uint64),
        {name: rng.dirichlet(np.ones(wide), 4).astype(np.float32) for name, wide in COLUMNS},
        5,
    )


def test_what_was_written_is_read_again(answers: OutOfFoldAnswers) -> None:
    found = read_out_of_fold(answers.as_json(), COLUMNS)
    assert found is not None
    np.testing.assert_array_equal(found.digests, answers.digests)
    assert found.folds == 5
    for name, _ in COLUMNS:
        assert found.answers[name].dtype == np.float32
        np.testing.assert_allclose(found.answers[name], answers.answers[name], atol=1e-3)


def test_image_is_found_by_the_bytes_of_its_file(answers: OutOfFoldAnswers) -> None:
    found = read_out_of_fold(answers.as_json(), COLUMNS)
    assert found is not None
    assert found.position_of(digest_of(b"two")) == 1
    assert found.position_of(2**64 - 1) == 2
    assert found.position_of(digest_of(b"another")) is None


def test_digest_is_the_head_of_a_sha256() -> None:
    assert f"{digest_of(b'x'):016x}" == hashlib.sha256(b"x").hexdigest()[:16]


def test_bundle_that_held_images_out_carries_none() -> None:
    assert read_out_of_fold({"source": "photos"}, COLUMNS) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"digests": "not base64!"},
        {"digests": "AAAA"},  # three bytes, where each digest has eight
        {"digests": 5},
        {"answers": {"kind": "AAAA"}},
        {"answers": {}},
        {"answers": "none"},
        {"folds": "many"},
        {"folds": None},
    ],
)
def test_damaged_answers_are_refused(answers: OutOfFoldAnswers, damage: dict[str, Any]) -> None:
    (key,) = record = answers.as_json()
    record[key] |= damage
    with pytest.raises(BundleError, match=f"data.{key}: expected digests and answers"):
        read_out_of_fold(record, COLUMNS)


@pytest.mark.parametrize("record", ["text", [], 3, {}])
def test_answers_of_another_kind_are_refused(record: object) -> None:
    with pytest.raises(BundleError, match="expected digests and answers"):
        read_out_of_fold({"out_of_fold": record}, COLUMNS)


def test_answers_for_other_labels_are_refused(answers: OutOfFoldAnswers) -> None:
    with pytest.raises(BundleError, match="expected digests and answers"):
        read_out_of_fold(answers.as_json(), [("kind", 4), ("colour", 2)])


def test_answers_that_are_no_numbers_are_refused(answers: OutOfFoldAnswers) -> None:
    answers.answers["kind"][1, 1] = np.nan
    with pytest.raises(BundleError, match="expected digests and answers"):
        read_out_of_fold(answers.as_json(), COLUMNS)
