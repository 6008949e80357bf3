"""A bundle in 8 bits, and the proof that it is right as often as before.

8 bits move probabilities by more than the rounding that `proof` allows, so the answers are judged
instead: by the validation images that the bundle was graded on when it was made.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from shopwindow.bundle import Bundle, BundleInfo, Threshold, arithmetic_of, read_bundle
from shopwindow.bundle.out_of_fold import METHOD as CROSS_VALIDATED
from shopwindow.calibration.fitting import SURE_PRECISION, ValidationSet, as_logits, calibrate
from shopwindow.calibration.graph import with_calibration
from shopwindow.data.dataset import Dataset
from shopwindow.data.spec import DataSpec
from shopwindow.data.split import Split
from shopwindow.errors import TrainingError, UsageError
from shopwindow.evaluation.metrics import grade
from shopwindow.evaluation.summary import aligned, percent, printable
from shopwindow.fairness import find_split
from shopwindow.grading import read_dataset
from shopwindow.inference.predictor import Predictor
from shopwindow.publishing.measuring import ask, quality_of
from shopwindow.publishing.onnx_file import with_info
from shopwindow.publishing.proof import Proof, write_proven_bundle
from shopwindow.publishing.recalibrating import recalibrated
from shopwindow.training.export import MAX_DIFFERENCE, export_trained, open_finished
from shopwindow.training.held_out import keep_apart
from shopwindow.training.int8 import PERCENTILE, to_int8
from shopwindow.training.mix import ExtraDataset, LoadedExtra, batch_fractions, open_extra

MAX_LOSS = 0.003
CALIBRATION_IMAGES = 256


@dataclass(frozen=True)
class Origin:
    """What a bundle was trained on, split as it was then.

    Attributes:
        dataset: The main data set.
        split: Its split.
        extras: The further data sets.
    """

    dataset: Dataset
    split: Split
    extras: tuple[LoadedExtra, ...]

    def training_images(self, count: int) -> NDArray[np.uint8]:
        """Draw images that the network has learned from, each data set by its share of a batch.

        Returns:
            At most (count, H, W, 3) uint8, the same in every run.
        """
        random = np.random.default_rng(self.split.seed)
        counts = [round(count * extra.spec.share) for extra in self.extras]
        parts = [(self.dataset, self.split.train, count - sum(counts))]
        parts += [
            (extra.dataset, extra.train, some)
            for extra, some in zip(self.extras, counts, strict=True)
        ]
        return np.concatenate(
            [dataset.images(random.permutation(train)[:some]) for dataset, train, some in parts]
        )

    def judge(self, predictor: Predictor) -> list[ValidationSet]:
        """Ask a bundle about the validation images of all data sets, the main one first."""
        name = str(predictor.bundle.info.data.get("source"))
        parts = [(name, self.dataset, self.split.valid)]
        parts += [(extra.spec.data.name, extra.dataset, extra.valid) for extra in self.extras]
        return [
            ValidationSet(name, dataset, valid, as_logits(ask(predictor, dataset, valid)), share)
            for (name, dataset, valid), share in zip(
                parts, batch_fractions(self.extras), strict=True
            )
        ]


def quantise_run(folder: Path, out: Path | None = None) -> Path:
    """Write the bundle of a run in 8 bits.

    Args:
        folder: A finished run; its bundle is exported first where there is none.
        out: Where it goes; `model-int8.onnx` in the run folder if None.

    Raises:
        TrainingError: The run is not finished, or 8 bits cost too much.
    """
    trainer = open_finished(folder)
    path = folder / "model.onnx"
    if not path.exists():
        export_trained(trainer, path)
    origin = Origin(trainer.dataset, trainer.split, trainer.mix.extras)
    return _quantise(read_bundle(path), origin, out or folder / "model-int8.onnx")


def quantise_bundle(
    path: Path, data: Path, extra_files: Sequence[Path], out: Path, *, progress: bool = False
) -> Path:
    """Write a bundle that `shopwindow train` made in 8 bits.

    Args:
        path: The bundle, in float.
        data: The data set that it was trained on; read and split as the bundle recorded.
        extra_files: The TOML files of the further data sets.
        out: Where it goes.
        progress: Whether to show progress on stderr while images are decoded.

    Raises:
        BundleError: The file is no bundle.
        UsageError: The data are not those of its training.
        TrainingError: 8 bits cost too much.
    """
    bundle = read_bundle(path)
    return _quantise(bundle, _open_origin(bundle, data, extra_files, progress=progress), out)


def _open_origin(
    bundle: Bundle, data: Path, extra_files: Sequence[Path], *, progress: bool
) -> Origin:
    model = f"{bundle.info.name} {bundle.info.version}"
    if (record := bundle.info.data.get("split")) is None:
        raise UsageError(
            f"--int8: expected a bundle that shopwindow train made, but {model} does not tell "
            "which images it has not learned from, and so cannot be judged"
        )
    if record.get("method") == CROSS_VALIDATED:
        raise UsageError(
            f"--int8: expected a bundle that held images out, by which 8 bits are judged, but "
            f"{model} has learned from all of them; train it on more"
        )
    dataset = read_dataset(bundle, DataSpec.from_record(data, bundle.info.data), progress=progress)
    split = find_split(bundle, dataset, record)
    labels = {column.name: column.labels for column in bundle.info.columns}
    if split is None or dataset.vocabularies != labels:
        raise UsageError(
            f"{data}: expected the data that {model} was trained on, so that it is judged by "
            "images that it has not seen, found others; give the DATA of its training"
        )
    missing = _further_digests(bundle)
    extras = []
    for file in extra_files:
        extra = open_extra(
            ExtraDataset.read(file), dataset, seed=split.seed, cache_dir=None, progress=progress
        )
        if (digest := extra.split.digest(extra.dataset)) not in missing:
            raise UsageError(
                f"--with {file}: expected a further data set that {model} was trained on, found "
                "another; leave it out"
            )
        del missing[digest]
        extras.append(extra)
    if missing:
        raise UsageError(
            f"expected all that {model} was trained on, so that its thresholds hold for them too; "
            f"give the TOML files of {', '.join(missing.values())} with --with"
        )
    # In the order of the training, for of two that share a picture the first has it.
    order = list(_further_digests(bundle))
    extras.sort(key=lambda extra: order.index(extra.split.digest(extra.dataset)))
    return Origin(dataset, split, keep_apart(dataset, split, extras))


def _further_digests(bundle: Bundle) -> dict[str, str]:
    """Return the names of the further data sets of a training, by the digests of their splits."""
    entries = bundle.info.data.get("also")
    found = {}
    for entry in entries if isinstance(entries, list) else ():
        match entry:
            case {"source": str(source), "split": {"digest": str(digest)}}:
                found[digest] = source
    return found


def _quantise(bundle: Bundle, origin: Origin, out: Path) -> Path:
    if arithmetic_of(bundle.model) == "int8":
        raise UsageError(
            f"{bundle.path}: expected a bundle in float, found one that is in 8 bits already"
        )
    dataset, valid = origin.dataset, origin.split.valid
    images = origin.training_images(CALIBRATION_IMAGES)
    graph = to_int8(onnx.load_model_from_string(bundle.model), images)
    draft = Bundle(bundle.info, with_info(graph, bundle.info), "")
    judged = origin.judge(Predictor(draft, engine="onnxruntime"))
    calibration = calibrate(
        judged,
        {families.name: families.of for families in bundle.info.families},
        precision=SURE_PRECISION,
    )
    # Metadata of the build, as Semantic Versioning has it: the same model, built otherwise. With
    # the day, since thresholds and confidences are fitted anew each time.
    version_of_build = f"{bundle.info.version}+int8.{datetime.now(UTC):%Y%m%d}"
    info = recalibrated(bundle.info, calibration, version=version_of_build)
    whole = Predictor(bundle, engine="onnxruntime")
    in_float = Proof(whole, ask(whole, dataset, valid), 0.0)
    before = quality_of(judged, in_float, bundle.info.threshold)

    def finish(proof: Proof) -> BundleInfo:
        quality = quality_of(judged, proof, info.threshold)
        print(_side_by_side((before, bundle.info.threshold), (quality, info.threshold)), flush=True)
        accuracy = {"onnxruntime": quality["accuracy"]}
        if importlib.util.find_spec("openvino") is not None:
            accuracy["openvino"] = _accuracy_with_openvino(proof.predictor.bundle, judged[0])
        worst = min(accuracy, key=accuracy.__getitem__)
        if round(before["accuracy"] - accuracy[worst], 5) > MAX_LOSS:
            raise TrainingError(
                f"export: expected 8 bits to lose {100 * MAX_LOSS:g} points at most, but of "
                f"{len(valid):,} validation images {percent(before['accuracy'], 2)} are right in "
                f"float and {percent(accuracy[worst], 2)} in 8 bits ({worst}); nothing written, "
                "serve the bundle in float"
            )
        quantised = {
            "from_sha256": bundle.sha256,
            "from_accuracy": before["accuracy"],
            "accuracy": accuracy,
            "images": len(images),
            "percentile": PERCENTILE,
            "onnxruntime": version("onnxruntime"),
        }
        return replace(info, quality=quality, training=info.training | {"quantised": quantised})

    write_proven_bundle(
        out,
        [with_calibration(graph, calibration)],
        info,
        calibration.probs(judged[0].logits),
        lambda predictor: ask(predictor, dataset, valid),
        finish,
        allowed=MAX_DIFFERENCE,
    )
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB of {len(bundle.model) / 1e6:.1f}", flush=True)
    return out


def _accuracy_with_openvino(bundle: Bundle, judged: ValidationSet) -> float:
    """Return how often the bundle is right through the other engine, 0 to 1."""
    main = bundle.info.main
    answers = ask(Predictor(bundle, engine="openvino"), judged.dataset, judged.indices)[main.name]
    accuracy = grade(answers, judged.targets(main.name, answers), main.labels).accuracy
    return round(float(accuracy), 5)


def _side_by_side(*models: tuple[dict[str, Any], Threshold]) -> str:
    """Return the figures of the bundle in float and in 8 bits as a table for the terminal."""
    rows: list[tuple[str, ...]] = [("validation images", "float", "8 bits")]

    def add(title: str, shares: Sequence[float | None]) -> None:
        rows.append((title, *(percent(share, 2) for share in shares)))

    qualities = [quality for quality, _ in models]
    add("right", [one["accuracy"] for one in qualities])
    add("within the first three", [one["top3_accuracy"] for one in qualities])
    add("macro-F1", [one["macro_f1"] for one in qualities])
    add("calibration error", [one["ece"] for one in qualities])
    add("sure", [threshold.coverage for _, threshold in models])
    add("right where sure", [threshold.precision for _, threshold in models])
    for name in qualities[0]["attributes"]:
        add(name, [one["attributes"][name]["accuracy"] for one in qualities])
    for pair in zip(*(one.get("also", []) for one in qualities), strict=True):
        source = pair[0]["source"]
        add(f"{source}: right", [one["accuracy"] for one in pair])
        add(f"{source}: calibration error", [one["ece"] for one in pair])
        add(f"{source}: sure", [one["sure"]["coverage"] for one in pair])
        add(f"{source}: right where sure", [one["sure"]["precision"] for one in pair])
    return printable(aligned(rows, "<>>"))
