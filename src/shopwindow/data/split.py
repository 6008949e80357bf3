"""The part of a data set that a model learns from, and the part that judges it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from shopwindow.atomic_write import write_atomically
from shopwindow.data.dataset import Dataset
from shopwindow.errors import DataError, UsageError

SplitMethod = Literal["grouped", "random", "given"]
_FORMAT = 1


@dataclass(frozen=True)
class Split:
    """Two disjoint parts of a data set; together all of it but a test part that it may bring.

    Attributes:
        train: (n,) int64, ascending indices of the images to learn from.
        valid: (m,) int64, ascending indices of the images to be judged by.
        method: `grouped`: stratified by main label, duplicates on one side. `random`: neither.
            `given`: the data set brought its own part to be judged by.
        seed: Of the shuffle.
        valid_fraction: The fraction that was asked for, between 0 and 1.
    """

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    method: str
    seed: int
    valid_fraction: float

    def digest(self, dataset: Dataset) -> str:
        """Return a SHA-256 over the sorted references of `valid`: equal splits have equal ones."""
        names = sorted(dataset.references[index] for index in self.valid)
        return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()

    def as_record(self, dataset: Dataset) -> dict[str, Any]:
        """Return what is needed to make the same split again, and to know that it is the same."""
        return {
            "method": self.method,
            "seed": self.seed,
            "valid_fraction": self.valid_fraction,
            "digest": self.digest(dataset),
        }

    def write(self, path: Path, dataset: Dataset) -> None:
        """Write the split as JSON, by reference, so that it outlives a change of order."""
        content = {
            "format": _FORMAT,
            "method": self.method,
            "seed": self.seed,
            "valid_fraction": self.valid_fraction,
            "train": [dataset.references[index] for index in self.train],
            "valid": [dataset.references[index] for index in self.valid],
            # Of their files, which show whether another photo has taken a name.
            "digests": [f"{dataset.digests[index]:016x}" for index in (*self.train, *self.valid)],
        }
        write_atomically(path, json.dumps(content, indent=0).encode("ascii"))

    @classmethod
    def read(cls, path: Path, dataset: Dataset) -> Split:
        """Read what `write` wrote.

        Raises:
            DataError: The file is not a split, or the data set has not the same images any more.
        """
        try:
            content = json.loads(path.read_text("utf-8"))
            if content["format"] != _FORMAT:
                raise DataError(
                    f"{path} is a split of format {content['format']!r}, expected {_FORMAT}: it "
                    "comes from another version of shopwindow."
                )
            parts = [[str(name) for name in content[part]] for part in ("train", "valid")]
            method, seed = str(content["method"]), int(content["seed"])
            fraction = float(content["valid_fraction"])
            digests = content.get("digests")  # none in those of older versions
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is not a split that shopwindow wrote.") from error
        index_of = {name: index for index, name in enumerate(dataset.references)}
        named = parts[0] + parts[1]
        gone = [name for name in named if name not in index_of]
        if gone:
            raise DataError(
                f"The data changed since {path} was written: {len(gone):,} of {len(named):,} "
                f"images can no longer be used, the first is {gone[0]!r}. Bring them back, use "
                "the same options as then, or start a new run."
            )
        if len(set(named)) < len(named):
            raise DataError(f"{path} names an image twice: it is damaged. Start a new run.")
        if len(named) < len(dataset):
            new = min(set(dataset.references) - set(named))
            raise DataError(
                f"The data changed since {path} was written: {len(dataset) - len(named):,} images "
                f"are new, the first is {new!r}. Take them out, use the same options as then, or "
                "start a new run."
            )
        changed = [
            name
            for name, digest in zip(named, digests or (), strict=False)
            if f"{dataset.digests[index_of[name]]:016x}" != digest
        ]
        if changed:
            raise DataError(
                f"The data changed since {path} was written: {len(changed):,} of {len(named):,} "
                f"files have other content than before, the first is {changed[0]!r}. Bring the "
                "old ones back, or start a new run."
            )
        train, valid = (
            np.array(sorted(index_of[name] for name in part), np.int64) for part in parts
        )
        return cls(train, valid, method, seed, fraction)


def split_images(
    dataset: Dataset,
    *,
    valid_fraction: float = 0.2,
    seed: int = 42,
    method: SplitMethod = "grouped",
) -> Split:
    """Split a data set in two. The order of its images plays no part.

    Args:
        dataset: At least two images.
        valid_fraction: Share of the images to judge by, between 0 and 1.
        seed: Seed of the shuffle, 0 or more.
        method: `grouped` keeps duplicates, and images of one of `dataset.groups`, on one side. It
            takes `valid_fraction` of each main label, as nearly as these allow, with at least one
            image on both sides where there are two groups. `random` takes any images, as published
            results do. A data set with a validation or test part of its own is split there, which
            is the method `given`.

    Raises:
        UsageError: An argument is out of its range.
        DataError: One side would be empty.
    """
    if not 0 < valid_fraction < 1:
        raise UsageError(f"valid_fraction: expected between 0 and 1, got {valid_fraction}.")
    if seed < 0:
        raise UsageError(f"seed: expected 0 or more, got {seed}.")
    if method not in get_args(SplitMethod):
        raise UsageError(f"split method: expected grouped or random, got {method!r}.")
    if (given := dataset.given_split) is not None:
        return _split_as_given(*given, method, seed)
    if method == "given":
        raise UsageError("split method given: the data set has no validation part of its own.")
    order = np.array(sorted(range(len(dataset)), key=dataset.references.__getitem__), np.int64)
    shuffled = order[np.random.default_rng(seed).permutation(len(order))]
    if method == "random":
        chosen = shuffled[: round(valid_fraction * len(shuffled))]
    else:
        codes = dataset.codes[dataset.label_columns[0]]
        groups = connected_groups(dataset.duplicate_groups(), dataset.groups)
        chosen = _choose_groups(shuffled, codes, groups, valid_fraction)
    is_valid = np.zeros(len(dataset), bool)
    is_valid[chosen] = True
    if is_valid.all() or not is_valid.any():
        raise DataError(
            f"{len(dataset):,} images cannot be split: none would be left to "
            f"{'learn from' if is_valid.all() else 'judge by'}."
        )
    train, valid = np.flatnonzero(~is_valid), np.flatnonzero(is_valid)
    return Split(train, valid, cast(str, method), seed, valid_fraction)


def _split_as_given(
    train: NDArray[np.int64], valid: NDArray[np.int64], method: SplitMethod, seed: int
) -> Split:
    if method == "random":
        raise UsageError(
            "--split random: expected data without a validation or test part, found one, which is "
            "what a training is graded by; name the folder to learn from as DATA to split that."
        )
    return Split(train, valid, "given", seed, len(valid) / (len(train) + len(valid)))


def _choose_groups(
    shuffled: NDArray[np.int64],
    codes: NDArray[np.int64],
    groups: NDArray[np.int64],
    fraction: float,
) -> NDArray[np.int64]:
    """Return the indices of whole groups that make up `fraction` of each label."""
    members: dict[int, list[int]] = {}
    for index in shuffled.tolist():
        members.setdefault(int(groups[index]), []).append(index)
    sizes = np.bincount(codes)
    rarest_first = np.argsort(sizes, kind="stable")
    rank = np.argsort(rarest_first)
    # A group with several labels belongs to the rarest, which can least do without it.
    homes: dict[int, list[list[int]]] = {}
    for group in members.values():
        homes.setdefault(min(int(rank[codes[index]]) for index in group), []).append(group)
    taken = np.zeros(len(sizes), np.int64)
    chosen: list[int] = []
    for position, code in enumerate(rarest_first):
        target = max(1, round(fraction * int(sizes[code])))
        of_label = [(group, int((codes[group] == code).sum())) for group in homes.get(position, [])]
        # Take the smallest group even if too large, unless nothing would be left to learn.
        smallest = min((count for _, count in of_label), default=0)
        target = min(max(target, taken[code] or smallest), sizes[code] - 1)
        for group, count in of_label:
            if taken[code] + count <= target:
                chosen += group
                taken += np.bincount(codes[group], minlength=len(sizes))
    return np.array(chosen, np.int64)


def connected_groups(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the connected components of N items that share a number in either of two lists.

    Args:
        first: (N,) whole numbers.
        second: (N,) whole numbers.

    Returns:
        (N,) int64; items with the same number are connected.
    """
    groups = np.asarray(first)
    while True:
        # Each item takes the smallest number of its two groups, until nothing changes.
        merged = groups
        for numbers in (second, first):
            keys, inverse = np.unique(numbers, return_inverse=True)
            smallest = np.full(len(keys), np.iinfo(np.int64).max)
            np.minimum.at(smallest, inverse.reshape(-1), merged)
            merged = smallest[inverse.reshape(-1)]
        if np.array_equal(merged, groups):
            return merged
        groups = merged
