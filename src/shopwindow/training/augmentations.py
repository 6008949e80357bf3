"""How images are changed at random while a network learns from them, a batch at a time."""

from __future__ import annotations

from typing import Any

import torch
from fastai.data.transforms import IntToFloatTensor
from fastai.torch_core import TensorImage
from fastai.vision.augment import Saturation, aug_transforms
from fasttransform import Pipeline, Transform
from torch import Tensor
from torchvision.transforms.v2 import RandomErasing


def standard_augmentations() -> list[Any]:
    """Fastai's standard set: flip, rotation, zoom, warp and light, on whole batches."""
    return list(aug_transforms(max_rotate=10.0, max_zoom=1.1, max_lighting=0.2, max_warp=0.1))


def strong_augmentations() -> list[Any]:
    """More of the same, other saturations, and a rectangle of noise on every second picture.

    For photos that are few, and that would be learnt by heart.
    """
    return [
        *aug_transforms(
            max_rotate=30.0,
            min_zoom=0.8,
            max_zoom=1.6,
            max_lighting=0.4,
            max_warp=0.2,
            p_affine=0.9,
            xtra_tfms=[Saturation(max_lighting=0.5)],
        ),
        Erase(),
    ]


class Erase(Transform):  # type: ignore[misc]
    """torchvision's random erasing (Zhong et al. 2017, arXiv:1708.04896), on whole batches.

    fastai has it too, but takes the same rectangle for all images of a batch. The noise is normal
    (torchvision's "random") and cut off to [0, 1], so most of it is black or white.
    """

    order = 100  # after all that fastai does
    split_idx = 0

    def __init__(self) -> None:
        super().__init__()
        self.erasing = RandomErasing(p=0.5, scale=(0.02, 0.25), value="random")

    def encodes(self, x: TensorImage) -> TensorImage:
        """(B, 3, H, W) float in [0, 1] -> the same, each with a rectangle at a place of its own."""
        images = x.as_subclass(Tensor)
        return TensorImage(torch.stack([self.erasing(image) for image in images]).clamp(0, 1))


AUGMENTATIONS = {"usual": standard_augmentations, "strong": strong_augmentations}


def build_augmentations() -> dict[str, Pipeline]:
    """Return a pipeline for each of `AUGMENTATIONS`.

    They take (B, 3, H, W) uint8 as `TensorImage` and return float32 in [0, 1].
    """
    return {name: _pipeline(augmentations()) for name, augmentations in AUGMENTATIONS.items()}


def _pipeline(augmentations: list[Any]) -> Pipeline:
    pipeline = Pipeline([IntToFloatTensor(), *augmentations])
    pipeline.split_idx = 0
    return pipeline
