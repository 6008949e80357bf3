"""The features of a data set: those of the frozen network, computed once and kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shopwindow.data.dataset import Dataset, load_dataset
from shopwindow.errors import BundleError
from shopwindow.inference.engine import Engine
from shopwindow.probe.backbone import Backbone, bundled_backbone_path, open_backbone

Read = Callable[..., Dataset]


class Counting:
    """An engine that notes how many images it is given, and may be stopped after some."""

    def __init__(self, engine: Engine, *, stop_after: int | None = None) -> None:
        self.engine, self.stop_after = engine, stop_after
        self.images = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def run(self, images_nhwc: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        if images_nhwc.any():  # an empty one only asks how many features there are
            if self.stop_after is not None and self.images >= self.stop_after:
                raise KeyboardInterrupt
            self.images += len(images_nhwc)
        return self.engine.run(images_nhwc)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return open_backbone(engine="onnxruntime")


@pytest.fixture
def read(tmp_path: Path, backbone: Backbone) -> Read:
    """Write 40 pictures of two labels, and return a function that reads the folder."""
    rng = np.random.default_rng(1)
    for number in range(40):
        path = tmp_path / "photos" / ("odd" if number % 2 else "even") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        squares = Image.fromarray(rng.integers(1, 256, (6, 6, 3), np.uint8))
        squares.resize((64, 64), Image.Resampling.BICUBIC).save(path)

    def load(**options: Any) -> Dataset:
        return load_dataset(
            tmp_path / "photos",
            rule=backbone.rule,
            cache_dir=tmp_path / "cache",
            progress=False,
            **options,
        )

    return load


def counting(backbone: Backbone, **options: Any) -> tuple[Backbone, Counting]:
    engine = Counting(backbone.engine, **options)
    return replace(backbone, engine=engine), engine


def test_features_are_those_of_the_images_in_their_order(backbone: Backbone, read: Read) -> None:
    dataset = read()
    found = backbone.features_of(dataset, progress=False)
    expected = backbone.features(dataset.images(range(40)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.005, rtol=0.001)


def test_features_are_computed_once(backbone: Backbone, read: Read) -> None:
    watched, engine = counting(backbone)
    first = watched.features_of(read(), progress=False)
    assert engine.images == 40
    np.testing.assert_array_equal(watched.features_of(read(), progress=False), first)
    assert engine.images == 40


def test_stopped_embedding_goes_on_with_the_rows_that_are_missing(
    backbone: Backbone, read: Read
) -> None:
    stopped, _ = counting(backbone, stop_after=32)
    with pytest.raises(KeyboardInterrupt):
        stopped.features_of(read(), progress=False)
    watched, engine = counting(backbone)
    found = watched.features_of(read(), progress=False)
    assert engine.images == 8
    expected = backbone.features(read().images(range(40)))
    np.testing.assert_allclose(found, expected, atol=0.005, rtol=0.001)


def test_images_that_are_left_out_of_a_data_set_are_not_computed(
    backbone: Backbone, read: Read, tmp_path: Path
) -> None:
    for extra in (tmp_path / "photos" / "even").glob("0[0-6].png"):
        extra.unlink()
    watched, engine = counting(backbone)
    some = read(min_images=17)
    assert some.vocabularies == {"label": ("odd",)}
    assert watched.features_of(some, progress=False).shape[0] == engine.images == 20
    everything = watched.features_of(read(), progress=False)
    assert engine.images == len(everything) == 36


def test_another_network_has_features_of_its_own(backbone: Backbone, read: Read) -> None:
    dataset = read()
    backbone.features_of(dataset, progress=False)
    other, engine = counting(replace(backbone, model=backbone.model + b"\0"))
    other.features_of(dataset, progress=False)
    assert engine.images == 40


@pytest.mark.parametrize("damage", [b"", b"no array at all"])
def test_damaged_file_of_features_is_made_anew(
    backbone: Backbone, read: Read, tmp_path: Path, damage: bytes
) -> None:
    first = backbone.features_of(read(), progress=False)
    (path,) = (tmp_path / "cache").rglob("features-*.npy")
    path.write_bytes(damage)
    np.testing.assert_array_equal(backbone.features_of(read(), progress=False), first)


def test_file_of_features_goes_with_the_images_it_belongs_to(
    backbone: Backbone, read: Read, tmp_path: Path
) -> None:
    backbone.features_of(read(), progress=False)
    (images,) = (tmp_path / "cache").rglob("images.npy")
    assert [path.name for path in images.parent.glob("*features*")] == [
        f"features-{backbone.sha256[:16]}.npy"
    ]
    # As if nobody had opened it for a year: the next data set clears it away.
    for path in images.parent.iterdir():
        os.utime(path, (0, 0))
    os.utime(images.parent, (0, 0))
    other = tmp_path / "other"
    for label in ("a", "b"):
        (other / label).mkdir(parents=True)
        for number in range(2):
            paint = (40 * number, 90, 200 if label == "a" else 30)
            Image.new("RGB", (20, 20), paint).save(other / label / f"{number}.png")
    load_dataset(other, rule=backbone.rule, cache_dir=tmp_path / "cache", progress=False)
    assert not images.parent.exists()


def test_backbone_that_comes_along_says_where_it_comes_from(backbone: Backbone) -> None:
    assert backbone.name == "EfficientNet-Lite0"
    assert "ImageNet" in backbone.weights
    assert backbone.features(np.zeros((2, 192, 192, 3), np.uint8)).shape == (2, 1280)


@pytest.mark.parametrize("content", [b"", b"no ONNX", None, "headless"])
def test_damaged_backbone_is_refused(
    content: bytes | str | None, tmp_path: Path, colour_bundle: Path
) -> None:
    path = tmp_path / "backbone.onnx"
    if content == "headless":  # a model, but none of ours
        path.write_bytes(colour_bundle.read_bytes())
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(BundleError, match="expected the ImageNet backbone that comes with"):
        open_backbone(path)


def test_half_a_backbone_is_refused(tmp_path: Path) -> None:
    whole = bundled_backbone_path().read_bytes()
    path = tmp_path / "backbone.onnx"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match="install shopwindow again"):
        open_backbone(path)
