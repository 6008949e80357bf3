"""The recipe `probe`: a bundle in seconds, in the environment that serves.

Each image goes through a frozen ImageNet backbone once, and a logistic regression on the features
is all that is fitted. Of few images none is held out: they are cross-validated, and the head that
is written has learned from all of them.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import ACTIVATION_OUTPUT, BundleInfo, read_bundle
from shopwindow.bundle.embedding_output import append_embedding
from shopwindow.bundle.out_of_fold import MAX_ANSWERS, OutOfFoldAnswers
from shopwindow.bundle.out_of_fold import METHOD as CROSS_VALIDATED
from shopwindow.bundle.writing import in_half_precision
from shopwindow.calibration.calibrated_graph import with_confidence
from shopwindow.calibration.calibrating import Calibration, calibrate, families_of
from shopwindow.calibration.novelty_graph import append_novelty, known_by
from shopwindow.calibration.thresholds import SURE_PRECISION
from shopwindow.data.dataset import Dataset
from shopwindow.data.label_sets import name_twins
from shopwindow.data.split import Split, SplitMethod, split_images
from shopwindow.errors import DataError
from shopwindow.evaluation.asking import ask, embeddings_of
from shopwindow.evaluation.measuring import quality_of, verdict
from shopwindow.evaluation.verify import (
    EMBEDDINGS_COMPARED,
    MAX_ROUNDED_DIFFERENCE,
    Draft,
    EmbeddingCheck,
    write_verified_bundle,
)
from shopwindow.inference.engine import EngineName
from shopwindow.plain_text import counted, printable
from shopwindow.probe.backbone import Backbone, open_backbone
from shopwindow.probe.heads import FittedHeads, fit_heads
from shopwindow.probe.probe_graph import probe_graph
from shopwindow.runs.mix import TrainingMix
from shopwindow.runs.record import describe_bundle, sample_training
from shopwindow.runs.run_folder import Run, StoppedError
from shopwindow.runs.start_from import check_agrees, note_start_and_card
from shopwindow.runs.training_data import check_labels, open_dataset, open_mix

# With fewer images a fifth of them says little, and they are needed to learn from.
CROSS_VALIDATED_BELOW = 1000
# Labels with fewer images are listed before the training.
FEW_IMAGES = 10
_CORRECTIONS_BATCH = 64  # of which corrections get their fraction, as in fine-tuning


def train_probe(
    run: Run,
    *,
    engine: EngineName = "auto",
    cross_validated_below: int = CROSS_VALIDATED_BELOW,
) -> Path:
    """Fit a linear probe and write it as a bundle.

    Args:
        run: A new one, or one that was stopped: images are not decoded or embedded again.
        engine: What runs the backbone; see `choose_engine`.
        cross_validated_below: With fewer images none is held out.

    Returns:
        The bundle, `model.onnx` in the run folder.

    Raises:
        UsageError: An option does not fit.
        DataError: A data set cannot be used.
        StoppedError: The user pressed Ctrl-C.
        TrainingError: The bundle differs from what was fitted.
    """
    try:
        return _train(run, engine, cross_validated_below)
    except KeyboardInterrupt:
        run.save()
        raise StoppedError(run.folder) from None


def _train(run: Run, engine: EngineName, cross_validated_below: int) -> Path:
    began = perf_counter()
    options, progress = run.options, sys.stderr.isatty()
    backbone = open_backbone(engine=engine)
    dataset = open_dataset(run, (backbone.rule.height_px, backbone.rule.width_px))
    check_labels(dataset)
    split = split_or_not(
        dataset,
        seed=options.seed,
        method=options.split,  # type: ignore[arg-type]
        cross_validated_below=cross_validated_below,
    )
    note_start_and_card(run)
    check_agrees(run, dataset, split)
    _expect_as_before(run, dataset)
    mix = open_mix(run, dataset, split, batch_size=_CORRECTIONS_BATCH)
    run.save()
    print(_opening(mix, backbone), flush=True)

    features = [backbone.features_of(each, progress=progress) for each in mix.datasets]
    fitted = fit_heads(mix, features, options, progress=progress)
    bundle = _write_bundle(run, mix, backbone, features[0], fitted, began)
    print(verdict(read_bundle(bundle).info, bundle), flush=True)
    return bundle


def split_or_not(
    dataset: Dataset,
    *,
    seed: int,
    method: SplitMethod = "grouped",
    cross_validated_below: int = CROSS_VALIDATED_BELOW,
) -> Split:
    """Hold a part out; of few images none, unless the data set names its own held-out part.

    Args:
        dataset: What a probe is to be fitted to.
        seed: See `split_images`, also for `method`.
        method: How to split.
        cross_validated_below: With fewer images none is held out.
    """
    answers = len(dataset) * sum(len(labels) for labels in dataset.vocabularies.values())
    if (
        dataset.given_split is not None
        or len(dataset) >= cross_validated_below
        or answers > MAX_ANSWERS  # more than a bundle carries
    ):
        return split_images(dataset, seed=seed, method=method)
    everything, nothing = np.arange(len(dataset), dtype=np.int64), np.empty(0, np.int64)
    return Split(everything, nothing, CROSS_VALIDATED, seed, 0.0)


def _expect_as_before(run: Run, dataset: Dataset) -> None:
    """Note the images and labels, or refuse others than the run was started with."""
    names = ([*dataset.cell_names(column), None] for column in dataset.label_columns)
    cells = (
        [of_code[code] for code in codes]  # the last one is for -1
        for of_code, codes in zip(names, dataset.codes.values(), strict=True)
    )
    listed = "\n".join(map(repr, zip(dataset.references, *cells, strict=True)))
    found = hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()
    count = run.facts.setdefault("image_count", len(dataset))
    if run.facts.setdefault("images", found) != found:
        raise DataError(
            f"{run.options.data}: expected the {count:,} images and their labels that the run in "
            f"{run.folder} was started with, found {len(dataset):,} images, or other labels; bring "
            "those back, or start a new run in another --out"
        )


def _opening(mix: TrainingMix, backbone: Backbone) -> str:
    dataset, split = mix.dataset, mix.split
    main = dataset.label_columns[0]
    labels, codes = dataset.vocabularies[main], dataset.codes[main]
    how = (
        "graded by cross-validation"
        if split.method == CROSS_VALIDATED
        else f"{len(split.train):,} to train on, {len(split.valid):,} to evaluate on"
    )
    further = "".join(
        f"; {counted(len(extra.train), 'image')} of {extra.spec.data.name} as well"
        for extra in mix.extras
    )
    if mix.corrections is not None:
        further += f"; {counted(len(mix.corrections.train), 'correction')} to learn from"
    column = dataset.catalogue.image_column
    by = "" if column is None else f" (by {column})"
    lines = [
        f"{counted(len(dataset), 'image')}{by}, {counted(len(labels), 'label')} ({main}); "
        f"{how}{further}",
        f"Linear probe on {backbone.name}, trained on {backbone.weights.split(',')[0]}",
        *dataset.notes,
    ]
    counts = np.bincount(codes[codes < len(labels)], minlength=len(labels))
    few = [(int(count), label) for count, label in zip(counts, labels, strict=True)]
    few = sorted(pair for pair in few if pair[0] < FEW_IMAGES)
    if few:
        named = ", ".join(f"{label} {count}" for count, label in few[:8])
        more = f" and {len(few) - 8} more" if len(few) > 8 else ""
        lines.append(
            f"Few images of {named}{more}: labels with fewer than {FEW_IMAGES} are often missed"
        )
    lines += name_twins(labels)
    if dataset.dropped:
        first = dataset.dropped[0]
        more = f" and {len(dataset.dropped) - 1:,} more" if len(dataset.dropped) > 1 else ""
        lines.append(
            f"Left out: {first.reference} ({first.reason}){more}; shopwindow inspect lists them"
        )
    return "\n".join(map(printable, lines))


def _write_bundle(
    run: Run,
    mix: TrainingMix,
    backbone: Backbone,
    features: NDArray[np.float32],
    fitted: FittedHeads,
    began: float,
) -> Path:
    """Calibrate, write, compare and grade, as `export_trained` does after fine-tuning."""
    options, dataset = run.options, mix.dataset
    cross_validated = mix.split.method == CROSS_VALIDATED
    main, *_ = fitted.validation_sets
    calibration = calibrate(
        fitted.validation_sets, families_of(dataset, options.families), precision=SURE_PRECISION
    )
    if cross_validated:
        calibration = _with_rounded_threshold(calibration)
    mapped = ACTIVATION_OUTPUT not in dataset.label_columns
    probs = calibration.probs(main.logits)
    info = describe_bundle(
        run,
        mix,
        calibration,
        {
            "arch": backbone.arch,
            "weights": "imagenet",
            "backbone": {
                "name": backbone.name,
                "sha256": backbone.sha256,
                "from": backbone.weights,
            },
            "penalty": fitted.penalty,
            "minutes": round((perf_counter() - began) / 60, 2),
            "device": "cpu",
        },
        packages=("shopwindow", "onnx", "onnxruntime"),
        mapped=mapped,
    )
    if cross_validated:
        answers = OutOfFoldAnswers(dataset.digests[main.indices], probs, fitted.folds)
        info = replace(info, data=info.data | answers.as_json())
    graph = probe_graph(backbone, fitted.heads, calibration.temperatures, mapped=mapped)
    info = replace(info, embedding=append_embedding(graph, dataset.label_columns[0]))
    novelty = append_novelty(
        graph,
        dataset.label_columns[0],
        [] if cross_validated else mix.learned_sets(options.data.name),
        known_by(fitted.validation_sets, out_of_fold=cross_validated),
    )
    info = replace(info, novelty=novelty)
    graph = with_confidence(
        in_half_precision(graph),
        calibration.confidence,
        list(dataset.label_columns),
        kinds=calibration.kinds,
    )
    compared = main.indices[:EMBEDDINGS_COMPARED]
    logits = {name: head(features[main.indices]) for name, head in fitted.heads.items()}

    def finish(draft: Draft) -> BundleInfo:
        # Images that were learned from are graded by their out-of-fold answers.
        answers = probs if cross_validated else draft.answers
        quality = quality_of(
            fitted.validation_sets, draft.predictor, answers, calibration.threshold
        )
        if cross_validated:
            quality |= {"folds": fitted.folds}
        data = info.data | sample_training(mix, draft.predictor, seed=options.seed)
        return replace(info, quality=quality, data=data)

    out = run.folder / "model.onnx"
    write_verified_bundle(
        out,
        [graph],
        info,
        calibration.probs(logits),
        lambda predictor: ask(predictor, dataset, main.indices),
        finish,
        allowed=MAX_ROUNDED_DIFFERENCE,
        embeddings=EmbeddingCheck(
            features[compared], lambda predictor: embeddings_of(predictor, dataset, compared)
        )
        if info.embedding
        else None,
    )
    return out


def _with_rounded_threshold(calibration: Calibration) -> Calibration:
    """Round the threshold down to half precision, in which the bundle carries its answers.

    Otherwise the answer exactly at the threshold might no longer be sure.
    """
    exact = calibration.threshold.min_confidence
    rounded = np.float16(exact)
    if rounded > exact:
        rounded = np.nextafter(rounded, np.float16(0))
    threshold = replace(calibration.threshold, min_confidence=float(rounded))
    return replace(calibration, threshold=threshold)
