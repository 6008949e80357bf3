"""Read what a training learns from: DATA, further data sets and corrections."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from shopwindow.bundle import INPUT_NAME
from shopwindow.bundle.seen import SeenImages
from shopwindow.data.corrections import recorded_corrections
from shopwindow.data.dataset import Dataset
from shopwindow.data.duplicates import resemble
from shopwindow.data.spec import DataSpec
from shopwindow.data.split import Split
from shopwindow.errors import DataError, UsageError
from shopwindow.imaging.preprocess import ResizeRule
from shopwindow.runs.mix import ExtraDataset, LoadedExtra, TrainingMix, combine, open_extra
from shopwindow.runs.run_folder import Run

# A correction weighs as much as so many images of the main data set, up to a fifth of a batch.
CORRECTION_WEIGHT = 10
MAX_CORRECTIONS_FRACTION = 0.2


def check_labels(dataset: Dataset) -> None:
    """Refuse label columns that could not be trained or exported.

    Raises:
        UsageError: A column has fewer than two labels, or a name that is taken.
    """
    for name, labels in dataset.vocabularies.items():
        if len(labels) < 2:
            found = f"only {labels[0]!r}" if labels else "none"
            raise UsageError(
                f"{name}: expected at least two labels to tell apart, found {found}; add images of "
                "something else, or choose another column or a smaller --min-images"
            )
    if INPUT_NAME in dataset.label_columns:
        raise UsageError(
            f"{INPUT_NAME}: expected another name for a label column, since the input of the "
            "model has this name; rename the column"
        )


def open_dataset(run: Run, size: tuple[int, int]) -> Dataset:
    """Load the data of a run with its corrections, which it notes when it is started.

    Args:
        run: Its options say where the data are; the table may be gone when it continues.
        size: (height, width) in pixels.

    Raises:
        UsageError: A path or column that is not there.
        DataError: The data or the corrections cannot be used.
    """
    options = run.options
    noted = recorded_corrections(run.facts.get("label_corrections"))
    corrections = options.corrections if noted is None else noted
    spec = DataSpec.from_options(vars(options) | {"corrections": corrections})
    dataset = spec.load(
        rule=ResizeRule(height_px=size[0], width_px=size[1]),
        with_test=False,
        cache_dir=options.cache_dir,
        progress=sys.stderr.isatty(),  # a bar in a log file would be a hundred lines
    )
    if dataset.corrections is not None:
        run.facts.setdefault("label_corrections", dict(dataset.corrections.labels))
    return dataset


def open_mix(
    run: Run, dataset: Dataset, split: Split, *, batch_size: int, learns: bool = True
) -> TrainingMix:
    """Read the further data sets and the corrections, as they were when the run was started.

    Args:
        run: Notes what was found; when it continues, anything else is refused.
        dataset: The main data set.
        split: Its split.
        batch_size: Corrections get at least one image of so many.
        learns: Whether there is anything left to learn. If not, corrections are not read again:
            people's photos may be gone by then.

    Raises:
        UsageError: A path or column that is not there.
        DataError: Nothing to learn from, or other images or labels than before.
    """
    options, progress = run.options, sys.stderr.isatty()
    described = run.facts.setdefault(
        "extras", [ExtraDataset.read(path).as_json() for path in options.extras]
    )
    extras: Sequence[LoadedExtra] = [
        open_extra(
            ExtraDataset.from_json(values),
            dataset,
            seed=options.seed,
            cache_dir=options.cache_dir,
            progress=progress,
        )
        for values in described
    ]
    for number, extra in enumerate(extras):
        _expect_as_before(run, f"extra {number + 1}", extra)
    extras = keep_apart(dataset, split, extras)
    corrections = None
    if learns and options.feedback is not None:
        corrections = open_corrections(
            options.feedback,
            dataset,
            split,
            extras,
            batch_size=batch_size,
            # Not among other images: whoever removes the run removes people's photos with it.
            cache_dir=run.folder / "feedback" / ".cache",
            progress=progress,
        )
        _expect_as_before(run, "corrections", corrections)
        learned = corrections.dataset.digests[corrections.train]
        run.facts["corrections"] = {
            "train": len(learned),
            "held_back": len(corrections.dataset) - len(learned),
            "share": round(corrections.spec.share, 4),
            **SeenImages(learned, np.empty(0, np.uint64)).as_json(),
        }
    balance = options.balance if learns else 0.0
    return combine(dataset, split, extras, corrections=corrections, balance=balance)


def keep_apart(
    dataset: Dataset, split: Split, extras: Sequence[LoadedExtra]
) -> tuple[LoadedExtra, ...]:
    """Leave out of further data sets what is learned here and held out there, or the reverse.

    A picture may be in several data sets, such as last year's photos and all photos.

    Args:
        dataset: The main data set; it keeps all its images.
        split: Its split.
        extras: The further data sets; earlier ones keep their images.

    Raises:
        DataError: A data set loses all images of a side.
    """
    kept: list[LoadedExtra] = []
    for extra in extras:
        others = [(dataset, split.train, split.valid)]
        others += [(other.dataset, other.train, other.valid) for other in kept]
        learned = chain.from_iterable(other.image_blocks(train) for other, train, _ in others)
        held_out = chain.from_iterable(other.image_blocks(valid) for other, _, valid in others)
        images, train, valid = extra.dataset.image_blocks, extra.split.train, extra.split.valid
        elsewhere = [
            train[resemble(images(train), held_out)],
            valid[resemble(images(valid), learned)],
        ]
        kept.append(replace(extra, elsewhere=np.concatenate(elsewhere)))
        for part, left, why in (
            ("to learn from", kept[-1].train, "hold out"),
            ("to hold out", kept[-1].valid, "learn from"),
        ):
            if not len(left):
                raise DataError(
                    f"{extra.spec.data}: expected images {part}, but all of them show what the "
                    f"other data sets {why}; add images that those do not have"
                )
    return tuple(kept)


def open_corrections(
    folder: Path,
    main: Dataset,
    split: Split,
    extras: Sequence[LoadedExtra],
    *,
    batch_size: int,
    cache_dir: Path,
    progress: bool,
) -> LoadedExtra:
    """Read corrections with the labels of the main data set, but none that shows a held-out image.

    The rest is all learned from: a split of ten photos would measure nothing, and the held-out
    images of the other data sets say how good the new model is.

    Args:
        folder: As `shopwindow feedback export` writes it.
        main: Decides labels and size.
        split: Of `main`.
        extras: The further data sets of the training.
        batch_size: The corrections get at least one image of so many.
        cache_dir: Where the decoded photos are kept; people's photos, so a folder of their own.
        progress: Whether to show progress on stderr.

    Returns:
        The corrections; nothing is in the validation part, and what was left out is in neither.

    Raises:
        DataError: None can be used.
    """
    dataset = DataSpec(folder).load(
        rule=main.rule,
        vocabularies={"label": main.vocabularies[main.label_columns[0]]},
        cache_dir=cache_dir,
        progress=progress,
    )
    held_out = [
        main.image_blocks(split.valid),
        *(extra.dataset.image_blocks(extra.valid) for extra in extras),
    ]
    everything = np.arange(len(dataset), dtype=np.int64)
    shown = resemble(dataset.image_blocks(everything), chain.from_iterable(held_out))
    learned = everything[~shown]
    if not len(learned):
        raise DataError(
            f"{folder}: expected corrections to learn from, but all {len(dataset):,} show images "
            "that were held out to judge the model by; train without --with-feedback"
        )
    weight = CORRECTION_WEIGHT * len(learned) / len(split.train)
    fraction = min(MAX_CORRECTIONS_FRACTION, max(weight, 1 / batch_size))
    return LoadedExtra(
        ExtraDataset(folder, fraction),
        dataset,
        Split(learned, np.empty(0, np.int64), "corrections", split.seed, 0.0),
    )


def _expect_as_before(run: Run, name: str, extra: LoadedExtra) -> None:
    """Note the images of a further data set, or refuse others than were noted."""
    noted = run.facts.setdefault("further_images", {})
    # The split too, since it depends on groups as well.
    dataset = extra.dataset
    cells = dataset.cell_names(dataset.label_columns[0])
    labels = [cells[code] for code in dataset.codes[dataset.label_columns[0]]]
    parts = [*dataset.references, *labels, extra.split.digest(dataset)]
    found = hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
    if noted.setdefault(name, found) != found:
        raise DataError(
            f"{extra.spec.data}: expected the images and labels that the run was started "
            "with, found others; put them back, or start a new run"
        )
