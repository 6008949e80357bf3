"""The real catalogue: 44,446 rows, 39,584 photos."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.dataset import Dataset
from shopwindow.data.inspection import summarise_dataset
from shopwindow.data.spec import DataSpec
from shopwindow.data.split import split_images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(first_load: tuple[Dataset, float]) -> Dataset:
    return first_load[0]


def test_every_row_of_the_catalogue_is_accounted_for(fashion_catalogue: Path) -> None:
    catalogue = read_catalogue(
        DataSpec(fashion_catalogue, label_column="articleType", also=("gender",))
    )
    assert len(catalogue) == 39_584
    assert Counter(row.kind for row in catalogue.dropped) == {"no image file": 4_862}


def test_every_image_is_used_or_left_out_with_its_label(dataset: Dataset) -> None:
    assert len(dataset) == 39_399
    assert len(dataset.vocabularies["articleType"]) == 99
    assert np.bincount(dataset.codes["articleType"]).min() == 11
    assert Counter(row.kind for row in dataset.dropped) == {
        "no image file": 4_862,
        "label with too few images": 185,
    }


def test_later_start_takes_no_decoding(
    first_load: tuple[Dataset, float], load_catalogue: Callable[[], Dataset]
) -> None:
    dataset, first_s = first_load
    started = time.process_time()
    again = load_catalogue()
    assert again.references == dataset.references
    # Beside each other, since a busy machine makes both slower, by its processor time too.
    assert time.process_time() - started < first_s / 4


def test_split_keeps_duplicates_together_and_labels_in_proportion(dataset: Dataset) -> None:
    groups = dataset.duplicate_groups()
    sizes = np.bincount(groups)
    assert 600 < (sizes > 1).sum() < 1_000
    assert sizes.max() < 50, "no group has swallowed the plain t-shirts"
    split = split_images(dataset)
    assert not set(groups[split.train]) & set(groups[split.valid])
    codes = dataset.codes["articleType"]
    shares = np.bincount(codes[split.valid]) / np.bincount(codes)
    assert shares.min() > 0.15
    assert shares.max() < 0.25
    assert abs(len(split.valid) / len(dataset) - 0.2) < 0.002


def test_summary_names_what_was_left_out(dataset: Dataset) -> None:
    summary = summarise_dataset(dataset)
    assert "39,399 images by id with 99 labels in articleType" in summary
    assert "4,862  no image file" in summary
