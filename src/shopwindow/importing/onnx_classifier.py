"""ONNX classifiers from elsewhere: found out what they take and answer, then framed as a bundle's.

Nothing is trusted, and what cannot be found out is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto

from shopwindow.bundle import INPUT_NAME
from shopwindow.errors import TrainingError, UsageError
from shopwindow.importing.labels import (
    StatedLabels,
    of_one_number,
    require_as_many,
    stated_labels,
)
from shopwindow.importing.onnx_batch import for_any_number
from shopwindow.importing.onnx_file import read_model, stated_size
from shopwindow.importing.onnx_frame import (
    Meaning,
    as_probabilities,
    framed,
    image_inputs,
    set_apart,
)
from shopwindow.importing.source import (
    MAX_DIFFERENCE,
    MAX_ROUNDED_DIFFERENCE,
    Preparation,
    Source,
    prepare,
)

Layout = Literal["nchw", "nhwc"]

_FLOATS: dict[int, type[np.floating[Any]]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
}
_FEW_BITS = {TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8, TensorProto.UINT8}
# Steps that change how numbers are laid out or stored, not what they mean.
_CARRIERS = {
    "Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze",
}  # fmt: skip
_AS_WHAT = {"probabilities": "the probability", "logits": "the logit (without a sigmoid)"}
# One number that comes out of these is a logit, even if it lies between 0 and 1 by chance.
_SUMS = {"Add", "Gemm", "MatMul", "Conv", "MatMulInteger", "QGemm"}
_SIGMOIDS = {"Sigmoid", "HardSigmoid"}
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class OnnxClassifier:
    """A model that has one image input and one output.

    Attributes:
        path: Its file.
        model: What is in it.
        layout: Whether channels come first or last.
        size: (height, width) in pixels that it takes; None where it takes any.
        batch: How many images it takes at once; None where it takes any number.
        takes_bytes: Whether it takes 0 to 255 and normalises by itself.
        labels: What its metadata name as its labels.
        stated_size: (height, width) that its metadata name; it may take others.
        sha256: Of its file, with the weights beside it.
    """

    path: Path
    model: onnx.ModelProto
    layout: Layout
    size: tuple[int, int] | None
    batch: int | None
    takes_bytes: bool
    labels: tuple[StatedLabels, ...]
    stated_size: tuple[int, int] | None
    sha256: str

    @property
    def input(self) -> onnx.ValueInfoProto:
        """The image input."""
        return image_inputs(self.model)[0]

    @property
    def output(self) -> onnx.ValueInfoProto:
        """The only output."""
        output: onnx.ValueInfoProto = self.model.graph.output[0]
        return output


def open_onnx(path: Path, layout: Layout | None = None) -> OnnxClassifier:
    """Read an ONNX file and find out what it takes.

    Args:
        path: The file.
        layout: Needed only where the file does not tell.

    Raises:
        BundleError: It is a bundle already.
        TrainingError: It is not ONNX, its weights are not beside it, or it has inputs or outputs
            that no classifier of photos has.
        UsageError: The layout cannot be told from the file, or is not that of the file.
    """
    model, sha256 = read_model(path)
    inputs, outputs = image_inputs(model), list(model.graph.output)
    if len(inputs) != 1:
        raise TrainingError(
            f"{path.name}: expected a model with one input, the image, found "
            f"{len(inputs)} ({_names(inputs)})"
        )
    if len(outputs) != 1:
        raise TrainingError(
            f"{path.name}: expected a model with one output, the scores of the labels, found "
            f"{len(outputs)} ({_names(outputs)}); keep one of them with onnx.utils.extract_model"
        )
    kind = inputs[0].type.tensor_type
    dims = [dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim]
    takes_bytes = kind.elem_type == TensorProto.UINT8
    if len(dims) != 4 or not (takes_bytes or kind.elem_type in _FLOATS):
        found = TensorProto.DataType.Name(kind.elem_type).lower()
        raise TrainingError(
            f"{path.name}: expected images as input, float or uint8 in four dimensions, found "
            f"{inputs[0].name}: {found} {[dim or '?' for dim in dims]}"
        )
    layout = _layout(path, dims, layout)
    height, width = dims[2:] if layout == "nchw" else dims[1:3]
    return OnnxClassifier(
        path=path,
        model=model,
        layout=layout,
        size=None if height is None or width is None else (height, width),
        batch=dims[0],
        takes_bytes=takes_bytes,
        labels=tuple(stated_labels({one.key: one.value for one in model.metadata_props})),
        stated_size=stated_size(model),
        sha256=sha256,
    )


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
        preparation: How photos are prepared for it; mean and std do nothing where it takes bytes.
        images: PNG files for the proof.
        labels: What it answers with.
        column: What the bundle will call its label column.

    Raises:
        TrainingError: It cannot be run, answers with another number of labels, or says for each
            label by itself whether it is true.
    """
    name = classifier.path.name
    pixels = prepare(images, preparation.rule)
    scores = _ask(classifier, preparation, pixels)
    if not np.isfinite(scores).all():
        raise TrainingError(f"{name}: expected numbers as answers, found NaN or infinity")
    require_as_many(labels, scores.shape[1], name, classifier.labels)
    meaning = _meaning(classifier, scores)
    width, expected = scores.shape[1], as_probabilities(scores, meaning)
    allowed = MAX_ROUNDED_DIFFERENCE if _has_few_bits(classifier.model) else MAX_DIFFERENCE
    return Source(
        graph=_proven_graph(
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
        told=(of_one_number(name, _AS_WHAT[meaning], labels),) if width == 1 else (),
    )


def _layout(path: Path, dims: list[int | None], asked: Layout | None) -> Layout:
    shape = [dim or "?" for dim in dims]
    axes: dict[Layout, int] = {"nchw": 1, "nhwc": 3}
    fitting = [layout for layout, axis in axes.items() if dims[axis] in (3, None)]
    sure = [layout for layout in fitting if dims[axes[layout]] == 3]
    if len(sure) == 1:
        fitting = sure
    if not fitting:
        raise TrainingError(
            f"{path.name}: expected colour images, with 3 channels first or last, found the input "
            f"{shape}"
        )
    if asked is not None and asked not in fitting:
        raise UsageError(
            f"--layout {asked}: expected {fitting[0]}, since {path.name} takes {shape}"
        )
    if asked is None and len(fitting) > 1:
        raise UsageError(
            f"{path.name}: expected --layout nchw or --layout nhwc, since its input {shape} does "
            "not say whether channels come first or last"
        )
    return asked or fitting[0]


def _ask(
    classifier: OnnxClassifier,
    preparation: Preparation,
    images_nhwc: NDArray[np.uint8],
) -> NDArray[np.float32]:
    """Return (N, C) raw scores of the file as it is, asked as it wants to be asked."""
    kind = classifier.input.type.tensor_type.elem_type
    pixels: NDArray[Any] = images_nhwc
    if not classifier.takes_bytes:
        pixels = preparation.normalise(images_nhwc).astype(_FLOATS[kind])
    elif preparation.bgr:
        pixels = images_nhwc[..., ::-1]
    if classifier.layout == "nchw":
        pixels = pixels.transpose(0, 3, 1, 2)
    try:
        session = _session(classifier.model.SerializeToString())
        pixels = np.ascontiguousarray(pixels)
        # All at once if it can, as the bundle will be asked: a processor without VNNI saturates
        # sums of 8 bits, and not alike for one image and for several.
        batches = [pixels]
        if classifier.batch is not None:
            batches = [np.repeat(one[None], classifier.batch, axis=0) for one in pixels]
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
            + ("; a model that finds things in a photo is no classifier" if per_image[1:] else "")
        )
    rows = answers[0] if classifier.batch is None else np.stack([answer[0] for answer in answers])
    return rows.reshape(len(rows), -1).astype(np.float32)


def _session(data: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal only: what goes wrong is raised as well
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _proven_graph(
    classifier: OnnxClassifier,
    preparation: Preparation,
    meaning: Meaning,
    column: str,
    images_nhwc: NDArray[np.uint8],
    width: int,
    expected: NDArray[np.float32],
    allowed: float,
) -> onnx.ModelProto:
    """Return the framed graph that answers several images at once as the model does one by one."""
    apart = set_apart(classifier.model)
    for model in for_any_number(apart, image_inputs(apart)[0].name):
        try:
            graph = framed(
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
    """Return what the numbers are that a model answers with.

    Raises:
        TrainingError: Several labels may be true of one photo, or one number says nothing.
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
    """Return the operator that makes the scores, looking through what only stores them."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in _CARRIERS and node.input:
        node = makers.get(node.input[0])
    return node.op_type if node is not None else ""


def _has_few_bits(model: onnx.ModelProto) -> bool:
    weights = {initializer.data_type for initializer in model.graph.initializer}
    return bool(weights & _FEW_BITS)


def _names(values: Sequence[onnx.ValueInfoProto]) -> str:
    return ", ".join(value.name for value in values[:5]) or "none"
