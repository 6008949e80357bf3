"""Models as others leave them: stock fastai, torchvision and timm, tiny and untrained.

Their last layer is made steep: an untrained network says nearly the same about every photo, and
would hide a wrong resize or a forgotten normalisation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from shopwindow.cli import main

LABELS = ("coat", "dress", "hat", "shoe", "skirt")


def write_photos(folder: Path, count: int) -> list[Path]:
    """Pictures of several shapes, smooth with some grain, as photos are."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        random = np.random.default_rng(number)
        height, width = (int(side) for side in random.integers(70, 220, 2))
        coarse = Image.fromarray(random.integers(0, 256, (5, 4, 3), np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        grain = random.integers(-15, 16, (height, width, 3))
        path = folder / f"{LABELS[number % len(LABELS)]}_{number:03}.png"
        Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(path)
        paths.append(path)
    return paths


def make_steep(model: nn.Module, size: int = 96) -> nn.Module:
    """Make answers differ from photo to photo; the model comes back in evaluation mode."""
    torch.manual_seed(1)
    photos = F.interpolate(torch.randn(24, 3, 5, 5), (size, size), mode="bicubic")
    *_, last = (one for one in model.modules() if isinstance(one, nn.Linear))
    with torch.no_grad():
        for one in model.modules():
            if hasattr(one, "reset_parameters"):
                one.reset_parameters()  # the same weights in every run
            if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d):
                one.momentum = 1.0  # the statistics of these photos, at once
        model.train()(photos)
        scores = model.eval()(photos)
        steepness = 3 / scores.std(dim=0).mean()
        bias = torch.zeros(len(last.weight)) if last.bias is None else last.bias
        last.bias = nn.Parameter((bias - scores.mean(dim=0)) * steepness)
        last.weight *= steepness
    return model


def write_labels(folder: Path, labels: tuple[str, ...] = LABELS) -> Path:
    path = folder / "labels.txt"
    path.write_text("\n".join(labels) + "\n")
    return path


def run(*arguments: str | Path) -> int:
    """The command line in this process: torch takes seconds to load."""
    return main([str(argument) for argument in arguments])
