"""Random changes to the training images, a batch at a time.

fastai draws the changes. The two transforms that all images pass are computed here instead, with
the same result within rounding in a third of the time.
"""

from __future__ import annotations

from typing import Any

import torch
from fastai.data.transforms import IntToFloatTensor
from fastai.torch_core import TensorImage
from fastai.vision.augment import (
    AffineCoordTfm,
    LightingTfm,
    Saturation,
    aug_transforms,
    find_coeffs,
)
from fasttransform import Pipeline, Transform
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import RandomErasing


def standard_augmentations() -> list[Any]:
    """Fastai's standard set: flip, rotation, zoom, warp and light, on whole batches."""
    return list(aug_transforms(max_rotate=10.0, max_zoom=1.1, max_lighting=0.2, max_warp=0.1))


def strong_augmentations() -> list[Any]:
    """More of the same, saturation, and a rectangle of noise on every second image.

    For a few photos that are seen often, and would be memorised.
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


class Project(AffineCoordTfm):  # type: ignore[misc]
    """fastai's flips, rotations, zooms and warps, as one projective map for each image.

    fastai applies the affine map to a grid of coordinates, and then the warp to all of them. The
    product of both matrices, a homography, does the same in one step.

    Args:
        drawn: fastai's transform, which draws the maps.

    Raises:
        ValueError: It changes the size, or interpolates in another way.
    """

    def __init__(self, drawn: AffineCoordTfm) -> None:
        asked = (drawn.size, drawn.mode, drawn.align_corners)
        if asked != (None, "bilinear", True):
            raise ValueError(f"expected no size, bilinear and aligned corners, got {asked}")
        super().__init__(drawn.aff_fs, drawn.coord_fs, pad_mode=drawn.pad_mode, align_corners=True)

    def encodes(self, x: TensorImage) -> TensorImage:
        """(B, 3, H, W) float -> the same."""
        last_row = x.new_tensor([0.0, 0.0, 1.0]).expand(len(x), 1, 3)
        maps = torch.cat([self.mat.as_subclass(Tensor), last_row.as_subclass(Tensor)], 1)
        for warp in self.coord_fs:
            entries = find_coeffs(warp.orig_pts, warp.targ_pts).as_subclass(Tensor)[..., 0]
            maps = torch.cat([entries, torch.ones_like(entries[:, :1])], 1).view(-1, 3, 3) @ maps
        images = x.as_subclass(Tensor)
        grid = _projected_grid(maps, images.shape[-2], images.shape[-1])
        return TensorImage(F.grid_sample(images, grid, "bilinear", self.pad_mode, True))


def _projected_grid(maps: Tensor, height: int, width: int) -> Tensor:
    """(B, 3, 3) homographies of coordinates in [-1, 1] -> (B, H, W, 2), x and y for each pixel."""
    xs = torch.linspace(-1, 1, width, device=maps.device)
    ys = torch.linspace(-1, 1, height, device=maps.device)[:, None]
    # Row by row of the matrix: its dot product with (x, y, 1) at every pixel.
    across, down, depth = (
        (maps[:, row, 1, None, None] * ys + maps[:, row, 2, None, None])
        + maps[:, row, 0, None, None] * xs
        for row in range(3)
    )
    depth.reciprocal_()
    return torch.stack([across.mul_(depth), down.mul_(depth)], -1)


class Light(LightingTfm):  # type: ignore[misc]
    """fastai's brightness, contrast and saturation, with PyTorch's own logit and in place."""

    def __init__(self, drawn: LightingTfm) -> None:
        super().__init__(drawn.fs)

    def encodes(self, x: TensorImage) -> TensorImage:
        """(B, 3, H, W) float in [0, 1] -> the same."""
        logits = torch.logit(x.as_subclass(Tensor), eps=1e-7)  # the eps is fastai's
        for change in self.fs:
            logits = change(logits)
        return TensorImage(logits.sigmoid_())


class Erase(Transform):  # type: ignore[misc]
    """torchvision's random erasing (Zhong et al. 2017, arXiv:1708.04896), on whole batches.

    fastai's uses the same rectangle for all images of a batch. The noise is normal (torchvision's
    "random") and clipped to [0, 1], so most of it is black or white.
    """

    order = 100  # after all that fastai does
    split_idx = 0

    def __init__(self) -> None:
        super().__init__()
        self.erasing = RandomErasing(p=0.5, scale=(0.02, 0.25), value="random")

    def encodes(self, x: TensorImage) -> TensorImage:
        """(B, 3, H, W) float in [0, 1] -> the same, each with a rectangle in another place."""
        images = x.as_subclass(Tensor)
        return TensorImage(torch.stack([self.erasing(image) for image in images]).clamp(0, 1))


AUGMENTATIONS = {"usual": standard_augmentations, "strong": strong_augmentations}


def build_augmentations() -> dict[str, Pipeline]:
    """Return a pipeline for each of `AUGMENTATIONS`.

    They take (B, 3, H, W) uint8 as `TensorImage` and return float32 in [0, 1].
    """
    return {
        name: _pipeline([_quicker(augmentation) for augmentation in augmentations()])
        for name, augmentations in AUGMENTATIONS.items()
    }


def _quicker(drawn: Any) -> Any:
    if isinstance(drawn, AffineCoordTfm):
        return Project(drawn)
    return Light(drawn) if isinstance(drawn, LightingTfm) else drawn


def _pipeline(augmentations: list[Any]) -> Pipeline:
    pipeline = Pipeline([IntToFloatTensor(), *augmentations])
    pipeline.split_idx = 0
    return pipeline
