"""Grade a model on a data set: read the data, find its validation part, ask the model, add up.

`shopwindow.evaluation` gets arrays and knows neither models nor data sets; this is where they meet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from shopwindow.bundle import Bundle, BundleInfo
from shopwindow.bundle.out_of_fold import OutOfFoldAnswers, digest_of, read_out_of_fold
from shopwindow.dataset.catalogue import has_table
from shopwindow.dataset.dataset import Dataset, load_dataset
from shopwindow.dataset.label_sets import NO_LABEL, LabelMap, allowed_labels, as_label_map, bars_of
from shopwindow.dataset.labelled_images import LABEL_COLUMN_NAME
from shopwindow.dataset.split import Split, split_images
from shopwindow.errors import DataError, ShopwindowError, UsageError
from shopwindow.evaluation.metrics import grade, sure_answers
from shopwindow.evaluation.report import Evaluation, hardest_images
from shopwindow.evaluation.summary import percent
from shopwindow.inference.engine import EngineName
from shopwindow.inference.predictor import Predictor

BATCH_SIZE = 64
# Of fewer answers, chance alone may make a good model look like a bad one.
ENOUGH_TO_TELL = 20

Part = Literal["valid", "all"]
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


def recorded_reading(bundle: Bundle, data: Path) -> Reading:
    """Return how the bundle's own training data was read, so that it is read the same way again.

    Data without a table where there was one, or without one of the recorded name, is other data,
    and is read as it comes.
    """
    record = bundle.info.data.get("read")
    if not isinstance(record, dict):
        return Reading()
    # Only the name: a bundle may come from anywhere, and says nothing about where to read.
    labels = Path(record["labels"]).name if record.get("labels") else None
    columns = [record.get(key) for key in ("image_column", "label_column", "also", "group_column")]
    if labels:
        is_other = not any(Path(folder, labels).exists() for folder in (data, "."))
    else:
        is_other = any(columns) and not has_table(data)
    if is_other:
        return Reading()
    label_map = record.get("label_map")
    return Reading(
        labels_file=Path(labels) if labels else None,
        image_column=record.get("image_column"),
        label_column=record.get("label_column"),
        also=tuple(record.get("also") or ()),
        label_map=None if label_map is None else as_label_map(label_map),
        is_recorded=True,
        group_column=record.get("group_column"),
        min_images=record.get("min_images") or 1,
    )


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
        part: `valid` grades the validation part of the training, `all` every image. None takes the
            validation part if `data` is what the bundle was trained on, and all of it if not.
        answer: Whom to ask instead of the bundle, such as the trained model it was made from.
        cache_dir: As for `load_dataset`.
        progress: Whether to show progress on stderr.
        engine: What runs the bundle; see `choose_engine`.

    Raises:
        UsageError: `part` is `valid`, but `data` is not what the bundle was trained on.
        DataError: Nothing in `data` has a label that the model knows.
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
            f"{len(sure):,} images show none of the labels and were not graded; "
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
            f"{', '.join(map(repr, unknown[:3]))}; name the column with --label-column"
        )
    attributes = {}
    for column in further:
        if column.name in dataset.label_columns[1:]:
            codes, _ = _targets(
                dataset, column.name, indices, column.labels, probabilities[column.name]
            )
            if (codes >= 0).any():
                attributes[column.name] = grade(probabilities[column.name], codes, column.labels)
    if dataset.dropped:
        notes.append(
            f"{len(dataset.dropped):,} rows or images were left out; shopwindow inspect lists them"
        )
    return Evaluation(
        model_name=info.name,
        model_version=info.version,
        model_sha256=bundle.sha256 if answer is None else "",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data=f"{data.resolve().name}: {len(dataset):,} images",
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
    if filtered and fair_images(bundle, dataset) is None:
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


def choose_images(
    dataset: Dataset, bundle: Bundle, part: Part | None
) -> tuple[NDArray[np.int64], str, list[str]]:
    """Return which images to grade, the same in words, and what a reader must know about it."""
    everything = np.arange(len(dataset), dtype=np.int64)
    text = f"all {len(dataset):,} images"
    records = recorded_splits(bundle)
    learned = learned_images(bundle, dataset)
    if learned.any():
        fair = _fair_beside_learned(bundle, dataset, learned)
        notes = [
            f"the model was trained on {learned.sum():,} of these images; they are graded by "
            "cross-validation: each answer is from a model that had not seen the image"
        ]
        if rest := len(dataset) - len(fair):
            text = f"{len(fair):,} of {len(dataset):,} images"
            notes.append(
                f"{rest:,} images were not graded, as the model may have learned from them, and "
                "carries no answers to them that are out of fold"
            )
        return fair, text, notes
    if part == "all":
        return everything, text, ["all images were graded, also any that the model learned from"]
    for record in records:
        split = find_split(dataset, record)
        if split is None:
            continue
        text = (
            f"the validation part: {len(split.valid):,} of {len(dataset):,} images "
            f"({split.method} split, seed {split.seed})"
        )
        return split.valid, text, [*_left_out(record)]
    if part == "valid":
        raise UsageError(
            "--part valid: expected the data that the model was trained on, read in the same way, "
            "found other images or labels; leave it out to grade all of them"
        )
    if learned_from := out_of_fold_answers(bundle):
        return (
            everything,
            text,
            [
                f"none of these files is one of the {len(learned_from.digests):,} that the model "
                "was trained on; where they show the same pictures anyway, the grade is too good"
            ],
        )
    note = (
        "not the whole data that the model was trained on: all images were graded, and if it "
        "learned from some of them, the grade is too good"
    )
    return everything, text, [note]


def fair_images(bundle: Bundle, dataset: Dataset) -> NDArray[np.int64] | None:
    """Return the images that a bundle may be judged by, as far as it says; None if it says nothing.

    Those that it held out, and those to which it carries answers that are out of fold.

    Args:
        bundle: Made by `shopwindow train`.
        dataset: Read as for its training.
    """
    learned = learned_images(bundle, dataset)
    if learned.any():
        return _fair_beside_learned(bundle, dataset, learned)
    splits = [find_split(dataset, record) for record in recorded_splits(bundle)]
    parts = [split.valid for split in splits if split is not None]
    return np.unique(np.concatenate(parts)) if parts else None


def _fair_beside_learned(
    bundle: Bundle, dataset: Dataset, learned: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return what is fair where a cross-validated bundle has learned from some of the images."""
    splits = [find_split(dataset, record) for record in recorded_splits(bundle)]
    fair = learned.copy()
    for split in splits:
        if split is not None:
            fair[split.valid] = True
    data = bundle.info.data
    if not data.get("also") and not data.get("corrections"):
        fair[:] = True  # it has learned from nothing else, so all others are new to it
    return np.flatnonzero(fair)


def recorded_splits(bundle: Bundle) -> list[object]:
    """Return what the bundle recorded of the splits of all data sets that it learned from."""
    return [
        {**split, "left_out": record.get("left_out")}
        for record in _recorded(bundle)
        if isinstance(split := record.get("split"), dict)
    ]


def _left_out(record: object) -> Iterator[str]:
    """Say where the validation part may hold what the model learned from another data set."""
    match record:
        case {"left_out": int(count)} if count > 0:
            yield (
                f"{count:,} images of this data set were left out of the training's figures, since "
                "another data set has the same ones on the other side of its split; those of them "
                "that are in the validation part were graded here"
            )


def recorded_sources(bundle: Bundle) -> list[object]:
    """Return what the data sets that a bundle learned from were called."""
    return [record.get("source") for record in _recorded(bundle)]


def _recorded(bundle: Bundle) -> list[dict[str, Any]]:
    also = bundle.info.data.get("also")
    further = also if isinstance(also, list) else []
    return [record for record in (bundle.info.data, *further) if isinstance(record, dict)]


def _vocabularies(bundle: Bundle, reading: Reading) -> dict[str, tuple[str, ...]]:
    """Return the model's labels, by the columns of the data."""
    main, *further = bundle.info.columns
    known = {column.name: column.labels for column in further if column.name in reading.also}
    return {reading.label_column or LABEL_COLUMN_NAME: main.labels, **known}


def find_split(dataset: Dataset, record: object) -> Split | None:
    """Return the split of the training, or None if this is not the data that was split."""
    try:
        match record:
            case {"method": method, "seed": seed, "valid_fraction": fraction, "digest": digest}:
                split = split_images(dataset, valid_fraction=fraction, seed=seed, method=method)
                return split if split.digest(dataset) == digest else None
    except (ShopwindowError, TypeError, ValueError):
        pass  # data that cannot be split so, or a record that this version does not understand
    return None


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
            blobs = [dataset.read_bytes(int(index)) for index in batch]
            answers = predictor.probabilities(np.stack([predictor.prepare(b) for b in blobs]))
            if known is not None:
                places = [known.position_of(digest_of(blob)) for blob in blobs]
                for row, place in enumerate(places):
                    for name, rows in answers.items():
                        if place is not None:
                            rows[row] = known.answers[name][place]
            for name, rows in answers.items():
                parts[name].append(rows)
            bar.update(len(batch))
    return {name: np.concatenate(rows) for name, rows in parts.items()}


def out_of_fold_answers(bundle: Bundle) -> OutOfFoldAnswers | None:
    """Return what a cross-validated bundle carries; None of one that held images out.

    Raises:
        BundleError: It is damaged.
    """
    columns = [(column.name, len(column.labels)) for column in bundle.info.columns]
    return read_out_of_fold(bundle.info.data, columns)


def learned_images(bundle: Bundle, dataset: Dataset) -> NDArray[np.bool_]:
    """Return (N,) which images of a data set a cross-validated bundle has learned from."""
    if (known := out_of_fold_answers(bundle)) is None:
        return np.zeros(len(dataset), np.bool_)
    digests = [digest_of(dataset.read_bytes(index)) for index in range(len(dataset))]
    return np.isin(np.array(digests, np.uint64), known.digests)


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
    return f"{images:,} images were not graded: the model does not know their labels ({names})"


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
