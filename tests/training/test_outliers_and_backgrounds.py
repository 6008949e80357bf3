"""Pictures of nothing, and items put before something else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import max_pool2d

from shopwindow.imaging.preprocess import ResizeRule
from shopwindow.training.backgrounds import ground_mask, replace_ground, widened
from shopwindow.training.outliers import KINDS, draw_outliers


@pytest.fixture
def items() -> torch.Tensor:
    """Three pictures of 40 x 30: a grey ring on white, nothing but white, nothing but grey."""
    pictures = torch.ones(3, 3, 40, 30)
    pictures[0, :, 10:30, 8:22] = 0.4
    pictures[0, :, 16:24, 12:18] = 1.0  # the hole is white, but not connected with the edge
    pictures[2] = 0.4
    return pictures


def test_same_seed_draws_the_same_pictures() -> None:
    rule = ResizeRule(24, 18)
    first, again = draw_outliers(20, rule, seed=5), draw_outliers(20, rule, seed=5)
    assert first.shape == (20, 24, 18, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, draw_outliers(20, rule, seed=6))
    assert len({picture.tobytes() for picture in first}) == 20


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_draws_in_any_size(kind) -> None:
    for seed, size in enumerate([(8, 8), (80, 60), (60, 107)]):
        picture = kind(np.random.default_rng(seed), *size)
        assert picture.shape == (*size, 3)
        assert picture.std() > 0


def test_ground_is_the_white_that_reaches_the_edge(items: torch.Tensor) -> None:
    ground = ground_mask(items)[:, 0]
    assert ground[0, 0, 0] == 1
    assert ground[0, 12, 10] == 0, "the item"
    assert ground[0, 20, 15] == 0, "the hole in it"
    assert ground[1].all()
    assert not ground[2].any()


def test_ground_is_found_behind_corners() -> None:
    picture = torch.full((1, 3, 20, 20), 0.3)
    picture[..., :, 2:5] = 1.0  # a lane from edge to edge
    picture[..., 10:13, 2:9] = 1.0  # and one off it, which is seen from no edge
    assert ground_mask(picture)[0, 0, 11, 8] == 1


@pytest.mark.parametrize("size_px", [(7, 5), (1, 6), (80, 60)])
def test_mask_widens_by_a_pixel_in_all_directions(size_px: tuple[int, int]) -> None:
    torch.manual_seed(0)
    mask = (torch.rand(5, 1, *size_px) < 0.2).float()
    assert torch.equal(widened(mask), max_pool2d(mask, 3, 1, 1))


def test_item_stays_and_the_white_around_it_goes(items: torch.Tensor) -> None:
    torch.manual_seed(0)
    images = in_bytes(items)
    grounds = torch.zeros(3, 3, 40, 30, dtype=torch.uint8)
    grounds[:, 2] = 255  # blue
    pasted = replace_ground(images, grounds, 1.0)
    assert pasted[0, :, 0, 0].tolist() == [0, 0, 255]
    grey = (pasted[0].int() - 102).abs().amax(0) < 5
    assert 40 < grey.sum() < 20 * 14 * 1.5, "the item is there, moved and scaled"
    assert torch.equal(pasted[1:], images[1:]), "no item, or no ground: left as they are"


def test_share_decides_how_many_are_pasted(items: torch.Tensor) -> None:
    torch.manual_seed(0)
    many = in_bytes(items[:1]).repeat(200, 1, 1, 1)
    grounds = torch.zeros_like(many)
    assert torch.equal(replace_ground(many, grounds, 0.0), many)
    changed = (replace_ground(many, grounds, 0.3) != many).flatten(1).any(1)
    assert 35 <= int(changed.sum()) <= 85


def in_bytes(images: torch.Tensor) -> torch.Tensor:
    """[0, 1] -> uint8."""
    return (255 * images).round().to(torch.uint8)
