"""The first recipe, `probe`: a bundle in seconds, in the environment that serves.

Each image goes through a frozen ImageNet backbone once, and a logistic regression on the features
is all that is fitted. From few images nothing is held out: the grade is that of cross-validation,
and the head that is written has learned from all of them.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from shopwindow.bundle import ACTIVATION_OUTPUT, BundleInfo, read_bundle
from shopwindow.bundle.out_of_fold import MAX_ANSWERS, METHOD, OutOfFoldAnswers
from shopwindow.bundle.writing import in_half_precision
from shopwindow.calibration.calibrated_graph import with_confidence
from shopwindow.calibration.calibrating import calibrate, families_of
from shopwindow.calibration.thresholds import SURE_PRECISION
from shopwindow.data.dataset import Dataset
from shopwindow.data.duplicates import resemble
from shopwindow.data.label_sets import allowed_labels, name_twins
from shopwindow.data.split import Split, connected_groups, split_images
from shopwindow.errors import DataError
from shopwindow.evaluation.asking import ValidationSet, ask
from shopwindow.evaluation.measuring import quality_of, verdict
from shopwindow.evaluation.verify import Draft, write_verified_bundle
from shopwindow.inference.engine import EngineName
from shopwindow.plain_text import counted, printable
from shopwindow.probe import Backbone, assign_folds, cross_validate, open_backbone
from shopwindow.probe.cross_validation import PENALTIES
from shopwindow.regression import LinearHead, fit_head
from shopwindow.training.mix import LoadedExtra, TrainingMix, batch_fractions
from shopwindow.training.options import TrainingOptions, read_card
from shopwindow.training.probe_graph import probe_graph
from shopwindow.training.reading import check_labels, open_dataset, open_mix
from shopwindow.training.record import describe_bundle
from shopwindow.training.run import Run, StoppedError
from shopwindow.training.start_from import check_agrees, describe_start

# With fewer images a fifth of them says little, and they are needed to learn from.
CROSS_VALIDATED_BELOW = 1000
FOLDS = 5
# A label of fewer images is named before the training.
FEW_IMAGES = 10
# fp16 features move a probability by less; a wrong label order moves it by far more.
MAX_DIFFERENCE = 0.01
# Images that no fold has: learned from in each turn of cross-validation, or in none.
_EACH, _NONE = -1, -2
_CORRECTIONS_BATCH = 64  # of which corrections get their share, as in fine-tuning


@dataclass(frozen=True)
class Learned:
    """Heads, and what they say about images that they have not learned from.

    Attributes:
        heads: By label column, fitted to all that may be learned from.
        penalty: That of all heads.
        judged: Logits of images that were held out, or out of fold; the main data set first.
        folds: In how many parts the images were judged; fewer than `FOLDS` where there are fewer
            groups.
    """

    heads: dict[str, LinearHead]
    penalty: float
    judged: list[ValidationSet]
    folds: int


def train_probe(
    run: Run,
    *,
    engine: EngineName = "auto",
    cross_validated_below: int = CROSS_VALIDATED_BELOW,
) -> Path:
    """Fit a linear probe and write it as a bundle.

    Args:
        run: A new one, or one that was stopped: what is done of it is not done again.
        engine: What runs the backbone; see `choose_engine`.
        cross_validated_below: With fewer images none is held out.

    Returns:
        The bundle, `model.onnx` in the run folder.

    Raises:
        UsageError: An option that does not fit.
        DataError: A data set that cannot be used.
        StoppedError: The user pressed Ctrl-C.
        TrainingError: The bundle differs from what was fitted.
    """
    try:
        return _train(run, engine, cross_validated_below)
    except KeyboardInterrupt:
        run.save()  # what was decoded and embedded is kept elsewhere, and not done again
        raise StoppedError(run.folder) from None


def _train(run: Run, engine: EngineName, cross_validated_below: int) -> Path:
    began = perf_counter()
    options, progress = run.options, sys.stderr.isatty()
    backbone = open_backbone(engine=engine)
    dataset = open_dataset(options, (backbone.rule.height_px, backbone.rule.width_px))
    check_labels(dataset)
    is_small = (
        dataset.given_split is None  # a part that is there to judge by does so, however small
        and len(dataset) < cross_validated_below
        and _answers_of(dataset) <= MAX_ANSWERS
    )
    split = _everything(dataset, options.seed) if is_small else _split(dataset, options)
    if options.start_from is not None:
        run.facts.setdefault("start", describe_start(read_bundle(options.start_from)))
        check_agrees(run.facts["start"], dataset, split)
    inherited = run.facts["start"]["card"] if options.start_from else {}
    run.facts["card"] = read_card(options.card) if options.card else inherited
    _expect_as_before(run, dataset)
    mix = open_mix(run, dataset, split, batch_size=_CORRECTIONS_BATCH)
    run.save()
    print(_opening(mix, backbone, is_small=is_small), flush=True)

    features = [backbone.features_of(one, progress=progress) for one in _datasets(mix)]
    learned = _learn(mix, features, options, is_small=is_small, progress=progress)
    bundle = _write(run, mix, backbone, features[0], learned, began, is_small=is_small)
    print(verdict(read_bundle(bundle).info, bundle), flush=True)
    return bundle


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


def _answers_of(dataset: Dataset) -> int:
    return len(dataset) * sum(len(labels) for labels in dataset.vocabularies.values())


def _everything(dataset: Dataset, seed: int) -> Split:
    everything, nothing = np.arange(len(dataset), dtype=np.int64), np.empty(0, np.int64)
    return Split(everything, nothing, METHOD, seed, 0.0)


def _split(dataset: Dataset, options: TrainingOptions) -> Split:
    return split_images(dataset, seed=options.seed, method=options.split)  # type: ignore[arg-type]


def _datasets(mix: TrainingMix) -> list[Dataset]:
    """The data sets of `mix.sources`, in their order."""
    further = [*mix.extras, *([mix.corrections] if mix.corrections else [])]
    return [mix.dataset, *(extra.dataset for extra in further)]


def _opening(mix: TrainingMix, backbone: Backbone, *, is_small: bool) -> str:
    dataset, split = mix.dataset, mix.split
    main = dataset.label_columns[0]
    labels, codes = dataset.vocabularies[main], dataset.codes[main]
    how = (
        "graded by cross-validation"
        if is_small
        else f"{len(split.train):,} to learn from, {len(split.valid):,} to grade it by"
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
        f"Linear probe on {backbone.name}, which has learned from {backbone.weights.split(',')[0]}",
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


def _learn(
    mix: TrainingMix,
    features: list[NDArray[np.float32]],
    options: TrainingOptions,
    *,
    is_small: bool,
    progress: bool,
) -> Learned:
    """Choose the penalty by images that were not learned from, then fit each column."""
    dataset, split = mix.dataset, mix.split
    sources = mix.sources
    inputs = np.concatenate([rows[s.train] for rows, s in zip(features, sources, strict=True)])
    codes = np.concatenate([source.targets[source.train] for source in sources])
    counts = [len(source.train) for source in sources]
    shares = [1 - sum(source.share for source in sources[1:]), *(s.share for s in sources[1:])]
    weights = np.repeat([s / n for s, n in zip(shares, counts, strict=True)], counts)
    groups = np.arange(len(dataset), dtype=np.int64)
    if options.split == "grouped":
        groups = connected_groups(dataset.duplicate_groups(), dataset.groups)
    own = assign_folds(
        dataset.codes[dataset.label_columns[0]][split.train],
        groups[split.train],
        FOLDS,
        seed=options.seed,
    )
    if is_small and len(np.unique(own)) < 2:
        raise DataError(
            f"{options.data}: expected images of two groups or more, so that some judge what was "
            "learned from others, but all of them show one picture or have one value in "
            f"{options.group_column or 'a group column'}; add images, or leave --group-column out"
        )
    # What comes from elsewhere is learned from in each turn, but what shows an image that is judged
    # in none; nor are corrections, as a photo that was corrected may be one of those.
    elsewhere = [
        _folds_of(extra, dataset, split) if is_small else np.full(len(extra.train), _EACH)
        for extra in mix.extras
    ]
    if mix.corrections is not None:
        elsewhere.append(np.full(len(mix.corrections.train), _NONE))
    folds = np.concatenate([own, *elsewhere])
    asked, tried = folds != _NONE, None if is_small else np.array([0])
    columns = dataset.label_columns
    total = len(PENALTIES) * (FOLDS if is_small else 1) + (FOLDS + 1) * len(columns)
    heads: dict[str, LinearHead] = {}
    logits: dict[str, NDArray[np.float32]] = {}
    penalty = 0.0
    with tqdm(total=total, desc="Fitting", unit=" heads", disable=not progress) as bar:
        for number, (column, sets) in enumerate(zip(columns, mix.sets, strict=True)):
            known = codes[:, number] >= 0
            allowed = allowed_labels(codes[:, number], sets)
            some = known & asked
            if number == 0 or is_small:
                found = cross_validate(
                    inputs[some],
                    allowed[some],
                    folds[some],
                    weights=weights[some],
                    judged=tried,
                    penalties=PENALTIES if number == 0 else (penalty,),
                    step=bar.update,
                )
                if number == 0:
                    penalty = found.penalty
                if is_small:
                    logits[column] = np.zeros((counts[0], allowed.shape[1]), np.float32)
                    mine = np.flatnonzero(some[: counts[0]])
                    logits[column][mine] = found.logits[: len(mine)]
            heads[column] = fit_head(
                inputs[known], allowed[known], penalty=penalty, weights=weights[known]
            )
            bar.update()
        bar.total = bar.n
    if not is_small:
        logits = {name: head(features[0][split.valid]) for name, head in heads.items()}
    judged_images = split.train if is_small else split.valid
    share_of = batch_fractions(mix.extras)
    judged = [ValidationSet(options.data.name, dataset, judged_images, logits, share_of[0])]
    judged += [
        ValidationSet(
            extra.spec.data.name,
            extra.dataset,
            extra.valid,
            {name: head(rows[extra.valid]) for name, head in heads.items()},
            share,
        )
        for extra, rows, share in zip(
            mix.extras, features[1 : 1 + len(mix.extras)], share_of[1:], strict=True
        )
    ]
    return Learned(heads, penalty, judged, len(np.unique(own)))


def _folds_of(extra: LoadedExtra, dataset: Dataset, split: Split) -> NDArray[np.int64]:
    """Return (n,) where each image that a side teaches is learned from, when all others judge."""
    shown = resemble(extra.dataset.image_blocks(extra.train), dataset.image_blocks(split.train))
    return np.where(shown, _NONE, _EACH)


def _write(
    run: Run,
    mix: TrainingMix,
    backbone: Backbone,
    features: NDArray[np.float32],
    learned: Learned,
    began: float,
    *,
    is_small: bool,
) -> Path:
    """Calibrate, write, compare and grade, as `export_trained` does after fine-tuning."""
    options, dataset = run.options, mix.dataset
    main, *_ = judged = learned.judged
    calibration = calibrate(
        judged, families_of(dataset, options.families), precision=SURE_PRECISION
    )
    if is_small:
        # The answers that are carried have half precision: the one at the threshold is to be sure.
        least = np.float16(calibration.threshold.min_confidence)
        if least > calibration.threshold.min_confidence:
            least = np.nextafter(least, np.float16(0))
        threshold = replace(calibration.threshold, min_confidence=float(least))
        calibration = replace(calibration, threshold=threshold)
    mapped = ACTIVATION_OUTPUT not in dataset.label_columns
    honest = calibration.probs(main.logits)
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
            "penalty": learned.penalty,
            "minutes": round((perf_counter() - began) / 60, 2),
            "device": "cpu",
        },
        packages=("shopwindow", "onnx", "onnxruntime"),
        mapped=mapped,
    )
    if is_small:
        answers = OutOfFoldAnswers(dataset.digests[main.indices], honest, learned.folds)
        info = replace(info, data=info.data | answers.as_json())
    graph = probe_graph(backbone, learned.heads, calibration.temperatures, mapped=mapped)
    graph = with_confidence(
        in_half_precision(graph), calibration.confidence, list(dataset.label_columns)
    )
    logits = {name: head(features[main.indices]) for name, head in learned.heads.items()}

    def finish(draft: Draft) -> BundleInfo:
        # Of images that were learned from, the answers are those out of fold.
        answers = honest if is_small else draft.answers
        quality = quality_of(judged, draft.predictor, answers, calibration.threshold)
        return replace(info, quality=quality | ({"folds": learned.folds} if is_small else {}))

    out = run.folder / "model.onnx"
    write_verified_bundle(
        out,
        [graph],
        info,
        calibration.probs(logits),
        lambda predictor: ask(predictor, dataset, main.indices),
        finish,
        allowed=MAX_DIFFERENCE,
    )
    return out
