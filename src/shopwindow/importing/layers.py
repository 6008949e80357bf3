"""Layers before and after an imported network, so that bytes become probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ImportedNetwork(nn.Module):
    """Preparation, network and softmax."""

    def __init__(self, steps: Sequence[nn.Module], model: nn.Module) -> None:
        super().__init__()
        self.steps = nn.Sequential(*steps)
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) -> float32 (N, C) probabilities."""
        logits = self.model(self.steps(images.permute(0, 3, 1, 2)))
        return torch.softmax(logits, dim=1)


class Divided(nn.Module):
    """Bytes as floats, divided."""

    def __init__(self, divisor: float) -> None:
        super().__init__()
        self.divisor = divisor

    def forward(self, x: Tensor) -> Tensor:
        """uint8 (N, 3, H, W) -> float32 of the same shape."""
        return x.float() / self.divisor


class Normalised(nn.Module):
    """(x - mean) / std, per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.detach().cpu().float().reshape(1, -1, 1, 1))
        self.register_buffer("std", std.detach().cpu().float().reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> the same shape."""
        return (x - self.mean) / self.std


class Reversed(nn.Module):
    """RGB as BGR."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> the same shape."""
        return x.flip(1)


class OneNumber(nn.Module):
    """The single logit of two labels as two logits, whose softmax is its sigmoid."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1) -> (N, 2)."""
        return torch.cat([torch.zeros_like(x), x], dim=1)
