"""Several data sets in one training, each with a fixed fraction of every batch.

The main data set decides the labels. Further ones, each described by a small TOML file, bring
another kind of image, such as phone photos beside catalogue photos. Their labels may be coarser, so
that several labels are right for an image.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shopwindow.bundle.out_of_fold import METHOD as CROSS_VALIDATED
from shopwindow.calibration.novelty_graph import KnownSet, known_set
from shopwindow.data.dataset import Dataset
from shopwindow.data.label_sets import NO_LABEL
from shopwindow.data.spec import DataSpec
from shopwindow.data.split import Split, split_images
from shopwindow.errors import UsageError
from shopwindow.evaluation.asking import Probs, ValidationSet
from shopwindow.runs.balance import expected_draws

_PATHS = ("data", "labels", "label_map")
# The keys of `augmentations.AUGMENTATIONS`, here too: reading a data set needs no fastai.
AUGMENTATION_NAMES = ("usual", "strong")


@dataclass(frozen=True)
class ExtraDataset:
    """A further data set, as its TOML file describes it; docs/training.md lists the keys.

    Attributes:
        data: Folder of images or table, as `shopwindow train DATA`.
        share: Fraction of each batch, above 0 and below 1.
        labels: The table of labels, in `data` or beside the file.
        image_column: Column that names the image.
        label_column: Column of the main label.
        also: Further label columns, by their names in the main data set.
        label_map: JSON file that translates its labels into those of the main data set.
        group_column: Images with the same value stay on one side of the split.
        augment: `usual`, or `strong` for a few photos that are seen often.
    """

    data: Path
    share: float
    labels: Path | None = None
    image_column: str | None = None
    label_column: str | None = None
    also: tuple[str, ...] = ()
    label_map: Path | None = None
    group_column: str | None = None
    augment: str = "usual"

    def __post_init__(self) -> None:
        if not isinstance(self.augment, str) or self.augment not in AUGMENTATION_NAMES:
            raise UsageError(
                f"augment: expected {' or '.join(AUGMENTATION_NAMES)}, found {self.augment!r}"
            )
        if not isinstance(self.share, int | float) or not 0 < self.share < 1:
            raise UsageError(f"share: expected a number between 0 and 1, found {self.share!r}")

    def as_json(self) -> dict[str, Any]:
        """Return JSON-ready data from which `from_json` makes an equal value."""
        return {
            key: str(value.resolve()) if isinstance(value, Path) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ExtraDataset:
        """Read what `as_json` returned."""
        paths = {key: Path(values[key]) for key in _PATHS if values[key] is not None}
        return cls(**{**values, **paths, "also": tuple(values["also"])})

    @classmethod
    def read(cls, path: Path) -> ExtraDataset:
        """Read a TOML file; paths in it are relative to its folder.

        Raises:
            UsageError: It cannot be read, or has another key or type than expected.
        """
        try:
            content = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"--with: expected a TOML file at {path}, got {error}") from error
        known = cls.__dataclass_fields__
        if unknown := sorted(set(content) - set(known)):
            raise UsageError(
                f"{path}: expected the keys {', '.join(known)}, found {', '.join(unknown)}"
            )
        for key in ("data", "share"):
            if key not in content:
                raise UsageError(f"{path}: expected the key {key}, found none")
        for key in ("data", "labels", "image_column", "label_column", "label_map", "group_column"):
            if not isinstance(content.get(key, ""), str):
                raise UsageError(f"{path}: expected a string for {key}, found {content[key]!r}")
        for key in _PATHS:
            if key in content:
                content[key] = path.parent / Path(content[key]).expanduser()
        also = content.get("also", [])
        if not isinstance(also, list) or not all(isinstance(name, str) for name in also):
            raise UsageError(f"{path}: expected a list of column names for also, found {also!r}")
        try:
            return cls(**{**content, "also": tuple(also)})
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None


@dataclass(frozen=True)
class Source:
    """Images that a batch draws from, with targets in the numbers of the whole mix.

    Attributes:
        images: (n,) indices -> (n, H, W, 3) uint8 RGB.
        targets: (N, number of label columns) int64; see `Dataset.codes`.
        train: (n,) int64 indices to learn from.
        batch_fraction: Of each batch, 0 to 1; all sources together make 1.
        draws: (n,) how often each image of `train` is drawn in a pass; None for once each.
        augment: One of `AUGMENTATION_NAMES`.
    """

    images: Callable[[ArrayLike], NDArray[np.uint8]]
    targets: NDArray[np.int64]
    train: NDArray[np.int64]
    batch_fraction: float = 1.0
    draws: NDArray[np.float64] | None = None
    augment: str = "usual"


@dataclass(frozen=True)
class LoadedExtra:
    """A further data set that was read.

    Attributes:
        spec: Where it came from.
        dataset: Its images.
        split: Of all its images; a later reading is compared with it.
        elsewhere: (n,) images that another data set has too, on the other side of its split; see
            `training_data.keep_apart`.
    """

    spec: ExtraDataset
    dataset: Dataset
    split: Split
    elsewhere: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def train(self) -> NDArray[np.int64]:
        """(n,) ascending indices of the images to learn from."""
        return np.setdiff1d(self.split.train, self.elsewhere, assume_unique=True)

    @property
    def valid(self) -> NDArray[np.int64]:
        """(n,) ascending indices of the images that are held out."""
        return np.setdiff1d(self.split.valid, self.elsewhere, assume_unique=True)


@dataclass(frozen=True)
class TrainingMix:
    """All that a model is trained on.

    Attributes:
        dataset: The main data set.
        split: Its split.
        extras: The further data sets.
        sources: The main source first, then the extras and the corrections.
        sets: Per label column (K, C) bool: what the codes from C on allow, in all sources.
        corrections: What people have corrected; see `training_data.open_corrections`.
    """

    dataset: Dataset
    split: Split
    extras: tuple[LoadedExtra, ...]
    sources: tuple[Source, ...]
    sets: tuple[NDArray[np.bool_], ...]
    corrections: LoadedExtra | None = None

    @property
    def datasets(self) -> list[Dataset]:
        """The data sets of `sources`, in their order."""
        further = [*self.extras, *([self.corrections] if self.corrections else [])]
        return [self.dataset, *(extra.dataset for extra in further)]

    def targets_and_weights(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return (n, columns) targets and (n,) weights of all images to learn from, by source.

        The images of a source together weigh as much as its fraction of a batch.
        """
        targets = [source.targets[source.train] for source in self.sources]
        counts = [len(source.train) for source in self.sources]
        each = [s.batch_fraction / n for s, n in zip(self.sources, counts, strict=True)]
        return np.concatenate(targets), np.repeat(each, counts)

    def training_images(self, count: int) -> NDArray[np.uint8]:
        """Draw at most `count` images to learn from, each data set by its fraction of a batch.

        Corrections are left out.

        Returns:
            (n, H, W, 3) uint8, the same in every run.
        """
        random = np.random.default_rng(self.split.seed)
        counts = [round(count * extra.spec.share) for extra in self.extras]
        chosen = zip(self.sources, (count - sum(counts), *counts), strict=False)
        return np.concatenate([s.images(random.permutation(s.train)[:some]) for s, some in chosen])

    def learned_sets(self, name: str) -> list[KnownSet]:
        """Return the images to learn from of all data sets, each of its own weight.

        Args:
            name: Of the main data set, which comes first; corrections are left out.
        """
        fractions = sum(extra.spec.share for extra in self.extras)
        return [
            known_set(name, self.dataset, self.split.train, 1 - fractions),
            *(
                known_set(extra.spec.data.name, extra.dataset, extra.train, extra.spec.share)
                for extra in self.extras
            ),
        ]

    def validation_sets(
        self, name: str, logits_of: Callable[[Dataset, NDArray[np.int64]], Probs]
    ) -> list[ValidationSet]:
        """Return the images of all data sets that judge a model, with what it says about them.

        Each data set counts by its fraction of a batch; that of corrections, which hold nothing
        out, goes to the main data set.

        Args:
            name: Of the main data set, which comes first.
            logits_of: Given a data set and (n,) indices, returns (n, C) logits per label column.
        """
        fractions = [extra.spec.share for extra in self.extras]
        # Images that were cross-validated are judged out of fold, and none is held out.
        all_judge = self.split.method == CROSS_VALIDATED
        judged = self.split.train if all_judge else self.split.valid
        parts = [(name, self.dataset, judged, 1 - sum(fractions))]
        parts += [
            (extra.spec.data.name, extra.dataset, extra.valid, fraction)
            for extra, fraction in zip(self.extras, fractions, strict=True)
        ]
        return [
            ValidationSet(name, dataset, valid, logits_of(dataset, valid), fraction)
            for name, dataset, valid, fraction in parts
        ]


def open_extra(
    spec: ExtraDataset, main: Dataset, *, seed: int, cache_dir: Path | None, progress: bool
) -> LoadedExtra:
    """Read a further data set at the size and with the labels of the main one, and split it.

    Raises:
        UsageError: A path or column that is not there.
        DataError: No image with a label that the main data set knows.
    """
    if unknown := [name for name in spec.also if name not in main.label_columns[1:]]:
        raise UsageError(
            f"also of {spec.data.name}: expected label columns that the main data set has "
            f"besides {main.label_columns[0]} ({', '.join(main.label_columns[1:]) or 'none'}), "
            f"found {', '.join(unknown)}; name them with --also too, or leave them out"
        )
    vocabularies = {name: main.vocabularies[name] for name in spec.also}
    vocabularies[spec.label_column or "label"] = main.vocabularies[main.label_columns[0]]
    labels = spec.labels
    if labels is not None and not labels.is_file():
        labels = Path(labels.name)  # then it lies in the folder of the images
    dataset = DataSpec.from_options(vars(spec) | {"labels_file": labels}).load(
        rule=main.rule,
        vocabularies=vocabularies,
        with_test=False,
        cache_dir=cache_dir,
        progress=progress,
    )
    return LoadedExtra(spec, dataset, split_images(dataset, seed=seed))


def combine(
    dataset: Dataset,
    split: Split,
    extras: Sequence[LoadedExtra] = (),
    *,
    corrections: LoadedExtra | None = None,
    balance: float = 0.0,
) -> TrainingMix:
    """Put the sources together and number all sets of labels alike.

    Args:
        dataset: The main data set.
        split: Its split.
        extras: Further data sets.
        corrections: What people have corrected.
        balance: Power by which rare labels of each data set are drawn more often; see
            `expected_draws`. Corrections are drawn as they are.

    Raises:
        UsageError: The further data sets leave less than a quarter of a batch to the main one.
    """
    further = [*extras, *([corrections] if corrections is not None else [])]
    taken = sum(extra.spec.share for extra in further)
    if taken > 0.75:
        raise UsageError(
            f"expected at least a quarter of each batch for the main data set, but the others "
            f"take {100 * taken:.0f} %; lower their shares"
        )
    tables = {name: [dataset.sets[name]] for name in dataset.label_columns}
    targets = np.stack([dataset.codes[name] for name in dataset.label_columns], axis=1)
    sources = [Source(dataset.images, targets, split.train, 1 - taken)]
    for extra in further:
        targets = _targets_of(extra.dataset, dataset, tables)
        sources.append(
            Source(
                extra.dataset.images,
                targets,
                extra.train,
                extra.spec.share,
                augment=extra.spec.augment,
            )
        )
    sets = tuple(np.concatenate(table) for table in tables.values())
    if balance > 0:
        for number, source in enumerate(sources[: 1 + len(extras)]):
            draws = expected_draws(source.targets[source.train, 0], sets[0], balance)
            sources[number] = replace(source, draws=draws)
    return TrainingMix(dataset, split, tuple(extras), tuple(sources), sets, corrections)


def _targets_of(
    dataset: Dataset, main: Dataset, tables: dict[str, list[NDArray[np.bool_]]]
) -> NDArray[np.int64]:
    """Return (N, columns) codes of a further data set in the numbers of the mix.

    Adds its sets of labels to `tables`, which has those of the data sets before by column.
    """
    columns = []
    for position, name in enumerate(main.label_columns):
        own = dataset.label_columns[0] if position == 0 else name
        if position > 0 and name not in dataset.label_columns[1:]:
            columns.append(np.full(len(dataset), NO_LABEL, np.int64))
            continue
        classes = len(main.vocabularies[name])
        offset = sum(len(table) for table in tables[name])
        codes = dataset.codes[own]
        columns.append(np.where(codes >= classes, codes + offset, codes))
        tables[name].append(dataset.sets[own])
    return np.stack(columns, axis=1)
