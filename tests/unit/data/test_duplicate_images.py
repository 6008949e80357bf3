from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from shopwindow.data.cache import open_cache
from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.duplicates import find_duplicates, open_duplicates
from shopwindow.data.spec import DataSpec
from shopwindow.imaging.preprocess import ResizeRule, preprocess

Paint = Callable[..., Image.Image]
RULE = ResizeRule(80, 60)


def stack(pictures: Sequence[Image.Image]) -> NDArray[np.uint8]:
    return np.stack([preprocess(np.asarray(picture), RULE) for picture in pictures])


def as_sets(groups: NDArray[np.int64]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in groups}


def recompressed(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def brighter(picture: Image.Image, by: int) -> Image.Image:
    return Image.fromarray((np.asarray(picture).astype(int) + by).clip(0, 255).astype(np.uint8))


def garment(colour: str, shape: Sequence[tuple[int, int]]) -> Image.Image:
    page = Image.new("RGB", (60, 80), "white")
    ImageDraw.Draw(page).polygon(list(shape), fill=colour)
    return page


TSHIRT = ((12, 15), (48, 15), (58, 28), (50, 36), (46, 30), (46, 65), (14, 65), (14, 30), (2, 30))
TOP = ((18, 10), (42, 10), (44, 30), (48, 68), (12, 68), (16, 30))


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture,
        lambda picture: recompressed(picture, 70),
        lambda picture: picture.resize((240, 320), Image.Resampling.BICUBIC),
        lambda picture: picture.resize((45, 60), Image.Resampling.BICUBIC),
        lambda picture: brighter(picture, 5),
        lambda picture: brighter(picture, -5),
    ],
    ids=["copied", "recompressed", "enlarged", "reduced", "brighter", "darker"],
)
def test_same_picture_is_found_after(
    picture: Paint, change: Callable[[Image.Image], Image.Image]
) -> None:
    pictures = [picture(seed) for seed in range(10)]
    groups = find_duplicates(stack([*pictures, change(pictures[3])]))
    assert as_sets(groups) == {frozenset({3, 10})} | {
        frozenset({index}) for index in range(10) if index != 3
    }
    assert groups.dtype == np.int64
    assert groups[10] == 3, "a group is called after its smallest member"


def test_different_pictures_stay_apart(picture: Paint) -> None:
    groups = find_duplicates(stack([picture(seed) for seed in range(1_200)]))
    assert len(as_sets(groups)) == 1_200


def test_plain_garments_on_white_stay_apart() -> None:
    pictures = [
        garment(colour, shape)
        for colour in ("#101010", "#1a2040", "#a01020", "#f0e8d0", "#20a040")
        for shape in (TSHIRT, TOP)
    ]
    assert len(as_sets(find_duplicates(stack(pictures)))) == len(pictures)


def test_small_things_on_white_stay_apart() -> None:
    pictures = []
    for shape in range(4):
        page = Image.new("RGB", (60, 80), "white")
        draw = ImageDraw.Draw(page)
        for left in (18, 38):
            box = (left, 30, left + 3 + 2 * shape, 36 + 4 * shape)
            (draw.ellipse if shape % 2 else draw.rectangle)(box, outline="#b0b0b8")
        pictures.append(page)
    assert len(as_sets(find_duplicates(stack(pictures)))) == 4


def test_pages_of_very_different_brightness_stay_apart() -> None:
    pages = [Image.new("RGB", (60, 80), (grey,) * 3) for grey in (0, 2, 128, 253, 255)]
    groups = find_duplicates(stack(pages))
    assert as_sets(groups) == {frozenset({0, 1}), frozenset({2}), frozenset({3, 4})}


def test_chain_of_slight_changes_is_not_one_group(picture: Paint) -> None:
    first, last = (np.asarray(picture(seed)).astype(float) for seed in (1, 2))
    shares = np.linspace(0, 1, 120)
    chain = [
        Image.fromarray(((1 - share) * first + share * last).astype(np.uint8)) for share in shares
    ]
    groups = find_duplicates(stack(chain))
    assert np.bincount(groups).max() <= 30
    assert groups[0] != groups[-1]


def test_many_copies_are_one_group(picture: Paint) -> None:
    groups = find_duplicates(stack([picture(1)] * 2_000 + [picture(2)]))
    assert as_sets(groups) == {frozenset(range(2_000)), frozenset({2_000})}


def test_order_of_the_images_plays_no_part(picture: Paint) -> None:
    pictures = [picture(seed) for seed in range(40)]
    images = stack([*pictures, *(recompressed(one, 80) for one in pictures[:20])])
    shuffled = np.random.default_rng(0).permutation(len(images))
    back = {
        frozenset(int(shuffled[index]) for index in group)
        for group in as_sets(find_duplicates(images[shuffled]))
    }
    assert back == as_sets(find_duplicates(images))


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one_have_no_duplicates(count: int) -> None:
    images = np.zeros((count, 8, 8, 3), np.uint8)
    assert find_duplicates(images).tolist() == list(range(count))


@pytest.mark.parametrize("side_px", [4, 16, 37])
def test_images_of_any_size_are_compared(side_px: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, side_px, side_px, 3), dtype=np.uint8)
    images[5] = images[1]
    assert find_duplicates(images).tolist() == [0, 1, 2, 3, 4, 1]


def test_groups_are_kept_beside_the_cache_and_computed_again_when_damaged(
    tmp_path: Path, write_pictures: Callable[..., None], rule: ResizeRule
) -> None:
    write_pictures(tmp_path / "shop", "a/1.png", "a/2.png")
    write_pictures(tmp_path / "shop", "a/3.png")
    cache = open_cache(
        read_catalogue(DataSpec(tmp_path / "shop")), rule, tmp_path / "cache", progress=False
    )
    assert open_duplicates(cache).tolist() == [0, 1, 0]
    (kept,) = cache.folder.glob("duplicates-*.npy")
    np.save(kept, np.array([0, 1, 2]))
    assert open_duplicates(cache).tolist() == [0, 1, 2], "the kept groups are used"
    kept.write_bytes(b"\x93NUMPY")
    assert open_duplicates(cache).tolist() == [0, 1, 0]
