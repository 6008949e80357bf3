"""Open what a training learns from, as its options say; without torch."""

from __future__ import annotations

import sys

from shopwindow.bundle import INPUT_NAME
from shopwindow.dataset.dataset import Dataset, load_dataset
from shopwindow.dataset.label_sets import read_label_map
from shopwindow.errors import UsageError
from shopwindow.imaging.preprocess import ResizeRule
from shopwindow.training.options import TrainingOptions


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
    return load_dataset(
        options.data,
        rule=ResizeRule(height_px=size[0], width_px=size[1]),
        labels_file=options.labels_file,
        image_column=options.image_column,
        label_column=options.label_column,
        also=options.also,
        label_map=read_label_map(options.label_map) if options.label_map else None,
        group_column=options.group_column,
        min_images=options.min_images,
        cache_dir=options.cache_dir,
        progress=sys.stderr.isatty(),  # a bar in a log file would be a hundred lines
    )
