"""Open what a training learns from, as its options say; without torch."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence

import numpy as np

from shopwindow.bundle import INPUT_NAME
from shopwindow.bundle.seen import SeenImages
from shopwindow.data.dataset import Dataset
from shopwindow.data.spec import DataSpec
from shopwindow.data.split import Split
from shopwindow.errors import DataError, UsageError
from shopwindow.imaging.preprocess import ResizeRule
from shopwindow.training.corrections import open_corrections
from shopwindow.training.held_out import keep_apart
from shopwindow.training.mix import ExtraDataset, LoadedExtra, TrainingMix, combine, open_extra
from shopwindow.training.options import TrainingOptions
from shopwindow.training.run import Run


def check_labels(dataset: Dataset) -> None:
    """Refuse, before any training, what could not be trained or exported.

    Raises:
        UsageError: A column with fewer than two labels, or with a name that is taken.
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
            "model is called so; rename the column"
        )


def open_dataset(options: TrainingOptions, size: tuple[int, int]) -> Dataset:
    """Load the data of a run at its input size."""
    return DataSpec.from_options(vars(options)).load(
        rule=ResizeRule(height_px=size[0], width_px=size[1]),
        with_test=False,
        cache_dir=options.cache_dir,
        progress=sys.stderr.isatty(),  # a bar in a log file would be a hundred lines
    )


def open_mix(
    run: Run, dataset: Dataset, split: Split, *, batch_size: int, learns: bool = True
) -> TrainingMix:
    """Read the further data sets and the corrections, as they were when the run was started.

    Args:
        run: Notes what it found, and refuses anything else when it goes on.
        dataset: The main data set.
        split: Of it.
        batch_size: Of which corrections get at least one image.
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
            # Not among other images: who removes the run removes what it had of people.
            cache_dir=run.folder / "feedback" / ".cache",
            progress=progress,
        )
        _expect_as_before(run, "corrections", corrections)
        learned = len(corrections.train)
        run.facts["corrections"] = {
            "train": learned,
            "held_back": len(corrections.dataset) - learned,
            "share": round(corrections.spec.share, 4),
            **SeenImages(
                corrections.dataset.digests[corrections.train], np.empty(0, np.uint64)
            ).as_json(),
        }
    balance = options.balance if learns else 0.0
    return combine(dataset, split, extras, corrections=corrections, balance=balance)


def _expect_as_before(run: Run, name: str, extra: LoadedExtra) -> None:
    """Note the images of a further data set, or refuse others than were noted."""
    noted = run.facts.setdefault("further_images", {})
    # The split too: it depends on labels and groups as well. But of corrections none is held out.
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
