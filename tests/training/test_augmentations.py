"""Images changed at random: as fastai changes them, only quicker."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from fastai.data.transforms import IntToFloatTensor
from fastai.torch_core import TensorImage
from fasttransform import Pipeline
from torch import Tensor
from torch.nn import functional as F

from shopwindow.training.augmentations import AUGMENTATIONS, build_augmentations


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("size_px", [(80, 60), (32, 48)])
def test_pixels_are_those_of_fastai(name: str, size_px: tuple[int, int]) -> None:
    smooth = F.interpolate(torch.rand(24, 3, 8, 6), size=size_px, mode="bicubic").clamp(0, 1)
    images = (255 * smooth).to(torch.uint8)
    plain = Pipeline([IntToFloatTensor(), *AUGMENTATIONS[name]()])
    plain.split_idx = 0
    expected, changed = seeded(plain, images), seeded(build_augmentations()[name], images)
    assert changed.shape == expected.shape
    assert changed.dtype == torch.float32
    # Rounding moves a coordinate by 1e-5 of a pixel, and by a little more where it is reflected.
    assert (changed - expected).abs().max() < 5e-3
    assert (changed - expected).abs().mean() < 1e-5
    untouched = images.float() / 255
    assert ((changed - untouched).abs().mean((1, 2, 3)) > 0.01).float().mean() > 0.8


def seeded(pipeline: Pipeline, images: Tensor) -> Tensor:
    """Change images with the three generators of fastai where they always are."""
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    return pipeline(TensorImage(images)).as_subclass(Tensor)
