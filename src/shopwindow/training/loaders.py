"""Batches for fastai, straight from the memory-mapped cache of decoded images."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.data.transforms import IntToFloatTensor
from fastai.distributed import DistributedDL
from fastai.torch_core import TensorImage
from fastai.vision.augment import aug_transforms
from fasttransform import Pipeline
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from shopwindow.dataset.dataset import Dataset
from shopwindow.dataset.split import Split


class CachedLoader(DataLoader):  # type: ignore[misc]
    """A fastai loader that reads whole batches out of the image cache, reproducibly.

    Order, augmentation and dropout of a batch depend on nothing but the seed, the stage, the epoch
    and the number of the batch. So a run that is continued in the middle of an epoch sees exactly
    the batches that it would have seen.

    A batch is `(images, codes)`: float32 (B, 3, H, W) in [0, 1], channels last in memory, and
    int64 (B, number of label columns), -1 where an attribute is missing.

    Args:
        dataset: What to read.
        indices: (n,) the images of this loader.
        batch_size: Images in a batch.
        train: Shuffle, augment, and drop the last, smaller batch.
        seed: See above.
        size_px: (height, width) of what is yielded, None for the size of the cache.
    """

    def __init__(
        self,
        dataset: Dataset,
        indices: NDArray[np.int64],
        batch_size: int,
        *,
        train: bool,
        seed: int,
        size_px: tuple[int, int] | None = None,
    ) -> None:
        self.images = dataset
        self.indices = np.asarray(indices)
        self.targets = np.stack([dataset.codes[name] for name in dataset.label_columns], axis=1)
        self.train, self.seed = train, seed
        self.position: tuple[str, int] = ("", 0)
        self.first_batch = 0
        self.augmentations = Pipeline([IntToFloatTensor(), *_augmentations()] if train else [])
        self.augmentations.split_idx = 0
        self.size_px = size_px
        super().__init__(
            self.indices,
            bs=batch_size,
            shuffle=train,
            drop_last=train and len(indices) > batch_size,
        )

    def start_epoch(self, stage: str, epoch: int, first_batch: int = 0) -> None:
        """Say which epoch comes next, and how many of its batches were already trained on."""
        self.position, self.first_batch = (stage, epoch), first_batch

    def randomize(self) -> None:
        """Seed the order of the epoch (called by fastai at its start)."""
        self.rng = random.Random("/".join(map(str, (self.seed, *self.position))))  # noqa: S311

    def create_batches(self, samps: Iterable[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield a batch for each `bs` numbers of `samps`, from `first_batch` on."""
        numbers = iter(samps)
        for batch in itertools.count():
            chunk = list(itertools.islice(numbers, self.bs))
            if not chunk or (self.drop_last and len(chunk) < self.bs):
                return
            if batch < self.first_batch:
                continue
            if self.train:
                _seed_everything(self.seed, *self.position, batch, _rank())
            rows = self.indices[chunk]
            images = torch.from_numpy(self.images.images(rows)).permute(0, 3, 1, 2)
            yield TensorImage(images), torch.from_numpy(self.targets[rows])

    def after_batch(self, b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Turn bytes into floats, augment, and bring to `size_px`; runs on the device."""
        images, targets = b
        if self.train:
            images = self.augmentations(images).as_subclass(Tensor)
            if self.size_px is not None and images.shape[-2:] != self.size_px:
                images = F.interpolate(images, self.size_px, mode="bilinear", antialias=True)
        else:
            images = images.as_subclass(Tensor).float().div_(255)
        return images.contiguous(memory_format=torch.channels_last), targets


class SeededDistributedDL(DistributedDL):  # type: ignore[misc]
    """fastai's sharding loader, for loaders whose order is seeded.

    Every rank draws the same order, so there is nothing to broadcast; fastai's own broadcast needs
    CUDA tensors and would rule out training on several CPU processes.
    """

    def __len__(self) -> int:
        """Batches of this process; fastai's own count includes those that are dropped."""
        share = -(-self.dl.n // self.world_size)
        return int(share // self.bs if self.drop_last else -(-share // self.bs))

    def _broadcast(self, t: list[int], rank: int) -> list[int]:
        return t


def build_loaders(
    dataset: Dataset,
    split: Split,
    batch_size: int,
    *,
    seed: int,
    device: torch.device,
    path: Any = ".",
) -> DataLoaders:
    """Return fastai `DataLoaders` over the two sides of a split."""
    train = CachedLoader(dataset, split.train, batch_size, train=True, seed=seed)
    valid = CachedLoader(dataset, split.valid, batch_size * 2, train=False, seed=seed)
    return DataLoaders(train, valid, path=path, device=device)


def _augmentations() -> list[Any]:
    """Fastai's standard set: flip, rotation, zoom, warp and light, on whole batches."""
    return list(aug_transforms(max_rotate=10.0, max_zoom=1.1, max_lighting=0.2, max_warp=0.1))


def _rank() -> int:
    """0 until processes really share the work: before, all of them must draw the same."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def _seed_everything(*parts: object) -> None:
    # fastai's transforms draw from all three generators.
    seed = random.Random("/".join(map(str, parts))).getrandbits(32)  # noqa: S311
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
