"""Grade a model on a data set: read the data, find its validation part, ask the model, add up.

`shopwindow.evaluation` gets arrays and knows neither models nor data sets; this is where they meet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from shopwindow.bundle import Bundle, BundleInfo
from shopwindow.data.dataset import Dataset
from shopwindow.data.label_sets import NO_LABEL, allowed_labels, bars_of
from shopwindow.data.labelled_images import LABEL_COLUMN_NAME
from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError, ImageError
from shopwindow.evaluation.metrics import grade, sure_answers
from shopwindow.evaluation.report import Evaluation, hardest_images
from shopwindow.evaluation.summary import percent
from shopwindow.fairness import Part, choose_images, out_of_fold_answers, standing_of
from shopwindow.inference.engine import EngineName
from shopwindow.inference.predictor import Predictor
from shopwindow.plain_text import counted

BATCH_SIZE = 64
# Of fewer answers, chance alone may make a good model look like a bad one.
ENOUGH_TO_TELL = 20

Probabilities = dict[str, NDArray[np.float32]]
# Takes a data set and indices (n,) into it; returns (n, C) per label column of the model.
Answer = Callable[[Dataset, NDArray[np.int64]], Probabilities]


def grade_bundle(
    bundle: Bundle,
    data: Path,
    *,
    reading: DataSpec | None = None,
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
        reading: How to read `data`; by default as the bundle recorded it.
        part: `valid` grades the validation part of the training, `all` every image. None takes all
            that the bundle has not learned from: of its own training data, the validation part.
        answer: Whom to ask instead of the bundle, such as the trained model it was made from.
        cache_dir: As for `load_dataset`.
        progress: Whether to show progress on stderr.
        engine: What runs the bundle; see `choose_engine`.

    Raises:
        UsageError: `part` is `valid`, but no image in `data` was held out of the training.
        DataError: Nothing in `data` has a label that the model knows, or it learned from all of it.
    """
    info = bundle.info
    ask, computed_by = answer, ""
    if ask is None:
        predictor = Predictor(bundle, engine=engine)  # fails before anything is read, if at all
        ask, computed_by = partial(ask_bundle, predictor, progress=progress), predictor.engine_name
    reading = reading or DataSpec.from_record(data, info.data)
    dataset = read_dataset(bundle, reading, cache_dir=cache_dir, progress=progress)
    indices, split_text, notes = choose_images(dataset, bundle, part)

    started = time.perf_counter()
    probabilities = ask(dataset, indices)
    if answer is not None:
        notes.append("answers of the trained model itself, before its confidences were calibrated")
    seconds = time.perf_counter() - started

    main, *further = info.columns
    # The main columns belong together whatever they are called; attributes by their names.
    shares = probabilities[main.name]
    targets, unknown = _targets(dataset, dataset.label_columns[0], indices, main.labels, shares)
    allowed = allowed_in(dataset, dataset.label_columns[0], indices)
    nothing: NDArray[np.bool_] = np.logical_not(allowed.any(axis=1))
    if nothing.any():
        sure = [info.threshold.is_sure(float(row.max())) for row in shares[nothing]]
        notes.append(
            f"{counted(len(sure), 'image')} without any of the labels: not graded; "
            f"{percent(1 - sum(sure) / len(sure))} of their answers are not sure"
        )
    if unknown:
        strange = int(((targets < 0) & ~nothing).sum())
        notes.append(_unknown_note(unknown, strange))
    if not (targets >= 0).any():
        if nothing.all():
            raise DataError(
                f"expected images with labels to grade, found {len(nothing):,} that show none of "
                "them; shopwindow predict says which of its answers are sure"
            )
        raise DataError(
            f"expected labels that the model knows, such as {main.labels[0]!r}, found "
            f"{', '.join(map(repr, unknown[:3]))}; "
            + (
                "name the column with --label-column"
                if dataset.catalogue.image_column is not None
                else "say with --label-map what they mean"
            )
        )
    attributes = {}
    has_columns = dataset.catalogue.image_column is not None
    lacking = [one.name for one in further if one.name not in dataset.label_columns[1:]]
    if lacking and reading.is_recorded and has_columns:
        notes.append(f"{', '.join(lacking)}: not graded, as the data have no such column")
    for column in further:
        if column.name in dataset.label_columns[1:]:
            codes, _ = _targets(
                dataset, column.name, indices, column.labels, probabilities[column.name]
            )
            if (codes >= 0).any():
                attributes[column.name] = grade(probabilities[column.name], codes, column.labels)
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
        grades=grade(shares, targets, main.labels),
        sure=sure_answers(shares, targets, info.threshold.least),
        seconds=seconds,
        attributes=attributes,
        hardest=hardest_images(
            shares,
            targets,
            main.labels,
            [dataset.references[index] for index in indices],
            lambda chosen: dataset.images(indices[chosen]),
        ),
        engine=computed_by,
        notes=tuple(notes),
    )


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
    filtered = spec.is_recorded and spec.min_images > 1
    if filtered and not standing_of(bundle, dataset).known.all():
        # Other images than those of the training: what was too rare to learn is there to be graded.
        return read(replace(spec, min_images=1))
    return dataset


def ask_bundle(
    predictor: Predictor, dataset: Dataset, indices: NDArray[np.int64], *, progress: bool
) -> Probabilities:
    """Return (n, C) per label column, asked as a server would: from the original file's bytes.

    Of an image that a cross-validated bundle has learned from, it is the answer that it carries
    for it: that of a head which had not.
    """
    parts: dict[str, list[NDArray[np.float32]]] = {
        column.name: [] for column in predictor.bundle.info.columns
    }
    known = out_of_fold_answers(predictor.bundle)
    with tqdm(total=len(indices), desc="Predicting", unit=" images", disable=not progress) as bar:
        for start in range(0, len(indices), BATCH_SIZE):
            batch = indices[start : start + BATCH_SIZE]
            images = [_prepare(predictor, dataset, int(index)) for index in batch]
            answers = predictor.probabilities(np.stack(images))
            if known is not None:
                places = [known.position_of(int(digest)) for digest in dataset.digests[batch]]
                for row, place in enumerate(places):
                    for name, rows in answers.items():
                        if place is not None:
                            rows[row] = known.answers[name][place]
            for name, rows in answers.items():
                parts[name].append(rows)
            bar.update(len(batch))
    return {name: np.concatenate(rows) for name, rows in parts.items()}


def _prepare(predictor: Predictor, dataset: Dataset, index: int) -> NDArray[np.uint8]:
    """Return (S, T, 3) uint8 as a server would see an image."""
    try:
        return predictor.prepare(dataset.read_bytes(index))
    except ImageError:  # gone since it was decoded, or it may not be read any more
        image: NDArray[np.uint8] = dataset.images([index])[0]
        return image


def _targets(
    dataset: Dataset,
    column: str,
    indices: NDArray[np.int64],
    labels: Sequence[str],
    shares: NDArray[np.float32],
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the images' labels as the model numbers them, -1 for none, and the labels it lacks.

    Where an image allows several, it is the one of them that the model thinks likeliest.
    """
    known = {label: number for number, label in enumerate(labels)}
    vocabulary = dataset.vocabularies[column]
    allowed = allowed_in(dataset, column, indices)
    unknown = [
        vocabulary[code] for code in np.flatnonzero(allowed.any(0)) if vocabulary[code] not in known
    ]
    shared = [code for code, label in enumerate(vocabulary) if label in known]
    right = np.zeros((len(indices), len(labels)), np.bool_)
    right[:, [known[vocabulary[code]] for code in shared]] = allowed[:, shared]
    best = np.where(right, shares, -1.0).argmax(axis=1)
    return np.where(right.any(axis=1), best, NO_LABEL).astype(np.int64), unknown


def allowed_in(dataset: Dataset, column: str, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return (n, C): which labels of the data set's vocabulary each image allows."""
    return allowed_labels(dataset.codes[column][indices], dataset.sets[column])


def _unknown_note(unknown: Sequence[str], images: int) -> str:
    names = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
    return f"{counted(images, 'image')} not graded: labels that the model does not know ({names})"


def is_no_better_than_commonest(info: BundleInfo) -> bool:
    """Say whether a model is right no more often than who always names the commonest label.

    Of fewer than `ENOUGH_TO_TELL` images nobody can say, and it is taken to be better.

    A bundle from before this was measured is taken to be better.
    """
    found = info.quality.get("commonest")
    accuracy = info.quality.get("accuracy")
    if not isinstance(found, dict) or not isinstance(accuracy, int | float):
        return False
    images = info.quality.get("images", 0)
    return bool(images >= ENOUGH_TO_TELL and accuracy <= found.get("share", 0))
