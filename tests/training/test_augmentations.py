"""Images changed at random: as fastai changes them, only quicker."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from fastai.data.transforms import IntToFloatTensor
from fastai.torch_core import TensorImage
from fastai.vision.augment import aug_transforms
from fasttransform import Pipeline
from torch import Tensor
from torch.nn import functional as F

from shopwindow.runs.mix import AUGMENTATION_NAMES
from shopwindow.training.augmentations import AUGMENTATIONS, Project, build_augmentations


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("size_px", [(80, 60), (32, 48)])
def test_pixels_are_those_of_fastai(name: str, size_px: tuple[int, int]) -> None:
    torch.manual_seed(4)
    smooth = F.interpolate(torch.rand(24, 3, 8, 6), size=size_px, mode="bicubic")
    # Neither 0 nor 255: there float32 has no exact logit, in fastai no more than here.
    images = (255 * smooth.clamp(0.02, 0.98)).to(torch.uint8)
    plain = Pipeline([IntToFloatTensor(), *AUGMENTATIONS[name]()])
    plain.split_idx = 0
    expected, changed = seeded(plain, images), seeded(build_augmentations()[name], images)
    assert changed.shape == expected.shape
    assert changed.dtype == torch.float32
    assert (changed - expected).abs().max() < 1e-4
    untouched = images.float() / 255
    assert ((changed - untouched).abs().mean((1, 2, 3)) > 0.01).float().mean() > 0.8


def test_black_and_white_stay_near_those_of_fastai() -> None:
    torch.manual_seed(5)
    images = 255 * (torch.rand(24, 3, 80, 60) < 0.5).to(torch.uint8)
    plain = Pipeline([IntToFloatTensor(), *AUGMENTATIONS["strong"]()])
    plain.split_idx = 0
    expected, changed = seeded(plain, images), seeded(build_augmentations()["strong"], images)
    assert (changed - expected).abs().max() < 0.05
    assert (changed - expected).abs().mean() < 1e-4


@pytest.mark.parametrize("asked", [{"size": 32}, {"mode": "nearest"}, {"align_corners": False}])
def test_what_would_be_computed_otherwise_is_refused(asked: dict[str, Any]) -> None:
    drawn = aug_transforms(**asked)[0]
    with pytest.raises(ValueError, match="expected no size, bilinear and aligned corners"):
        Project(drawn)


def seeded(pipeline: Pipeline, images: Tensor) -> Tensor:
    """Change images with the three generators of fastai where they always are."""
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    return pipeline(TensorImage(images)).as_subclass(Tensor)


def test_augmentations_have_the_names_that_an_extra_data_set_may_ask_for() -> None:
    assert tuple(AUGMENTATIONS) == AUGMENTATION_NAMES
