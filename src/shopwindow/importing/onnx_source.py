"""ONNX classifiers from elsewhere as sources: what they answer, and a graph that does the same."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto

from shopwindow.bundle import INPUT_NAME
from shopwindow.errors import TrainingError
from shopwindow.evaluation.verify import MAX_DIFFERENCE, MAX_ROUNDED_DIFFERENCE
from shopwindow.importing.labels import one_number_note, require_as_many
from shopwindow.importing.onnx_graph import Meaning, as_bundle_graph, for_any_number, with_prefix
from shopwindow.importing.onnx_reading import FLOATS, OnnxClassifier
from shopwindow.importing.source import Preparation, Source, prepare

_FEW_BITS = {TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8, TensorProto.UINT8}
# Steps that change how numbers are laid out or stored, not what they mean.
_CARRIERS = {
    "Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze",
}  # fmt: skip
_AS_WHAT = {"probabilities": "the probability", "logits": "the logit (without a sigmoid)"}
# A single score from one of these is a logit, even if it lies between 0 and 1 by chance.
_SUMS = {"Add", "Gemm", "MatMul", "Conv", "MatMulInteger", "QGemm"}
_SIGMOIDS = {"Sigmoid", "HardSigmoid"}
_SUM_TOLERANCE = 1e-3


def onnx_source(
    classifier: OnnxClassifier,
    preparation: Preparation,
    images: Sequence[bytes],
    *,
    labels: tuple[str, ...],
    column: str,
) -> Source:
    """Return a classifier, with its preparation in front and probabilities behind, as a source.

    Args:
        classifier: From `open_onnx`.
        preparation: How photos are prepared for it; mean and std have no effect where it takes
            bytes.
        images: PNG files for the comparison with the bundle.
        labels: In the order of its scores.
        column: What the bundle will call its label column.

    Raises:
        TrainingError: It cannot be run, has another number of scores than labels, or decides about
            each label by itself.
    """
    name = classifier.path.name
    pixels = prepare(images, preparation.rule)
    scores = _scores(classifier, preparation, pixels)
    if not np.isfinite(scores).all():
        raise TrainingError(f"{name}: expected numbers as answers, found NaN or infinity")
    require_as_many(labels, scores.shape[1], name, classifier.labels)
    meaning = _meaning(classifier, scores)
    width, expected = scores.shape[1], _as_probabilities(scores, meaning)
    allowed = MAX_ROUNDED_DIFFERENCE if _has_few_bits(classifier.model) else MAX_DIFFERENCE
    return Source(
        graph=_graph_that_agrees(
            classifier, preparation, meaning, column, pixels, width, expected, allowed
        ),
        rule=preparation.rule,
        labels=labels,
        column=column,
        expected=expected,
        allowed=allowed,
        facts={
            "arch": "ONNX",
            "weights": name,
            "source_sha256": classifier.sha256,
            "normalisation": None if classifier.takes_bytes else preparation.as_json(),
            "versions": {name: version(name) for name in ("onnx", "onnxruntime")},
        },
        notes=(one_number_note(name, _AS_WHAT[meaning], labels),) if width == 1 else (),
    )


def _scores(
    classifier: OnnxClassifier,
    preparation: Preparation,
    images_nhwc: NDArray[np.uint8],
) -> NDArray[np.float32]:
    """Return the (N, C) raw scores of the unchanged file."""
    kind = classifier.input.type.tensor_type.elem_type
    pixels: NDArray[Any] = images_nhwc
    if not classifier.takes_bytes:
        pixels = preparation.normalise(images_nhwc).astype(FLOATS[kind])
    elif preparation.bgr:
        pixels = images_nhwc[..., ::-1]
    if classifier.layout == "nchw":
        pixels = pixels.transpose(0, 3, 1, 2)
    try:
        session = _session(classifier.model.SerializeToString())
        pixels = np.ascontiguousarray(pixels)
        # All at once if it can, like the bundle: a processor without VNNI saturates sums of 8 bits,
        # and not alike for one image and for several.
        batches = [pixels]
        if classifier.batch is not None:
            batches = [np.repeat(image[None], classifier.batch, axis=0) for image in pixels]
        answers = [session.run(None, {classifier.input.name: batch})[0] for batch in batches]
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        line = (str(error).strip().splitlines() or ["no details"])[0][:200]
        raise TrainingError(
            f"{classifier.path.name}: expected a model that onnxruntime {onnxruntime.__version__} "
            f"runs on {preparation.rule.height_px}x{preparation.rule.width_px} pixels, but: {line}"
        ) from error
    shape = answers[0].shape
    per_image = [side for side in shape[1:] if side != 1]
    if answers[0].dtype.kind != "f" or not shape or shape[0] != len(batches[0]) or per_image[1:]:
        raise TrainingError(
            f"{classifier.path.name}: expected one row of scores per image as output, found "
            f"{answers[0].dtype} {list(shape)} for {len(batches[0])} image(s)"
            + ("; a model that detects objects is not a classifier" if per_image[1:] else "")
        )
    rows = answers[0] if classifier.batch is None else np.stack([answer[0] for answer in answers])
    return rows.reshape(len(rows), -1).astype(np.float32)


def _session(data: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal only: what goes wrong is raised as well
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _graph_that_agrees(
    classifier: OnnxClassifier,
    preparation: Preparation,
    meaning: Meaning,
    column: str,
    images_nhwc: NDArray[np.uint8],
    width: int,
    expected: NDArray[np.float32],
    allowed: float,
) -> onnx.ModelProto:
    """Return the bundle's graph that answers several images at once as the model does."""
    for model in for_any_number(with_prefix(classifier.model)):
        try:
            graph = as_bundle_graph(
                model,
                preparation,
                meaning,
                column,
                width=width,
                channels_first=classifier.layout == "nchw",
            )
            session = _session(graph.SerializeToString())
            if isinstance(session.get_outputs()[0].shape[0], int):
                continue
            (answers,) = session.run(None, {INPUT_NAME: images_nhwc})
        except Exception:  # noqa: S112 (onnxruntime's own classes share no base but Exception)
            continue
        if answers.shape == expected.shape and np.abs(answers - expected).max() <= allowed:
            return graph
    raise TrainingError(
        f"{classifier.path.name}: expected a model that answers any number of images at once, "
        f"found one that cannot answer {len(images_nhwc)} together; export it again with a dynamic "
        "batch axis"
    )


def _meaning(classifier: OnnxClassifier, scores: NDArray[np.float32]) -> Meaning:
    """Return what the scores of a model are.

    Raises:
        TrainingError: Several labels may be true of a photo, or a single score has no meaning.
    """
    name, last = classifier.path.name, _last_step(classifier.model)
    within = bool(((scores >= 0) & (scores <= 1)).all())
    if scores.shape[1] == 1:
        if last in ("Softmax", "LogSoftmax", "Relu", "Tanh"):
            raise TrainingError(
                f"{name}: expected one number that tells two labels apart, found one that ends in "
                f"{last}; export it again with a sigmoid, or without an activation"
            )
        return "probabilities" if last in _SIGMOIDS or (within and last not in _SUMS) else "logits"
    if last in _SIGMOIDS:
        raise TrainingError(
            f"{name}: expected a model that picks one of many labels, found one that ends in "
            f"{last}, by which several may be true of one photo"
        )
    sums_to_one = (scores >= 0).all() and (abs(scores.sum(axis=1) - 1) < _SUM_TOLERANCE).all()
    return "probabilities" if last == "Softmax" or bool(sums_to_one) else "logits"


def _last_step(model: onnx.ModelProto) -> str:
    """Return the operator that computes the scores, whatever stores or reshapes them after it."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in _CARRIERS and node.input:
        node = makers.get(node.input[0])
    return node.op_type if node is not None else ""


def _has_few_bits(model: onnx.ModelProto) -> bool:
    weights = {initializer.data_type for initializer in model.graph.initializer}
    return bool(weights & _FEW_BITS)


def _as_probabilities(scores: NDArray[np.float32], meaning: Meaning) -> NDArray[np.float32]:
    """Return scores, (N, C), as probabilities: (N, C), or (N, 2) of a single score per image."""
    wide = scores.astype(np.float64)
    if wide.shape[1] == 1:
        rest = 1 - wide if meaning == "probabilities" else np.zeros_like(wide)
        wide = np.concatenate([rest, wide], axis=1)
    if meaning == "logits":
        wide = np.exp(wide - wide.max(axis=1, keepdims=True))
    return np.asarray(wide / wide.sum(axis=1, keepdims=True), np.float32)
