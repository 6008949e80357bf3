"""What a bundle records of the data that it learned from; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shopwindow.dataset.label_sets import read_label_map
from shopwindow.training.mixture import Mixture, describe
from shopwindow.training.options import TrainingOptions


def data_record(
    options: TrainingOptions, mixture: Mixture, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what stands under `data` in the metadata: names and numbers, never paths.

    Args:
        options: What was asked for.
        mixture: What was learned from.
        facts: What the run has found out; see `Run`.
    """
    dataset, split = mixture.dataset, mixture.split
    return {
        "source": options.data.name,
        "images": len(dataset),
        "train": len(split.train),
        "valid": len(split.valid),
        "dropped": len(dataset.dropped),
        "min_images": options.min_images,
        "split": split.as_record(dataset),
        "also": describe(mixture),
        **_corrections(facts),
        "balance": options.balance,
        "read": {
            # A name, never a path: the bundle travels to other machines.
            "labels": options.labels_file.name if options.labels_file else None,
            "image_column": options.image_column,
            "label_column": options.label_column,
            "also": list(options.also),
            "label_map": _label_map(options.label_map),
            "group_column": options.group_column,
            "min_images": options.min_images,
        },
    }


def _label_map(path: Path | None) -> dict[str, list[str] | None] | None:
    """Return what labels mean, for those who read the data again without the file."""
    if path is None:
        return None
    return {
        label: None if allowed is None else list(allowed)
        for label, allowed in read_label_map(path).items()
    }


def _corrections(facts: Mapping[str, Any]) -> dict[str, Any]:
    found = facts.get("corrections")
    keys = ("train", "held_back", "share")
    return {} if found is None else {"corrections": {key: found[key] for key in keys}}
