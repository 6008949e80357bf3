"""What a bundle says about its own training, before its figures are known."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from shopwindow.bundle import BundleInfo, LabelColumn
from shopwindow.bundle.out_of_fold import METHOD as CROSS_VALIDATED
from shopwindow.bundle.seen import SeenImages, read_seen
from shopwindow.calibration.calibrating import Calibration
from shopwindow.data.spec import DataSpec
from shopwindow.evaluation.embedding_sample import Part, embed_sample
from shopwindow.inference.predictor import Predictor
from shopwindow.runs.mix import TrainingMix
from shopwindow.runs.run_folder import Run
from shopwindow.runs.training_options import TrainingOptions

_ENOUGH_HELD_OUT = 100  # images, for a sample of them


def describe_bundle(
    run: Run,
    mix: TrainingMix,
    calibration: Calibration,
    training: Mapping[str, Any],
    *,
    packages: Sequence[str],
    mapped: bool,
) -> BundleInfo:
    """Return what a bundle says about itself: names and numbers, never paths.

    Args:
        run: Its options, and what it has found out.
        mix: What was learned from.
        calibration: Of its answers.
        training: How it was trained; what all recipes have in common is added.
        packages: Those whose versions are recorded.
        mapped: Whether the bundle has an activation map.
    """
    start = run.facts.get("start")
    of_start = {key: start[key] for key in ("name", "version", "sha256")} if start else None
    dataset, now = mix.dataset, datetime.now(UTC)
    return BundleInfo(
        name=run.options.model_name,
        version=f"{now:%Y.%m.%d}",
        created=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        rule=dataset.rule,
        columns=tuple(
            LabelColumn(name, dataset.vocabularies[name]) for name in dataset.label_columns
        ),
        threshold=calibration.threshold,
        families=calibration.families,
        data=_data_record(run.options, mix, run.facts) | {"curves": list(calibration.curves)},
        training={
            "recipe": run.options.recipe,
            **training,
            **({"started_from": of_start} if of_start else {}),
            "seed": run.options.seed,
            "versions": {
                "python": ".".join(map(str, sys.version_info[:3])),
                **{package: version(package) for package in packages},
            },
        },
        card=run.facts["card"],
        activation_map=mapped,
        prediction_sets=calibration.prediction_sets,
    )


def sample_training(mix: TrainingMix, predictor: Predictor, *, seed: int) -> dict[str, Any]:
    """Return embeddings of a sample of the training's photos, to be merged into a bundle's `data`.

    Each data set by its fraction of a batch, corrections left out. Of those that hold enough photos
    out, these are taken: a fine-tuned network knows the others by heart, and they would look
    closer together than any new photos of the same kind.

    Args:
        mix: What was learned from.
        predictor: Of the bundle, before it is written.
        seed: Of the choice.
    """
    held_out = [mix.split.valid, *(extra.valid for extra in mix.extras)]
    parts: list[Part] = [
        (dataset, valid if len(valid) >= _ENOUGH_HELD_OUT else source.train, source.batch_fraction)
        for dataset, valid, source in zip(mix.datasets, held_out, mix.sources, strict=False)
    ]
    return embed_sample(predictor, parts, seed=seed)


def _data_record(
    options: TrainingOptions, mix: TrainingMix, facts: Mapping[str, Any]
) -> dict[str, Any]:
    dataset, split = mix.dataset, mix.split
    has_table = dataset.catalogue.image_column is not None
    return {
        "source": options.data.name,
        "images": len(dataset),
        "train": len(split.train),
        "valid": len(split.valid),
        "dropped": len(dataset.dropped),
        "min_images": options.min_images,
        "split": split.as_record(dataset),
        "also": [
            {
                "source": extra.spec.data.name,
                "images": len(extra.dataset),
                "train": len(extra.train),
                "valid": len(extra.valid),
                "left_out": len(extra.elsewhere),
                "share": extra.spec.share,
                "augment": extra.spec.augment,
                "split": extra.split.as_record(extra.dataset),
            }
            for extra in mix.extras
        ],
        **_seen(mix, facts).as_json(),
        **_corrections(facts),
        "balance": options.balance,
        # Those in use, also where nobody named them; class folders have none.
        "read": replace(
            DataSpec.from_options(vars(options) | {"corrections": dataset.corrections}),
            image_column=dataset.catalogue.image_column,
            label_column=dataset.label_columns[0] if has_table else None,
        ).as_json(),
    }


def _seen(mix: TrainingMix, facts: Mapping[str, Any]) -> SeenImages:
    """Return the digests of all images of a training, and of the bundle that it started from."""
    learned, held_out = [], []
    if mix.split.method != CROSS_VALIDATED:  # out-of-fold answers list their images themselves
        learned.append(mix.dataset.digests[mix.split.train])
        held_out.append(mix.dataset.digests[mix.split.valid])
    for extra in mix.extras:
        # Held out here, but learned from in another data set.
        learned_here = np.union1d(extra.train, np.intersect1d(extra.split.valid, extra.elsewhere))
        learned.append(extra.dataset.digests[learned_here])
        held_out.append(extra.dataset.digests[extra.valid])
    further = (read_seen(facts.get(key) or {}) for key in ("start", "corrections"))
    learned += [seen.learned for seen in further if seen is not None]
    none = np.empty(0, np.uint64)
    return SeenImages(np.concatenate([none, *learned]), np.concatenate([none, *held_out]))


def _corrections(facts: Mapping[str, Any]) -> dict[str, Any]:
    found = facts.get("corrections")
    keys = ("train", "held_back", "share")
    return {} if found is None else {"corrections": {key: found[key] for key in keys}}
