"""A small data set that a network can really learn, and a run that was really trained on it."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("torch", reason="training is tested where the training stack is installed")

import torch
import torchvision

from shopwindow.runs import Run, TrainingOptions
from shopwindow.training.fine_tuning import train

COLOURS = {"red": (200, 40, 40), "blue": (40, 60, 200)}


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 drawings of 32 x 32: `shapes.csv` with `file`, `shape` (3), `colour` (2), `one`."""
    folder = tmp_path_factory.mktemp("shapes")
    random = np.random.default_rng(7)
    rows = []
    for number in range(90):
        shape = ("circle", "cross", "square")[number % 3]
        colour = ("red", "blue")[number % 2]
        x, y = (int(v) for v in random.integers(2, 10, 2))
        side = int(random.integers(14, 21))
        image = Image.new("RGB", (32, 32), tuple(int(v) for v in random.integers(200, 256, 3)))
        draw = ImageDraw.Draw(image)
        box = (x, y, x + side, y + side)
        fill = COLOURS[colour]
        if shape == "circle":
            draw.ellipse(box, fill=fill)
        elif shape == "square":
            draw.rectangle(box, fill=fill)
        else:
            draw.line((x, y, x + side, y + side), fill=fill, width=4)
            draw.line((x, y + side, x + side, y), fill=fill, width=4)
        image.save(folder / f"{number:03}.png")
        # A few colours are unknown, as attributes are in real life.
        rows.append((f"{number:03}.png", shape, "" if number % 17 == 0 else colour, "same"))
    with (folder / "shapes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "shape", "colour", "one"), *rows])
    return folder


@pytest.fixture(scope="session")
def shapes_options(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingOptions:
    """Two epochs of `finetune` on the shapes, in a run folder that does not exist yet.

    With a network that timm keeps for tests: it is small, and what it learns is enough.
    """
    return TrainingOptions(
        data=shapes,
        labels_file=Path("shapes.csv"),
        image_column="file",
        label_column="shape",
        also=("colour",),
        recipe="finetune",
        arch="test_efficientnet",
        weights="none",
        epochs=(2,),
        size=(64, 64),
        batch_size=16,
        out=tmp_path_factory.mktemp("runs") / "shapes",
        name="shapes",
        cache_dir=tmp_path_factory.mktemp("cache"),
    )


@pytest.fixture(scope="session")
def shapes_run(shapes_options: TrainingOptions) -> Path:
    """A finished run on the shapes."""
    return train(Run.create(shapes_options))


@pytest.fixture(scope="session")
def resnet18_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a ResNet-18, as people have them in a file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def transfer_options(
    shapes_options: TrainingOptions, resnet18_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> TrainingOptions:
    """Both stages of `transfer`, with a small network from a weight file."""
    return replace(
        shapes_options,
        recipe="transfer",
        arch="resnet18",
        weights=str(resnet18_file),
        epochs=(1, 3),
        size=(32, 32),
        out=tmp_path_factory.mktemp("transfer") / "run",
    )


@pytest.fixture(scope="session")
def transfer_run(transfer_options: TrainingOptions) -> Path:
    """A finished run of `transfer` on the shapes."""
    return train(Run.create(transfer_options))
