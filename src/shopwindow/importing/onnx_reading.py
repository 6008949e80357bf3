"""ONNX classifiers from elsewhere: what is in the file, and what it takes and returns.

Files are untrusted, and so are the weights beside them. What a file does not say is asked for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto

from shopwindow.bundle import MAX_BUNDLE_BYTES, has_external_data, refuse_bundle
from shopwindow.errors import TrainingError, UsageError
from shopwindow.importing.labels import FoundLabels, parse_value, stated_labels

Layout = Literal["nchw", "nhwc"]

FLOATS: dict[int, type[np.floating[Any]]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
}
_SIZE_KEYS = ("imgsz", "img_size", "image_size", "input_size")


@dataclass(frozen=True)
class OnnxClassifier:
    """A model that has one image input and one output.

    Attributes:
        path: Its file.
        model: The content of the file, and of the weights beside it.
        layout: Whether channels come first or last.
        size: (height, width) in pixels that it takes; None where it takes any.
        batch: How many images it takes at once; None where it takes any number.
        takes_bytes: Whether it takes 0 to 255 and normalises by itself.
        labels: Those in its metadata.
        stated_size: (height, width) in its metadata; it may take others.
        sha256: Of its file, and of the weights beside it.
    """

    path: Path
    model: onnx.ModelProto
    layout: Layout
    size: tuple[int, int] | None
    batch: int | None
    takes_bytes: bool
    labels: tuple[FoundLabels, ...]
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
        layout: Needed only where the file does not say it.

    Raises:
        BundleError: It is a bundle already.
        TrainingError: It is not ONNX, its weights are not beside it, or it has inputs or outputs
            that no classifier of photos has.
        UsageError: The file does not say the layout, or says another.
    """
    model, sha256 = _read_model(path)
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
    if len(dims) != 4 or not (takes_bytes or kind.elem_type in FLOATS):
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
        labels=tuple(stated_labels({entry.key: entry.value for entry in model.metadata_props})),
        stated_size=_stated_size(model),
        sha256=sha256,
    )


def _layout(path: Path, dims: list[int | None], asked: Layout | None) -> Layout:
    shape = [dim or "?" for dim in dims]
    axes: dict[Layout, int] = {"nchw": 1, "nhwc": 3}
    possible = [layout for layout, axis in axes.items() if dims[axis] in (3, None)]
    certain = [layout for layout in possible if dims[axes[layout]] == 3]
    if len(certain) == 1:
        possible = certain
    if not possible:
        raise TrainingError(
            f"{path.name}: expected colour images, with 3 channels first or last, found the input "
            f"{shape}"
        )
    if asked is not None and asked not in possible:
        raise UsageError(
            f"--layout {asked}: expected {possible[0]}, since {path.name} takes {shape}"
        )
    if asked is None and len(possible) > 1:
        raise UsageError(
            f"{path.name}: expected --layout nchw or --layout nhwc, since its input {shape} does "
            "not say whether channels come first or last"
        )
    return asked or possible[0]


def image_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs of a model without its weights, which older files list there as well."""
    weights = {initializer.name for initializer in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _names(values: Sequence[onnx.ValueInfoProto]) -> str:
    return ", ".join(value.name for value in values[:5]) or "none"


def _read_model(path: Path) -> tuple[onnx.ModelProto, str]:
    """Return an ONNX file with everything in it, and the checksum of all that was read."""
    if path.stat().st_size > MAX_BUNDLE_BYTES:
        raise _too_large(path, path.stat().st_size)
    refuse_bundle(path)
    data = path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf raises its own DecodeError
        raise TrainingError(f"{path.name}: expected an ONNX model, found something else") from error
    digest = hashlib.sha256(data)
    if has_external_data(data):
        _add_weights(model, path, digest)
        if has_external_data(model.SerializeToString()):
            raise TrainingError(
                f"{path.name} keeps tensors of an unusual kind in other files; save it as one "
                "file: onnx.save_model(onnx.load(...), ..., save_as_external_data=False)"
            )
    return model, digest.hexdigest()


def _stated_size(model: onnx.ModelProto) -> tuple[int, int] | None:
    """Return the (height, width) in a model's metadata, such as Ultralytics' `imgsz`, or None."""
    for entry in model.metadata_props:
        if entry.key.lower() not in _SIZE_KEYS:
            continue
        value = parse_value(entry.value)
        sides = [value] * 2 if isinstance(value, int) else value
        if isinstance(sides, list | tuple) and len(sides) == 3:  # timm: channels first
            sides = sides[1:]
        if (
            isinstance(sides, list | tuple)
            and len(sides) == 2
            and all(type(side) is int and 0 < side < 10_000 for side in sides)
        ):
            return sides[0], sides[1]
    return None


def _add_weights(model: onnx.ModelProto, path: Path, digest: Any) -> None:
    """Put the weights that lie beside a model into it.

    Whatever the model names, only plain files in its own folder are opened.
    """
    left = MAX_BUNDLE_BYTES - path.stat().st_size
    files: dict[str, bytes] = {}
    for tensor in _tensors(model.graph, *model.functions):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if location not in files:
            files[location] = data = _beside(path, location, left)
            left -= len(data)
            digest.update(data)
        data = files[location]
        start, length = _number(entries.get("offset", "0")), _number(entries.get("length", ""))
        stop = len(data) if length is None else (start or 0) + length
        if start is None or not start <= stop <= len(data):
            raise TrainingError(
                f"{path.name}: expected the weights of {tensor.name!r} in {location}, bytes "
                f"{start} to {stop}, found only {len(data):,} bytes; export it again, or copy both "
                "files again"
            )
        tensor.raw_data = data[start:stop]
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _beside(path: Path, location: str, most_bytes: int) -> bytes:
    """Return a file in the model's folder, of at most so many bytes."""
    # One name: nothing above the folder, nothing below it that is a link to elsewhere.
    named = PurePosixPath(location)
    file = path.parent / named.name
    if str(named) != named.name or re.search(r"[\\:\0]", location) or named.name in ("", ".."):
        raise TrainingError(
            f"{path.name}: expected its weights in a file beside it, found that it names "
            f"{location[:200]!r}, which is not opened"
        )
    if file.is_symlink() or not file.is_file():
        found = "a link, which is not followed" if file.is_symlink() else "no such file"
        raise TrainingError(
            f"{path.name} keeps its weights in {location}: expected that file beside it, found "
            f"{found}; put both into one folder"
        )
    size = file.stat().st_size
    if size > most_bytes:
        raise _too_large(path, MAX_BUNDLE_BYTES - most_bytes + size)
    return file.read_bytes()


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 13 else None


def _tensors(*graphs: Any) -> Iterator[TensorProto]:
    """Yield every tensor of graphs and functions, also of graphs within them."""
    for graph in graphs:
        if isinstance(graph, onnx.GraphProto):
            yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == AttributeProto.TENSOR:
                    yield attribute.t
                yield from attribute.tensors
                inner = [attribute.g] if attribute.type == AttributeProto.GRAPH else []
                yield from _tensors(*inner, *attribute.graphs)


def _too_large(path: Path, size: int) -> TrainingError:
    return TrainingError(
        f"{path.name}: expected at most {MAX_BUNDLE_BYTES // 10**6} MB, found {size // 10**6:,}"
    )
