"""Photos of plain colours, held out of the training of bundles that are right on them, or not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from painting import PAINTS, MakeBundle, write_photo

from colour_bundle import COLOURS, colour_info, write_colour_bundle
from shopwindow.bundle import Bundle, LabelColumn, read_bundle
from shopwindow.data.dataset import Dataset, load_dataset
from shopwindow.data.split import split_images


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPWINDOW_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Folders `red`, `green` and `blue` with 12 photos each."""
    for label, paint in PAINTS.items():
        for number in range(12):
            write_photo(tmp_path / "photos" / label / f"{number:02}.png", paint, number)
    return tmp_path / "photos"


@pytest.fixture
def photo_set(photos: Path) -> Dataset:
    return load_dataset(photos, rule=colour_info().rule, min_images=1, progress=False)


@pytest.fixture
def make_bundle(tmp_path: Path, photo_set: Dataset) -> MakeBundle:
    """Return a function that makes a bundle that has not seen the held-out part of the photos."""

    def make(
        name: str, labels: tuple[str, ...] = tuple(COLOURS), *, seed: int = 1, **changes: Any
    ) -> Bundle:
        split = split_images(photo_set, seed=seed, valid_fraction=0.5)
        info = replace(
            colour_info(),
            name=name,
            columns=(LabelColumn("colour", labels), *colour_info().columns[1:]),
            data={"split": split.as_record(photo_set)},
        )
        metadata = json.dumps(replace(info, **changes).as_json())
        return read_bundle(write_colour_bundle(tmp_path / f"{name}.onnx", metadata=metadata))

    return make
