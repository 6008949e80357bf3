"""How fast training is: what the loader costs, and how stock fastai compares.

    python benchmarks/training.py DATA [--labels styles.csv --image-column id ...]
    python benchmarks/training.py DATA ... --target 0.87 --epochs 16

The first form times single training steps on three feeds, a few at a time in turns, so that what
else the machine does falls on all of them alike: tensors that are there already (the bare limit),
our loader, and fastai's own `ImageDataLoaders.from_df` with the same augmentations. The second form
trains twice by the `scratch` recipe, with our loader and with fastai's, the same network from the
same weights for the same number of epochs, an epoch of each in turns, and says when each passed the
target. Our loader's one-time decoding of the images comes before the clock starts.
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
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.schedule import Learner  # with fit_one_cycle
from fastai.metrics import accuracy
from fastai.optimizer import SGD
from fastai.torch_core import default_device, set_seed
from fastai.vision.augment import PadMode, Resize, ResizeMethod
from fastai.vision.data import ImageDataLoaders
from torch import Tensor
from torch.nn import functional as F

from sections import machine, table, write_section
from shopwindow.dataset.dataset import Dataset, load_dataset
from shopwindow.dataset.split import Split, split_images
from shopwindow.imaging.preprocess import ResizeRule
from shopwindow.training.augmentations import standard_augmentations
from shopwindow.training.callbacks import GrowImages, WeightAverage, mixed_precision
from shopwindow.training.loaders import CachedLoader, build_loaders
from shopwindow.training.mixture import mix
from shopwindow.training.network import build_classifier

SIZE_PX, SMALL_PX = (80, 60), (64, 48)
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
        min_images=11,  # as the figures in docs/benchmarks.md were made
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
    watches: dict[str, Watch] = {}
    learners: dict[str, Learner] = {}
    for name, make in (("our loader", our_loaders), ("stock fastai", stock_loaders)):
        set_seed(1)  # Python's too, by which fastai's loader shuffles
        loaders = make(dataset, split, options.batch_size, device)
        torch.manual_seed(1)
        learners[name] = Learner(
            loaders,
            network(dataset),
            loss_func=partial(our_loss, label_smoothing=0.1),
            opt_func=partial(SGD, mom=0.9, decouple_wd=False),
            metrics=partial(our_accuracy),
            wd=5e-4,
            moms=(0.9, 0.9, 0.9),
            cbs=[ChannelsLast(), *mixed_precision(device)],
        )
        watches[name] = Watch()
        learners[name].add_cbs(
            [watches[name], TurnAverage(0.998), GrowImages([(0.6, SMALL_PX), (0.4, SIZE_PX)])]
        )
    began = time.perf_counter()
    for epoch in range(options.epochs):
        for learn in learners.values():
            with learn.no_bar(), learn.no_logging():
                learn.fit_one_cycle(
                    options.epochs, 0.1 * options.batch_size / 64, start_epoch=epoch
                )
        now = "; ".join(
            f"{name} {100 * watch.shares[-1]:.2f} %, {watch.seconds[-1]:.0f} s"
            for name, watch in watches.items()
        )
        left = (time.perf_counter() - began) / (epoch + 1) * (options.epochs - epoch - 1)
        print(f"epoch {epoch + 1}/{options.epochs}: {now}; {left / 60:.0f} min left", flush=True)
    stock = watches["stock fastai"].seconds
    rows = [
        [
            name,
            f"{sum(watch.seconds) / 60:.1f} min",
            # Epoch by epoch: both epochs of a pair saw the same neighbours on the machine.
            f"{statistics.median(a / b for a, b in zip(stock, watch.seconds, strict=True)):.2f}",
            f"{100 * max(watch.shares):.2f} %",
            minutes(watch.time_to(options.target)),
        ]
        for name, watch in watches.items()
    ]
    return (
        f"## Training: time to {100 * options.target:g} %\n\n`small_resnet` at "
        f"{SIZE_PX[0]}x{SIZE_PX[1]} by the `scratch` recipe on {len(split.train):,} images, judged "
        f"by {len(split.valid):,} others; {options.epochs} epochs each, in turns, on {device.type} "
        f"({machine()}).\n\n"
        + table(
            ["loader", "in all", "times as fast as stock", "best epoch", "target passed after"],
            rows,
        )
    )


def minutes(seconds: float | None) -> str:
    """Return a time for a table."""
    return "not reached" if seconds is None else f"{seconds / 60:.1f} min"


class TurnAverage(WeightAverage):
    """Goes on with the weights that are being trained after a turn; the next one needs them."""

    def after_fit(self) -> None:
        """Keep both."""


class Watch(Callback):
    """Lets a training do one epoch, and notes how long it took and how many it then had right.

    Attributes:
        seconds: Of each epoch so far, with its validation.
        shares: Share of the validation images that were right after it, 0 to 1.
    """

    order = 75  # after fastai's `SkipToEpoch`, which leaves out the epochs that are done

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.shares: list[float] = []

    def before_fit(self) -> None:
        """Note which epoch's turn it is."""
        self.turn = len(self.shares)

    def before_epoch(self) -> None:
        """Start the clock, or stop where the turn is over."""
        if self.learn.epoch > self.turn:
            raise CancelFitException
        self.started = time.perf_counter()

    def before_train(self) -> None:
        """Tell our loader the epoch, without which all epochs have the same order."""
        if isinstance(self.learn.dls.train, CachedLoader):
            self.learn.dls.train.start_epoch("fit", self.learn.epoch)

    def after_validate(self) -> None:
        """Note time and share; what comes after it is not training."""
        self.seconds.append(time.perf_counter() - self.started)
        self.shares.append(float(self.learn.recorder.metrics[-1].value))

    def time_to(self, target: float) -> float | None:
        """Return after how many seconds of training a share was first reached, if ever."""
        for seconds, share in zip(itertools.accumulate(self.seconds), self.shares, strict=True):
            if share >= target:
                return seconds
        return None


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
        val_bs=2 * batch_size,  # as ours
        device=device,
    )


def forever(loader: Any) -> Feed:
    """Yield batches, epoch after epoch."""
    while True:
        yield from loader


if __name__ == "__main__":
    main()
