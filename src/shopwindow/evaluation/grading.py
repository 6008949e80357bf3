"""Grade a model on a data set: read the data, find its validation part, predict, and count."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import KINDS_OUTPUT, Bundle, BundleInfo
from shopwindow.data.dataset import Dataset
from shopwindow.data.label_sets import bars_of
from shopwindow.data.labelled_images import LABEL_COLUMN_NAME
from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError
from shopwindow.evaluation.asking import (
    Probs,
    allowed_in,
    ask_as_served,
    open_predictor,
    targets_of,
)
from shopwindow.evaluation.grades import Grades
from shopwindow.evaluation.leakage import Part, choose_images, exposure_of
from shopwindow.evaluation.metrics import grade, sure_answers
from shopwindow.evaluation.report import Evaluation, hardest_images
from shopwindow.evaluation.set_grades import SetGrades, grade_sets
from shopwindow.inference.engine import EngineName
from shopwindow.inference.predictor import set_sizes, sure_rows
from shopwindow.plain_text import counted, percent

# Takes a data set and indices (n,) into it; returns (n, C) per label column of the model.
Answer = Callable[[Dataset, NDArray[np.int64]], Probs]


def grade_bundle(
    bundle: Bundle,
    data: Path,
    *,
    spec: DataSpec | None = None,
    part: Part | None = None,
    answer: Answer | None = None,
    cache_dir: Path | None = None,
    progress: bool = True,
    engine: EngineName = "auto",
) -> Evaluation:
    """Grade a bundle through the predictor that serves it.

    Args:
        bundle: What to grade. Its labels, threshold and record of the training data are used.
        data: A folder or a table.
        spec: How to read `data`; by default as the bundle recorded it.
        part: `valid` grades the validation part of the training, `all` every image. None takes all
            that the bundle has not learned from: of its own training data, the validation part.
        answer: What to ask instead of the bundle, such as the trained model it was made from.
        cache_dir: As for `load_dataset`.
        progress: Whether to show progress on stderr.
        engine: What runs the bundle; see `choose_engine`.

    Raises:
        UsageError: `part` is `valid`, but no image in `data` was held out of the training.
        DataError: Nothing in `data` has a label that the model knows, or it learned from all of it.
    """
    info, main = bundle.info, bundle.info.main
    ask, computed_by = answer, ""
    if ask is None:
        predictor = open_predictor(bundle, engine)  # fails before anything is read, if at all
        ask = partial(ask_as_served, predictor, progress=progress)
        computed_by = predictor.engine_name
    spec = spec or DataSpec.from_record(data, info.data)
    dataset = read_dataset(bundle, spec, cache_dir=cache_dir, progress=progress)
    indices, split_text, notes = choose_images(dataset, bundle, part)

    started = time.perf_counter()
    probabilities = ask(dataset, indices)
    seconds = time.perf_counter() - started
    if answer is not None:
        notes.append("graded: the trained model itself, before its confidences were calibrated")

    # The main columns belong together whatever they are called; attributes by their names.
    probs = probabilities[main.name]
    targets, more = _main_targets(bundle, dataset, indices, probs)
    notes += more
    attributes, more = _grade_attributes(bundle, dataset, indices, probabilities)
    if spec.is_recorded:
        notes += more
    notes += dataset.notes
    if dataset.dropped:
        notes.append(
            f"rows or images left out: {len(dataset.dropped):,}; shopwindow inspect lists them"
        )
    return Evaluation(
        model_name=info.name,
        model_version=info.version,
        model_sha256=bundle.sha256 if answer is None else "",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data=f"{data.resolve().name}: {counted(len(dataset), 'image')}",
        split=split_text,
        images=len(indices),
        column=main.name,
        grades=grade(probs, targets, main.labels),
        sure=sure_answers(probs, targets, info.threshold.least),
        seconds=seconds,
        attributes=attributes,
        hardest=hardest_images(
            probs,
            targets,
            main.labels,
            [dataset.references[index] for index in indices],
            lambda chosen: dataset.images(indices[chosen]),
        ),
        engine=computed_by,
        notes=tuple(notes),
        set_level=None if info.prediction_sets is None else info.prediction_sets.level,
        # The sets are calibrated for the bundle's answers, and for no others.
        sets=() if answer is not None else _grade_sets(info, probabilities, targets),
    )


def _main_targets(
    bundle: Bundle, dataset: Dataset, indices: NDArray[np.int64], probs: NDArray[np.float32]
) -> tuple[NDArray[np.int64], list[str]]:
    """Return (n,) true labels as the model numbers them, -1 for none, and what is not graded.

    Raises:
        DataError: There is nothing to grade.
    """
    labels, column = bundle.info.main.labels, dataset.label_columns[0]
    targets, unknown = targets_of(dataset, column, indices, labels, probs)
    nothing: NDArray[np.bool_] = np.logical_not(allowed_in(dataset, column, indices).any(axis=1))
    has_table = dataset.catalogue.image_column is not None
    if nothing.all():
        raise DataError(
            f"expected images with labels to grade, found {len(nothing):,} that show none of "
            "the labels; shopwindow predict says which predictions are sure"
        )
    if not (targets >= 0).any():
        advice = "name the column with --label-column" if has_table else "map them with --label-map"
        raise DataError(
            f"expected labels that the model knows, such as {labels[0]!r}, found "
            f"{', '.join(map(repr, unknown[:3]))}; {advice}"
        )
    notes = []
    if nothing.any():
        sure = [bundle.info.threshold.is_sure(float(row.max())) for row in probs[nothing]]
        notes.append(
            f"{counted(len(sure), 'image')} without any of the labels: not graded; "
            f"{percent(1 - sum(sure) / len(sure))} of their predictions are not sure"
        )
    if unknown:
        ungraded = int(((targets < 0) & ~nothing).sum())
        names = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        notes.append(
            f"{counted(ungraded, 'image')} not graded: labels that the model does not know "
            f"({names})"
        )
    return targets, notes


def _grade_sets(
    info: BundleInfo, answers: Probs, targets: NDArray[np.int64]
) -> tuple[SetGrades, ...]:
    """Grade the prediction sets of all images, of the sure ones and the rest, of each kind."""
    if info.prediction_sets is None:
        return ()
    probs = answers[info.main.name]
    sure = sure_rows(info.threshold, probs)
    parts = {"all": np.ones(len(probs), np.bool_), "sure": sure, "not sure": ~sure}
    if KINDS_OUTPUT in answers:
        likeliest = answers[KINDS_OUTPUT].argmax(axis=1)
        parts |= {
            f"like {kind.source}": likeliest == number
            for number, kind in enumerate(info.prediction_sets.kinds)
        }
    return grade_sets(probs, targets, set_sizes(info, answers), parts)


def _grade_attributes(
    bundle: Bundle, dataset: Dataset, indices: NDArray[np.int64], probabilities: Probs
) -> tuple[dict[str, Grades], list[str]]:
    """Grade the further label columns that the data have, and name those that they lack."""
    attributes, lacking = {}, []
    for column in bundle.info.columns[1:]:
        if column.name not in dataset.label_columns[1:]:
            lacking.append(column.name)
            continue
        probs = probabilities[column.name]
        targets, _ = targets_of(dataset, column.name, indices, column.labels, probs)
        if (targets >= 0).any():
            attributes[column.name] = grade(probs, targets, column.labels)
    if lacking and dataset.catalogue.image_column is not None:
        return attributes, [f"{', '.join(lacking)}: not graded, as the data has no such column"]
    return attributes, []


def read_dataset(
    bundle: Bundle,
    spec: DataSpec,
    *,
    labels_of_model: bool = False,
    cache_dir: Path | None = None,
    progress: bool = True,
) -> Dataset:
    """Read a data set as a bundle sees it: at its size, and where labels are mapped, with its own.

    Args:
        bundle: Says the size, and the labels that a label map leads to.
        spec: How to read it.
        labels_of_model: Whether to number the labels as the model does, and to leave out images
            whose label it does not have, also where no label map leads to its labels.
        cache_dir: As for `load_dataset`.
        progress: Whether to show progress on stderr.
    """
    main, *further = bundle.info.columns
    bars = bars_of(label for column in bundle.info.columns for label in column.labels)

    def read(spec: DataSpec) -> Dataset:
        vocabularies = {
            spec.label_column or LABEL_COLUMN_NAME: main.labels,
            **{column.name: column.labels for column in further if column.name in spec.also},
        }
        return replace(spec, bars=bars).load(
            rule=bundle.info.rule,
            vocabularies=vocabularies if labels_of_model or spec.label_map is not None else None,
            cache_dir=cache_dir,
            progress=progress,
        )

    plain = replace(spec, label_map=None, min_images=1)
    try:
        dataset = read(spec)
    except DataError:
        if not spec.is_recorded or spec == plain:
            raise
        return read(plain)
    if not spec.is_recorded or spec.min_images <= 1:
        return dataset
    # Of a part of the training's images, labels that the model has may be too rare to be kept.
    is_whole = set(main.labels) <= set(dataset.vocabularies[dataset.label_columns[0]])
    if is_whole and exposure_of(bundle, dataset).seen.all():
        return dataset
    # Other images than those of the training: what was too rare to learn is there to be graded.
    return read(replace(spec, min_images=1))
