"""What the loader of a training costs, and how stock fastai compares.

    python benchmarks/training.py DATA [--labels styles.csv --image-column id ...]

Times single training steps on three feeds, a few at a time in turns, so that what else the machine
does falls on all of them alike: tensors that are there already (the bare limit), our loader, and
fastai's own `ImageDataLoaders.from_df` with the same augmentations. Our loader's one-time decoding
of the images comes before the clock starts.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastai.torch_core import default_device
from fastai.vision.augment import PadMode, Resize, ResizeMethod
from fastai.vision.data import ImageDataLoaders
from torch import Tensor
from torch.nn import functional as F

from sections import machine, publish, table
from shopwindow.data.dataset import Dataset, load_dataset
from shopwindow.data.split import Split, split_images
from shopwindow.imaging.preprocess import ResizeRule
from shopwindow.runs.mix import combine
from shopwindow.training.augmentations import standard_augmentations
from shopwindow.training.columns_learner import mixed_precision
from shopwindow.training.loaders import build_loaders
from shopwindow.training.network import build_classifier

ARCH, SIZE_PX = "tf_efficientnet_lite0", (160, 120)
Feed = Iterator[tuple[Tensor, Tensor]]


def main() -> None:
    """Time the three feeds, and print a table."""
    options = parse()
    dataset = load_dataset(
        options.data,
        rule=ResizeRule(*SIZE_PX),
        labels_file=options.labels,
        image_column=options.image_column,
        label_column=options.label_column,
        min_images=11,  # as the figures in docs/benchmarks.md were made
    )
    split = split_images(dataset)
    text = compare_steps(dataset, split, options)
    publish(text, options.write, "training")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="a data set, as for shopwindow train")
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--image-column")
    parser.add_argument("--label-column")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5, help="turns that each feed gets")
    parser.add_argument("--batches", type=int, default=6, help="training steps in a turn")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    return parser.parse_args()


def compare_steps(dataset: Dataset, split: Split, options: argparse.Namespace) -> str:
    """Return a table of images per second for the three feeds, as Markdown."""
    device = default_device()
    step = training_step(dataset, device)
    ours = forever(our_loaders(dataset, split, options.batch_size, device).train)
    stock = forever(stock_loaders(dataset, split, options.batch_size, device).train)
    ready = next(ours)
    feeds: dict[str, Feed] = {
        "the same step on tensors that are there": itertools.repeat(ready),
        "our loader": ours,
        "stock fastai, `ImageDataLoaders.from_df`": stock,
    }
    for feed in feeds.values():
        step(*next(feed))  # starts worker processes, and chooses kernels
    seconds: dict[str, list[float]] = {name: [] for name in feeds}
    for _ in range(options.rounds):
        for name, feed in feeds.items():
            started = time.perf_counter()
            for images, targets in itertools.islice(feed, options.batches):
                step(images, targets)
            seconds[name].append(time.perf_counter() - started)
    images = options.batch_size * options.batches
    limit = next(iter(seconds.values()))
    rows = [
        [
            name,
            f"{images / statistics.median(own):,.0f}",
            # Turn by turn: both turns of a round saw the same neighbours on the machine.
            f"{statistics.median(a / b for a, b in zip(limit, own, strict=True)):.3f}",
        ]
        for name, own in seconds.items()
    ]
    return (
        f"## Training: what the loader costs\n\n`{ARCH}` at {SIZE_PX[0]}x{SIZE_PX[1]}, "
        f"batches of {options.batch_size}, {options.rounds} turns of {options.batches} steps each, "
        f"on {device.type} ({machine()}); medians.\n\n"
        + table(["feed", "images/s", "of the limit"], rows)
    )


def network(dataset: Dataset) -> torch.nn.Module:
    """Return the network that `finetune` trains, for the main label column."""
    labels = dataset.vocabularies[dataset.label_columns[0]]
    model, _ = build_classifier(ARCH, [len(labels)], size_px=SIZE_PX)
    return model.to(memory_format=torch.channels_last)


def training_step(dataset: Dataset, device: torch.device) -> Callable[[Tensor, Tensor], None]:
    """Return one step of training: forward, backward, update; it ends when the device is done."""
    model = network(dataset).to(device)
    optimiser = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    precise = not mixed_precision(device, model)

    def step(images: Tensor, targets: Tensor) -> None:
        images = images.as_subclass(Tensor).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=not precise):
            logits = model(images)
        # Our loader's targets have one column, fastai's have none.
        F.cross_entropy(logits.float(), targets.as_subclass(Tensor).flatten()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def our_loaders(dataset: Dataset, split: Split, batch_size: int, device: torch.device) -> Any:
    """Return the loaders of a training."""
    return build_loaders(combine(dataset, split), batch_size, seed=1, device=device)


def stock_loaders(dataset: Dataset, split: Split, batch_size: int, device: torch.device) -> Any:
    """Return fastai's own loaders on the same images, sizes and augmentations."""
    main = dataset.label_columns[0]
    held_out = set(split.valid.tolist())
    frame = pd.DataFrame(
        {
            "file": dataset.references,
            "label": [dataset.vocabularies[main][code] for code in dataset.codes[main]],
            "valid": [index in held_out for index in range(len(dataset))],
        }
    )
    return ImageDataLoaders.from_df(
        frame,
        dataset.catalogue.source.root,
        valid_col="valid",
        fn_col="file",
        label_col="label",
        item_tfms=Resize(SIZE_PX, ResizeMethod.Pad, PadMode.Border),
        batch_tfms=standard_augmentations(),
        bs=batch_size,
        val_bs=2 * batch_size,  # as ours
        device=device,
    )


def forever(loader: Any) -> Feed:
    """Yield batches, epoch after epoch."""
    while True:
        yield from loader


if __name__ == "__main__":
    main()
