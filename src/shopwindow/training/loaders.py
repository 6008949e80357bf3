"""Batches for fastai, straight from the memory-mapped caches of decoded images."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.distributed import DistributedDL
from fastai.torch_core import TensorImage
from numpy.typing import NDArray
from torch import Tensor

from shopwindow.errors import DataError
from shopwindow.runs.balance import draw_pass
from shopwindow.runs.mix import Source, TrainingMix
from shopwindow.training.augmentations import build_augmentations


class CachedLoader(DataLoader):  # type: ignore[misc]
    """A fastai loader that reads whole batches out of image caches, reproducibly.

    Order, augmentation and dropout of a batch depend only on the seed, the stage, the epoch and the
    number of the batch. So a run that continues in the middle of an epoch sees the same batches as
    one that was never stopped.

    A batch is `(images, codes)`: float32 (B, 3, H, W) in [0, 1], channels last in memory, and
    int64 (B, number of label columns), -1 where an attribute is missing. In training the images of
    the main source come first; one epoch is one pass over these, or as many draws of them.

    Args:
        sources: Where the images come from; in validation, only the first.
        indices: (n,) the images of the main source.
        batch_size: Images in a batch, of all sources together.
        train: Shuffle, augment, and drop the last, smaller batch.
        seed: See above.

    Raises:
        DataError: The fraction of a source is less than one image of a batch.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        indices: NDArray[np.int64],
        batch_size: int,
        *,
        train: bool,
        seed: int,
    ) -> None:
        self.sources = list(sources) if train else list(sources[:1])
        self.indices = np.asarray(indices)
        self.train, self.seed = train, seed
        self.sizes = _batch_sizes(self.sources, batch_size)
        self.position: tuple[str, int] = ("", 0)
        self.first_batch = 0
        self.augmentations = build_augmentations() if train else {}
        super().__init__(
            self.indices,
            bs=self.sizes[0],
            shuffle=train,
            drop_last=train and len(indices) > self.sizes[0],
        )

    def start_epoch(self, stage: str, epoch: int, first_batch: int = 0) -> None:
        """Set the next epoch, and how many of its batches were already trained on."""
        self.position, self.first_batch = (stage, epoch), first_batch

    def randomize(self) -> None:
        """Seed the order of the epoch (called by fastai at its start)."""
        self.rng = _random(self.seed, *self.position)

    def shuffle_fn(self, idxs: list[int]) -> list[int]:
        """Return the order of the epoch (called by fastai); rare labels may come more often."""
        draws = self.sources[0].draws
        if draws is None:
            return self.rng.sample(idxs, len(idxs))
        order: list[int] = draw_pass(
            draws, np.random.default_rng(self.rng.getrandbits(64))
        ).tolist()
        return order

    def create_batches(self, samps: Iterable[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield a batch for each `bs` numbers of `samps`, from `first_batch` on."""
        numbers = iter(samps)
        others = [
            _Rotation(source, size, (self.seed, *self.position, number, _rank()))
            for number, (source, size) in enumerate(
                zip(self.sources[1:], self.sizes[1:], strict=True)
            )
        ]
        for batch in itertools.count():
            chunk = list(itertools.islice(numbers, self.bs))
            if not chunk or (self.drop_last and len(chunk) < self.bs):
                return
            if batch < self.first_batch:
                continue
            rows = [self.indices[chunk], *(other.batch(batch) for other in others)]
            if self.train:
                _seed_everything(self.seed, *self.position, batch, _rank())
            yield self._read(rows)

    def _read(self, rows: list[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
        pairs = list(zip(self.sources, rows, strict=True))
        images = np.concatenate([source.images(chosen) for source, chosen in pairs])
        targets = np.concatenate([source.targets[chosen] for source, chosen in pairs])
        tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
        return TensorImage(tensor), torch.from_numpy(targets)

    def after_batch(self, b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Turn bytes into floats and augment; runs on the device."""
        images, targets = b
        if self.train:
            images = self._augment(images)
        else:
            images = images.as_subclass(Tensor).float().div_(255)
        return images.contiguous(memory_format=torch.channels_last), targets

    def _augment(self, images: Tensor) -> Tensor:
        """Apply to the images of each source its kind of augmentation."""
        sizes = [len(images) - sum(self.sizes[1:]), *self.sizes[1:]]
        parts = list(torch.split(images.as_subclass(Tensor), sizes))
        for name, augment in self.augmentations.items():
            # All such sources at once: the transforms work on whole batches.
            places = [n for n, source in enumerate(self.sources) if source.augment == name]
            if places:
                together = augment(TensorImage(torch.cat([parts[n] for n in places])))
                done = torch.split(together.as_subclass(Tensor), [sizes[n] for n in places])
                for place, part in zip(places, done, strict=True):
                    parts[place] = part
        return torch.cat(parts)


class _Rotation:
    """Cycles through the images of a source, in a new order each time."""

    def __init__(self, source: Source, size: int, seed: tuple[object, ...]) -> None:
        self.indices, self.draws, self.size, self.seed = source.train, source.draws, size, seed
        self.orders: dict[int, NDArray[np.int64]] = {}

    def batch(self, number: int) -> NDArray[np.int64]:
        """Return the (size,) indices of any batch."""
        numbers = np.arange(number * self.size, (number + 1) * self.size)
        rounds, places = np.divmod(numbers, len(self.indices))
        self.orders = {
            n: self.orders[n] if n in self.orders else self._order(n)
            for n in np.unique(rounds).tolist()
        }
        chosen = zip(rounds.tolist(), places.tolist(), strict=True)
        return np.array([self.orders[n][place] for n, place in chosen], np.int64)

    def _order(self, number: int) -> NDArray[np.int64]:
        rng = np.random.default_rng(_random(*self.seed, number).getrandbits(64))
        if self.draws is None:
            return rng.permutation(self.indices)
        return self.indices[draw_pass(self.draws, rng)]


class SeededDistributedDL(DistributedDL):  # type: ignore[misc]
    """fastai's sharding loader, for loaders whose order is seeded.

    Every rank draws the same order, so nothing has to be broadcast. fastai's broadcast needs CUDA,
    and could not train in several processes without a GPU.
    """

    def __len__(self) -> int:
        """Batches of this process; fastai's own count includes those that are dropped."""
        own = -(-self.dl.n // self.world_size)
        return int(own // self.bs if self.drop_last else -(-own // self.bs))

    def _broadcast(self, t: list[int], rank: int) -> list[int]:
        return t


def _batch_sizes(sources: Sequence[Source], batch_size: int) -> tuple[int, ...]:
    """Return how many images of each source a batch holds, the main source first."""
    sizes = [round(source.batch_fraction * batch_size) for source in sources[1:]]
    if 0 in sizes:
        raise DataError(
            f"expected shares of at least one image in a batch of {batch_size}, got "
            f"{', '.join(f'{source.batch_fraction:g}' for source in sources[1:])}; raise the share "
            "or --batch-size"
        )
    return (batch_size - sum(sizes), *sizes)


def build_loaders(
    mix: TrainingMix,
    batch_size: int,
    *,
    seed: int,
    device: torch.device,
    path: Any = ".",
) -> DataLoaders:
    """Return fastai `DataLoaders`: all sources to train on, the main one to validate."""
    split = mix.split
    train = CachedLoader(mix.sources, split.train, batch_size, train=True, seed=seed)
    valid = CachedLoader(mix.sources, split.valid, batch_size * 2, train=False, seed=seed)
    return DataLoaders(train, valid, path=path, device=device)


def _rank() -> int:
    """Return 0 until the processes divide the work: before, all must draw the same."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def _random(*parts: object) -> random.Random:
    return random.Random("/".join(map(str, parts)))  # noqa: S311


def _seed_everything(*parts: object) -> None:
    # fastai's transforms draw from all three generators.
    seed = _random(*parts).getrandbits(32)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
