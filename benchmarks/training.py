"""How fast training is: what the loader costs, and how stock fastai compares.

    python benchmarks/training.py DATA [--labels styles.csv --image-column id ...]
    python benchmarks/training.py DATA ... --target 0.87 --epochs 16

The first form times single training steps on three feeds, a few at a time in turns, so that what
else the machine does falls on all of them alike: tensors that are there already (the bare limit),
our loader, and fastai's own `ImageDataLoaders.from_df` with the same augmentations. The second form
trains twice, with our loader and with fastai's, the same network for the same number of epochs, and
says when each passed the target.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastai.callback.core import Callback
from fastai.callback.schedule import Learner  # with fit_one_cycle
from fastai.metrics import accuracy
from fastai.optimizer import SGD
from fastai.torch_core import default_device
from fastai.vision.augment import PadMode, Resize, ResizeMethod
from fastai.vision.data import ImageDataLoaders
from torch import Tensor
from torch.nn import functional as F

from sections import machine, table, write_section
from shopwindow.dataset.dataset import Dataset, load_dataset
from shopwindow.dataset.split import Split, split_images
from shopwindow.imaging.preprocess import ResizeRule
from shopwindow.training.augmentations import standard_augmentations
from shopwindow.training.callbacks import mixed_precision
from shopwindow.training.loaders import build_loaders
from shopwindow.training.mixture import mix
from shopwindow.training.network import build_classifier

SIZE_PX = (80, 60)
NAME = "training"
Feed = Iterator[tuple[Tensor, Tensor]]


def main() -> None:
    """Time what the command line asks for, and print a table."""
    options = parse()
    dataset = load_dataset(
        options.data,
        rule=ResizeRule(*SIZE_PX),
        labels_file=options.labels,
        image_column=options.image_column,
        label_column=options.label_column,
    )
    split = split_images(dataset)
    if options.target is None:
        text = compare_steps(dataset, split, options)
    else:
        text = compare_trainings(dataset, split, options)
    print(text)
    if options.write:
        write_section(options.write, NAME if options.target is None else f"{NAME}-time", text)


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
    parser.add_argument("--target", type=float, help="accuracy to reach, 0 to 1; trains twice")
    parser.add_argument("--epochs", type=int, default=16, help="of each training")
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
        f"## Training: what the loader costs\n\n`small_resnet` at {SIZE_PX[0]}x{SIZE_PX[1]}, "
        f"batches of {options.batch_size}, {options.rounds} turns of {options.batches} steps each, "
        f"on {device.type} ({machine()}); medians.\n\n"
        + table(["feed", "images/s", "of the limit"], rows)
    )


def compare_trainings(dataset: Dataset, split: Split, options: argparse.Namespace) -> str:
    """Return a table of the time that two trainings took to the target, as Markdown."""
    device = default_device()
    rows: list[list[object]] = []
    for name, make in (("our loader", our_loaders), ("stock fastai", stock_loaders)):
        watch = Watch(options.target)
        loaders = make(dataset, split, options.batch_size, device)
        learn = Learner(
            loaders,
            network(dataset),
            loss_func=partial(our_loss, label_smoothing=0.1),
            opt_func=partial(SGD, mom=0.9, decouple_wd=False),
            metrics=partial(our_accuracy),
            wd=5e-4,
            moms=(0.9, 0.9, 0.9),
            cbs=[watch, *mixed_precision(device)],
        )
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(options.epochs, 0.1 * options.batch_size / 64)
        reached = "not reached" if watch.reached_s is None else f"{watch.reached_s / 60:.1f} min"
        rows.append([name, f"{watch.total_s / 60:.1f} min", f"{100 * watch.best:.2f} %", reached])
    return (
        f"## Training: time to {100 * options.target:g} %\n\n{options.epochs} epochs each, on "
        f"{device.type} ({machine()}).\n\n"
        + table(["loader", "in all", "best epoch", "target passed after"], rows)
    )


class Watch(Callback):
    """Notes when the accuracy first reached a target."""

    def __init__(self, target: float) -> None:
        self.target, self.best, self.reached_s = target, 0.0, None

    def before_fit(self) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def after_epoch(self) -> None:
        """Look at the accuracy on the validation part."""
        self.total_s = time.perf_counter() - self.started
        share = float(self.learn.recorder.final_record[-1])
        self.best = max(self.best, share)
        if share >= self.target and self.reached_s is None:
            self.reached_s = self.total_s


def network(dataset: Dataset) -> torch.nn.Module:
    """Return the network of the `scratch` recipe, for the main label column."""
    labels = dataset.vocabularies[dataset.label_columns[0]]
    model, _ = build_classifier("small_resnet", [len(labels)], size_px=SIZE_PX)
    return model.to(memory_format=torch.channels_last)


def training_step(dataset: Dataset, device: torch.device) -> Callable[[Tensor, Tensor], None]:
    """Return one step of training: forward, backward, update; it ends when the device is done."""
    model = network(dataset).to(device)
    optimiser = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    precise = not mixed_precision(device)

    def step(images: Tensor, targets: Tensor) -> None:
        images = images.as_subclass(Tensor).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=not precise):
            logits = model(images)
        our_loss(logits.float(), targets.as_subclass(Tensor)).backward()
        optimiser.step()
        optimiser.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def our_loss(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy; our loader's targets have one column, fastai's have none."""
    return F.cross_entropy(logits, targets.flatten(), label_smoothing=label_smoothing)


def our_accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Share of right answers, for either loader's targets."""
    return accuracy(logits, targets.flatten())


def our_loaders(dataset: Dataset, split: Split, batch_size: int, device: torch.device) -> Any:
    """Return the loaders of a training."""
    return build_loaders(mix(dataset, split, seed=1), batch_size, seed=1, device=device)


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
        device=device,
    )


def forever(loader: Any) -> Feed:
    """Yield batches, epoch after epoch."""
    while True:
        yield from loader


if __name__ == "__main__":
    main()
