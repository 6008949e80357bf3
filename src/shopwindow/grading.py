"""Grade a model on a data set: read the data, find its validation part, ask the model, add up.

`shopwindow.evaluation` gets arrays and knows neither models nor data sets; this is where they meet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from shopwindow.bundle import Bundle, BundleInfo
from shopwindow.data.dataset import Dataset, load_dataset
from shopwindow.data.label_sets import NO_LABEL, LabelMap, allowed_labels, as_label_map, bars_of
from shopwindow.data.labelled_images import LABEL_COLUMN_NAME
from shopwindow.data.tables import TABLE_SUFFIXES
from shopwindow.data.which_table import has_table, table_columns
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


@dataclass(frozen=True)
class Reading:
    """How the data is read; the arguments of `load_dataset` by the same names.

    With a label map, the labels it leads to are those of the model. One that was recorded with the
    model (`is_recorded`) plays no part in data of which it names no label: these are other data.
    Nor does a recorded `min_images` in any data but those of the training.
    """

    labels_file: Path | None = None
    image_column: str | None = None
    label_column: str | None = None
    also: tuple[str, ...] = ()
    label_map: LabelMap | None = None
    group_column: str | None = None
    min_images: int = 1
    is_recorded: bool = False


def recorded_reading(bundle: Bundle, data: Path, labels_file: Path | None = None) -> Reading:
    """Return how the bundle's own training data was read, so that it is read the same way again.

    A table of another name is read by the same columns, as far as it has them. Data without a table
    where there was one is other data, and is read as it comes.

    Args:
        bundle: Says how its data was read.
        data: What is to be read.
        labels_file: The table, where one was named.
    """
    record = bundle.info.data.get("read")
    if not isinstance(record, dict):
        return Reading(labels_file=labels_file)
    labels_file = labels_file or _recorded_table(bundle, data)
    columns = table_columns(data, labels_file)
    names = [record.get(key) for key in ("image_column", "label_column", "also", "group_column")]
    if columns is None and (any(names) or record.get("labels")):
        return Reading()
    image, label, group = (
        name if columns is None or columns.count(name) == 1 else None
        for name in (record.get(key) for key in ("image_column", "label_column", "group_column"))
    )
    also = record.get("also") or ()
    label_map = record.get("label_map")
    return Reading(
        labels_file=labels_file,
        image_column=image,
        label_column=label,
        also=tuple(name for name in also if columns is None or columns.count(name) == 1),
        label_map=None if label_map is None else as_label_map(label_map),
        is_recorded=True,
        group_column=group,
        min_images=record.get("min_images") or 1,
    )


def _recorded_table(bundle: Bundle, data: Path) -> Path | None:
    """Return the table of the training, where `data` has one of that name or none at all."""
    named = bundle.info.data["read"].get("labels") or bundle.info.data.get("source")
    if data.is_file() or not isinstance(named, str):
        return None
    # Only the name: a bundle may come from anywhere, and says nothing about where to read.
    name = Path(named).name
    if not name.lower().endswith(TABLE_SUFFIXES):  # a folder of photos
        return None
    if (data / name).is_file():
        return data / name
    return Path(name) if Path(name).is_file() and not has_table(data) else None


def grade_bundle(
    bundle: Bundle,
    data: Path,
    *,
    reading: Reading | None = None,
    part: Part | None = None,
    answer: Answer | None = None,
    cache_dir: Path | None = None,
    progress: bool = True,
    engine: EngineName = "auto",
) -> Evaluation:
    """Grade a bundle through the predictor that serves it.

    Args:
        bundle: What to grade. Its labels, threshold and record of the training data are used.
        data: As for `load_dataset`.
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
    reading = reading or recorded_reading(bundle, data)
    dataset = read_dataset(bundle, data, reading, cache_dir=cache_dir, progress=progress)
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
    data: Path,
    reading: Reading,
    *,
    labels_of_model: bool = False,
    cache_dir: Path | None = None,
    progress: bool = True,
) -> Dataset:
    """Read a data set as a bundle sees it: at its size, and where labels are mapped, with its own.

    Args:
        bundle: Says the size, and the labels that a label map leads to.
        data: As for `load_dataset`.
        reading: How to read it.
        labels_of_model: Whether to number the labels as the model does, and to leave out images
            whose label it does not have, also where no label map leads to its labels.
        cache_dir: As for `load_dataset`.
        progress: Whether to show progress on stderr.
    """
    read = partial(
        _read,
        bundle,
        data,
        labels_of_model=labels_of_model,
        cache_dir=cache_dir,
        progress=progress,
    )
    as_it_comes = replace(reading, label_map=None, min_images=1)
    try:
        dataset = read(reading)
    except DataError:
        if not reading.is_recorded or reading == as_it_comes:
            raise
        return read(as_it_comes)
    filtered = reading.is_recorded and reading.min_images > 1
    if filtered and not standing_of(bundle, dataset).known.all():
        # Other images than those of the training: what was too rare to learn is there to be graded.
        return read(replace(reading, min_images=1))
    return dataset


def _read(
    bundle: Bundle,
    data: Path,
    reading: Reading,
    *,
    labels_of_model: bool,
    cache_dir: Path | None,
    progress: bool,
) -> Dataset:
    return load_dataset(
        data,
        rule=bundle.info.rule,
        labels_file=reading.labels_file,
        image_column=reading.image_column,
        label_column=reading.label_column,
        also=reading.also,
        label_map=reading.label_map,
        group_column=reading.group_column,
        bars=bars_of(label for column in bundle.info.columns for label in column.labels),
        vocabularies=_vocabularies(bundle, reading)
        if labels_of_model or reading.label_map is not None
        else None,
        min_images=reading.min_images,
        cache_dir=cache_dir,
        progress=progress,
    )


def _vocabularies(bundle: Bundle, reading: Reading) -> dict[str, tuple[str, ...]]:
    """Return the model's labels, by the columns of the data."""
    main, *further = bundle.info.columns
    known = {column.name: column.labels for column in further if column.name in reading.also}
    return {reading.label_column or LABEL_COLUMN_NAME: main.labels, **known}


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
