"""Drawings of 64 x 64 that a backbone tells apart at once, and tables of them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("circle", "cross", "square")
COLOURS = {"red": (200, 40, 40), "blue": (40, 60, 200)}


def draw(shape: str, colour: str, seed: int) -> Image.Image:
    """A shape somewhere on a pale, grainy ground: another seed, another picture."""
    random = np.random.default_rng(seed)
    ground = random.integers(190, 256, 3) + random.integers(-12, 13, (64, 64, 3))
    image = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    x, y, side = (int(n) for n in random.integers((4, 4, 26), (24, 24, 38)))
    box = (x, y, x + side, y + side)
    pen = ImageDraw.Draw(image)
    if shape == "circle":
        pen.ellipse(box, fill=COLOURS[colour])
    elif shape == "square":
        pen.rectangle(box, fill=COLOURS[colour])
    else:
        pen.line(box, fill=COLOURS[colour], width=7)
        pen.line((x, y + side, x + side, y), fill=COLOURS[colour], width=7)
    return image


def write_drawings(folder: Path, count: int, *, first_seed: int = 0) -> list[dict[str, str]]:
    """Draw shapes and colours in turn; return `file`, `shape`, `colour` of each."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        shape, colour = SHAPES[number % 3], tuple(COLOURS)[number // 3 % 2]
        draw(shape, colour, first_seed + number).save(folder / f"{number:03}.png")
        rows.append({"file": f"{number:03}.png", "shape": shape, "colour": colour})
    return rows


def write_table(path: Path, rows: Iterable[dict[str, str]]) -> Path:
    """Write rows of the same columns as a CSV."""
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
