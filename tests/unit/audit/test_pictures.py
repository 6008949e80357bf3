"""The most extreme pictures come first, and where all are alike there are none."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from shopwindow.audit.pictures import rank_pictures
from shopwindow.data.dataset import load_dataset
from shopwindow.imaging.preprocess import ResizeRule


def test_extremes_are_named_and_ties_are_not(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(3):
            image = Image.new("RGB", (40, 40), (200, 200 - number, 0))
            image.paste((0, 0, 0), (10, 10, 20, 20))
            image.save(tmp_path / "photos" / label / f"{number}.png")
    Image.new("RGB", (40, 40), (3, 3, 3)).save(tmp_path / "photos" / "b" / "3.png")
    Image.new("RGB", (40, 200), (200, 0, 0)).save(tmp_path / "photos" / "b" / "4.png")
    dataset = load_dataset(
        tmp_path / "photos", rule=ResizeRule(32, 32), cache_dir=tmp_path / "cache", progress=False
    )
    found = rank_pictures(dataset, 2)
    flat, long = map(dataset.references.index, ("b/3.png", "b/4.png"))
    assert found["darkest"][0] == flat
    assert found["least detailed"][0] == flat
    assert found["longest or widest"] == [long]
    assert found["smallest"] == []
