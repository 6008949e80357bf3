"""An ONNX file, and the weights beside it, as one model in memory; both are untrusted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from onnx import AttributeProto, TensorProto

from shopwindow.bundle import MAX_BUNDLE_BYTES, has_external_data, refuse_bundle
from shopwindow.errors import TrainingError
from shopwindow.importing.labels import parse_value

_SIZE_KEYS = ("imgsz", "img_size", "image_size", "input_size")


def read_model(path: Path) -> tuple[onnx.ModelProto, str]:
    """Return an ONNX file with everything in it, and the checksum of all that was read.

    Raises:
        BundleError: It is a bundle already.
        TrainingError: It is not ONNX, is too large, or keeps weights in files that are not beside
            it.
    """
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
        _take_in(model, path, digest)
        if has_external_data(model.SerializeToString()):
            raise TrainingError(
                f"{path.name} keeps tensors of an unusual kind in other files; save it as one "
                "file: onnx.save_model(onnx.load(...), ..., save_as_external_data=False)"
            )
    return model, digest.hexdigest()


def stated_size(model: onnx.ModelProto) -> tuple[int, int] | None:
    """Return the (height, width) that the metadata of a model name, such as Ultralytics' `imgsz`.

    None where they name none.
    """
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


def _take_in(model: onnx.ModelProto, path: Path, digest: Any) -> None:
    """Put the weights that lie beside a model into it.

    Nothing but plain files of the model's own folder is opened, whatever it names.
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
