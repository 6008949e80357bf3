"""Items photographed on white, put in front of something else.

Catalogue photos show one item on white; people's photos show it on a floor, a bed or a door. A
network that has only seen white learns the outline against white. "Copy-paste" of objects onto
other grounds is old (Dwibedi, Misra, Hebert 2017, arXiv:1708.01642); where the ground is white, the
mask comes for free: it is the white that is connected with the edge of the picture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

WHITE = 0.92  # of 1: JPEG leaves no pure white around an item
# Pictures whose ground is not white, or that would leave nearly nothing, are left as they are.
MIN_GROUND, MAX_GROUND = 0.1, 0.95
_CORNER_STEPS = 4


def ground_mask(images: Tensor) -> Tensor:
    """Say which pixels are the white ground, connected with the edge of the picture.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].

    Returns:
        (B, 1, H, W) float, 1 for ground and 0 for the item.
    """
    white = (images.amin(1, keepdim=True) > WHITE).float()
    ground = torch.zeros_like(white)
    for axis in (-1, -2):
        # Straight in from both edges, as far as it is white.
        ground = torch.maximum(ground, white.cumprod(axis))
        ground = torch.maximum(ground, white.flip(axis).cumprod(axis).flip(axis))
    # And round the corner from there. Whole mazes are not worth their time.
    for _ in range(_CORNER_STEPS):
        ground = widened(ground) * white
    return ground


def widened(mask: Tensor) -> Tensor:
    """(..., H, W) -> the same: the greatest of each pixel and its eight neighbours.

    As `F.max_pool2d(mask, 3, 1, 1)`, which notes where it found each and takes ten times as long.
    """
    for axis in (-1, -2):
        length = mask.shape[axis] - 1
        wide = mask.clone()
        before, behind = wide.narrow(axis, 0, length), wide.narrow(axis, 1, length)
        torch.maximum(before, mask.narrow(axis, 1, length), out=before)
        torch.maximum(behind, mask.narrow(axis, 0, length), out=behind)
        mask = wide
    return mask


def replace_ground(images: Tensor, grounds: Tensor, share: float) -> Tensor:
    """Put some of the items, moved, turned and scaled, in front of other grounds.

    Draws from PyTorch's generator, on the processor.

    Args:
        images: (B, 3, H, W) uint8, RGB.
        grounds: (B, 3, H, W) uint8, RGB, one for each image.
        share: Of the images that get another ground, 0 to 1; those without a white ground never do.

    Returns:
        (B, 3, H, W) uint8, RGB.
    """
    chosen = torch.rand(len(images)) < share
    placing = _random_placing(len(images))
    if not chosen.any():
        return images
    rows = chosen.nonzero()[:, 0].to(images.device)
    items, behind = (pixels[rows].contiguous().float() / 255 for pixels in (images, grounds))
    ground = ground_mask(items)
    covered = ground.mean((1, 2, 3))
    fits = (covered > MIN_GROUND) & (covered < MAX_GROUND)
    # One pixel of the item's edge is mixed with white: it goes with the ground.
    alpha = 1 - widened(ground)
    layer = torch.cat([items * alpha, alpha], 1)
    grid = F.affine_grid(placing[chosen].to(items.device), list(layer.shape), align_corners=False)
    moved = F.grid_sample(layer, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    pasted = (255 * (moved[:, :3] + (1 - moved[:, 3:]) * behind)).round().to(torch.uint8)
    result = images.clone()
    result[rows] = torch.where(fits.view(-1, 1, 1, 1), pasted, images[rows])
    return result


def _random_placing(count: int) -> Tensor:
    """Return (count, 2, 3) affine matrices: scale 0.6 to 1.2, turn up to 30 degrees, shift."""
    zoom = 1 / torch.empty(count).uniform_(0.6, 1.2)
    angle = torch.empty(count).uniform_(-math.pi / 6, math.pi / 6)
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    shift = torch.empty(2, count).uniform_(-0.2, 0.2)
    rows = [torch.stack([cos, -sin, shift[0]], 1), torch.stack([sin, cos, shift[1]], 1)]
    return torch.stack(rows, 1)
