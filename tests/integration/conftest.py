"""What several of these tests share: an empty store for feedback; the catalogue, decoded once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from shopwindow.data.dataset import Dataset, load_dataset
from shopwindow.feedback.opening import open_store
from shopwindow.feedback.store import FeedbackStore
from shopwindow.imaging.preprocess import ResizeRule


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeedbackStore]:
    store = open_store(str(tmp_path / "feedback.sqlite3"))
    yield store
    store.close()


@pytest.fixture(scope="session")
def catalogue_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("catalogue-cache")


@pytest.fixture(scope="session")
def load_catalogue(fashion_catalogue: Path, catalogue_cache: Path) -> Callable[[], Dataset]:
    """Return what loads the catalogue as the bundled model sees it; it decodes all images once."""
    return partial(
        load_dataset,
        fashion_catalogue,
        rule=ResizeRule(160, 120),
        min_images=11,
        label_column="articleType",
        also=("gender", "masterCategory", "subCategory", "baseColour", "season", "usage"),
        cache_dir=catalogue_cache,
        progress=False,
    )


@pytest.fixture(scope="session")
def first_load(load_catalogue: Callable[[], Dataset]) -> tuple[Dataset, float]:
    """The catalogue, and the processor time that it took to decode and load it."""
    started = time.process_time()
    return load_catalogue(), time.process_time() - started
