"""Bundles in 8 bits: static quantisation by onnxruntime, and the proof that it costs little.

8 bits move probabilities by more than rounding does, so the bundle is not compared answer by answer
with its source. It is graded instead, on the validation images of its source. The settings are
those with which every engine answers correctly; docs/decisions/engine.md has the figures of others.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from shopwindow.bundle import (
    INPUT_NAME,
    Bundle,
    BundleInfo,
    Threshold,
    arithmetic_of,
    read_bundle,
)
from shopwindow.bundle.out_of_fold import METHOD as CROSS_VALIDATED
from shopwindow.bundle.writing import in_half_precision, with_info
from shopwindow.calibration.calibrated_graph import with_calibration
from shopwindow.calibration.calibrating import calibrate, recalibrated
from shopwindow.calibration.novelty_graph import known_by, remeasure_novelty
from shopwindow.calibration.temperature import as_logits
from shopwindow.calibration.thresholds import SURE_PRECISION
from shopwindow.data.spec import DataSpec
from shopwindow.errors import TrainingError, UsageError
from shopwindow.evaluation.asking import ValidationSet, ask
from shopwindow.evaluation.grading import read_dataset
from shopwindow.evaluation.leakage import find_split
from shopwindow.evaluation.measuring import quality_of
from shopwindow.evaluation.metrics import grade
from shopwindow.evaluation.verify import MAX_ROUNDED_DIFFERENCE, Draft, write_verified_bundle
from shopwindow.inference.predictor import Predictor
from shopwindow.plain_text import aligned, percent, printable
from shopwindow.runs.mix import ExtraDataset, TrainingMix, combine, open_extra
from shopwindow.runs.training_data import keep_apart
from shopwindow.training.export import export_trained, open_finished

MAX_LOSS = 0.003  # of accuracy, 0 to 1
CALIBRATION_IMAGES = 256
_KINDS = ["Conv", "Add", "Relu", "Clip"]  # a ReLU6 is a Clip
# The range of an activation holds so many of its values, in percent; the others are clipped.
PERCENTILE = 99.99
_FIRST_PART = 6  # the first sixth of the convolutions stays in float
# All activations of so many images are in memory at a time.
_IMAGES_AT_A_TIME = 16


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
    return _quantise(read_bundle(path), trainer.mix, out or folder / "model-int8.onnx")


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
    return _quantise(bundle, _open_mix_of(bundle, data, extra_files, progress=progress), out)


def _open_mix_of(
    bundle: Bundle, data: Path, extra_files: Sequence[Path], *, progress: bool
) -> TrainingMix:
    """Read what a bundle was trained on, split as it was then; corrections are not read."""
    model = f"{bundle.info.name} {bundle.info.version}"
    if (record := bundle.info.data.get("split")) is None:
        raise UsageError(
            f"--int8: expected a bundle that shopwindow train made, but {model} does not "
            "record which images it has not learned from"
        )
    if record.get("method") == CROSS_VALIDATED:
        raise UsageError(
            f"--int8: expected a bundle that held images out, by which 8 bits are graded, but "
            f"{model} has learned from all of them; train it on more images"
        )
    dataset = read_dataset(bundle, DataSpec.from_record(data, bundle.info.data), progress=progress)
    split = find_split(bundle, dataset, record)
    labels = {column.name: column.labels for column in bundle.info.columns}
    if split is None or dataset.vocabularies != labels:
        raise UsageError(
            f"{data}: expected the data that {model} was trained on, so that it is graded on "
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
    # In the order of the training: of two data sets with the same picture, the first has it.
    order = list(_further_digests(bundle))
    extras.sort(key=lambda extra: order.index(extra.split.digest(extra.dataset)))
    return combine(dataset, split, keep_apart(dataset, split, extras))


def _further_digests(bundle: Bundle) -> dict[str, str]:
    """Return the names of the further data sets of a training, by the digests of their splits."""
    entries = bundle.info.data.get("also")
    found = {}
    for entry in entries if isinstance(entries, list) else ():
        match entry:
            case {"source": str(source), "split": {"digest": str(digest)}}:
                found[digest] = source
    return found


def _quantise(bundle: Bundle, mix: TrainingMix, out: Path) -> Path:
    if arithmetic_of(bundle.model) == "int8":
        raise UsageError(
            f"{bundle.path}: expected a bundle in float, found one that is in 8 bits already"
        )
    dataset, valid = mix.dataset, mix.split.valid
    images = mix.training_images(CALIBRATION_IMAGES)
    graph = to_int8(onnx.load_model_from_string(bundle.model), images)
    draft = Bundle(bundle.info, with_info(graph, bundle.info), "")
    int8 = Predictor(draft, engine="onnxruntime")
    validation_sets = mix.validation_sets(
        str(bundle.info.data.get("source")),
        lambda dataset, indices: as_logits(ask(int8, dataset, indices)),
    )
    calibration = calibrate(
        validation_sets,
        {families.name: families.of for families in bundle.info.families},
        precision=SURE_PRECISION,
    )
    # Build metadata of Semantic Versioning: the same model, built differently. With the date, since
    # thresholds and confidences are fitted again each time.
    version_of_build = f"{bundle.info.version}+int8.{datetime.now(UTC):%Y%m%d}"
    info = recalibrated(bundle.info, calibration, version=version_of_build)
    if info.novelty is not None:  # rounding moves it, too
        known = known_by(validation_sets, out_of_fold=False)
        info = replace(info, novelty=remeasure_novelty(int8, known) or info.novelty)
    whole = Predictor(bundle, engine="onnxruntime")
    answers = ask(whole, dataset, valid)
    before = quality_of(validation_sets, whole, answers, bundle.info.threshold)

    def finish(draft: Draft) -> BundleInfo:
        quality = quality_of(validation_sets, draft.predictor, draft.answers, info.threshold)
        print(_side_by_side((before, bundle.info.threshold), (quality, info.threshold)), flush=True)
        accuracy = {"onnxruntime": quality["accuracy"]}
        if importlib.util.find_spec("openvino") is not None:
            bundle_in_8_bits = draft.predictor.bundle
            accuracy["openvino"] = _accuracy_with_openvino(bundle_in_8_bits, validation_sets[0])
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

    write_verified_bundle(
        out,
        [with_calibration(graph, calibration)],
        info,
        calibration.probs(validation_sets[0].logits),
        lambda predictor: ask(predictor, dataset, valid),
        finish,
        allowed=MAX_ROUNDED_DIFFERENCE,
    )
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB of {len(bundle.model) / 1e6:.1f}", flush=True)
    return out


def _accuracy_with_openvino(bundle: Bundle, judged: ValidationSet) -> float:
    """Return how often the bundle is right in the other engine, 0 to 1."""
    main = bundle.info.main
    answers = ask(Predictor(bundle, engine="openvino"), judged.dataset, judged.indices)[main.name]
    accuracy = grade(answers, judged.targets(main.name, answers), main.labels).accuracy
    return round(float(accuracy), 5)


def _side_by_side(*models: tuple[dict[str, Any], Threshold]) -> str:
    """Return the figures of both bundles, in float and in 8 bits, as a table for the terminal."""
    rows: list[tuple[str, ...]] = [("validation images", "float", "8 bits")]

    def add(title: str, fractions: Sequence[float | None]) -> None:
        rows.append((title, *(percent(fraction, 2) for fraction in fractions)))

    qualities = [quality for quality, _ in models]
    add("right", [q["accuracy"] for q in qualities])
    add("within the first three", [q["top3_accuracy"] for q in qualities])
    add("macro-F1", [q["macro_f1"] for q in qualities])
    add("calibration error", [q["ece"] for q in qualities])
    add("sure", [threshold.coverage for _, threshold in models])
    add("right where sure", [threshold.precision for _, threshold in models])
    for name in qualities[0]["attributes"]:
        add(name, [q["attributes"][name]["accuracy"] for q in qualities])
    for pair in zip(*(q.get("also", []) for q in qualities), strict=True):
        source = pair[0]["source"]
        add(f"{source}: right", [q["accuracy"] for q in pair])
        add(f"{source}: calibration error", [q["ece"] for q in pair])
        add(f"{source}: sure", [q["sure"]["coverage"] for q in pair])
        add(f"{source}: right where sure", [q["sure"]["precision"] for q in pair])
    return "\n".join(map(printable, aligned(rows, "<>>")))


def to_int8(graph: onnx.ModelProto, images_nhwc: NDArray[np.uint8]) -> onnx.ModelProto:
    """Return a copy that computes with 8-bit weights and activations where most of the work is.

    These are the convolutions, except the first sixth and the depthwise ones, and what connects
    them: ReLUs and the additions of residual blocks. All else is computed in float32 as before; the
    large weights among it are stored as float16.

    Args:
        graph: From uint8 `images` (N, H, W, 3) to any outputs, in float.
        images_nhwc: (N, H, W, 3) uint8 that the network was trained on; some 256 are enough.

    Raises:
        TrainingError: It has no convolutions to quantise.
    """
    if (at_a_time := min(_IMAGES_AT_A_TIME, len(images_nhwc))) > 0:
        images_nhwc = images_nhwc[: len(images_nhwc) // at_a_time * at_a_time]
    with TemporaryDirectory() as scratch:
        source, prepared, target = (Path(scratch, f"{n}.onnx") for n in ("float", "ready", "int8"))
        onnx.save_model(graph, source)  # of a graph in memory, onnxruntime 1.32 loses the weights
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        with redirect_stdout(io.StringIO()):  # it prints its progress
            quantize_static(
                prepared,
                target,
                _Images(images_nhwc),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_KINDS,
                nodes_to_quantize=_heavy_nodes(onnx.load(prepared).graph),
                per_channel=True,
                # 7-bit weights: without VNNI, the sum of two products must fit into 16 bits.
                reduce_range=True,
                # Unsigned: twice as fast in onnxruntime, and a ReLU6 leaves no negative numbers.
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={
                    "CalibPercentile": PERCENTILE,
                    # Named after another method, but used by all; it must divide the number.
                    "CalibStridedMinMax": at_a_time,
                },
            )
        return in_half_precision(onnx.load(target))


def _heavy_nodes(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the nodes to compute in 8 bits."""
    weights = {initializer.name for initializer in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    # In 8 bits, the first ones cost the most accuracy, and OpenVINO gets depthwise ones wrong.
    first = max(1, len(convolutions) // _FIRST_PART)
    heavy = [node.name for node in convolutions[first:] if not _is_depthwise(node)]
    if not heavy:
        raise TrainingError(
            "8 bits: expected a network of convolutions, as little else is quantised, found "
            f"{len(convolutions)} of them; export it without --int8"
        )
    # What connects them comes before the last convolution, except for the ReLU of that one. Adding
    # a constant is a bias, not a residual block.
    last = max(place for place, node in enumerate(graph.node) if node.op_type == "Conv")
    body = [*graph.node[:last], *_activations_of(graph, graph.node[last])]
    return heavy + [
        node.name
        for node in body
        if node.op_type in _KINDS[1:]
        and weights.isdisjoint(node.input[:1] if node.op_type == "Clip" else node.input)
    ]


def _activations_of(graph: onnx.GraphProto, convolution: onnx.NodeProto) -> list[onnx.NodeProto]:
    made = set(convolution.output)
    return [n for n in graph.node if n.op_type in ("Relu", "Clip") and n.input[0] in made]


def _is_depthwise(convolution: onnx.NodeProto) -> bool:
    return any(a.name == "group" and a.i > 1 for a in convolution.attribute)


class _Images(CalibrationDataReader):  # type: ignore[misc]
    """Gives images to onnxruntime one at a time."""

    def __init__(self, images_nhwc: NDArray[np.uint8]) -> None:
        self._images = images_nhwc
        self.set_range(0, len(images_nhwc))

    def __len__(self) -> int:
        return len(self._images)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left: Iterator[NDArray[np.uint8]] = iter(self._images[start_index:end_index])

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._left, None)
        return None if image is None else {INPUT_NAME: image[None]}
