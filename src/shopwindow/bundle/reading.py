"""From a file to a bundle, if its metadata fit its graph.

Files are opened with onnxruntime rather than with the `onnx` package: the server has onnxruntime
anyway, `onnx` would be another dependency to install and to keep safe, and what counts is whether
the runtime that will serve a file takes it, not whether its protobuf parses.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from shopwindow.bundle.info import ACTIVATION_OUTPUT, EMBEDDING_OUTPUT, KINDS_OUTPUT, BundleInfo
from shopwindow.bundle.novelty import NOVELTY_OUTPUT
from shopwindow.errors import BundleError

METADATA_KEY = "shopwindow"
INPUT_NAME = "images"

MAX_BUNDLE_BYTES = 500_000_000
MAX_METADATA_CHARS = 5_000_000

# A tensor that lives in another file names it in an entry with the key "location" (onnx.proto3).
_EXTERNAL_DATA_MARK = b"\x0a\x08location\x12"
# An entry of the metadata names its key in its first field.
_INFO_MARK = b"\x0a" + bytes([len(METADATA_KEY)]) + METADATA_KEY.encode() + b"\x12"
# A node names what it does in its fourth field.
_QUANTISED_MARK = b"\x22\x0eQuantizeLinear"

Arithmetic = Literal["float32", "int8"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle in memory.

    Attributes:
        info: What it says about itself.
        model: The whole ONNX file.
        sha256: Of `model`, as lower-case hexadecimal text.
        path: Where it was read from.
    """

    info: BundleInfo
    model: bytes = field(repr=False)
    sha256: str
    path: Path | None = None

    @property
    def named(self) -> dict[str, str]:
        """Which bundle it is, as JSON-ready data: `name`, `version` and `sha256`."""
        return {"name": self.info.name, "version": self.info.version, "sha256": self.sha256}


def read_bundle(path: Path) -> Bundle:
    """Read a bundle and check that its metadata fit its graph.

    Raises:
        BundleError: No such file, too large, not ONNX, no or wrong metadata, or metadata that do
            not fit the graph's input and outputs.
    """
    model = _read_limited(path)
    session = _open(model, path)
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise BundleError(
            f"{path} is an ONNX model, but not a shopwindow bundle: it has no metadata under the "
            f"key {METADATA_KEY!r}; make one with shopwindow export."
        )
    info = BundleInfo.from_json(_parse(text, path))
    _check_input(session.get_inputs(), info, path)
    _check_outputs(session.get_outputs(), info, path)
    return Bundle(info, model, hashlib.sha256(model).hexdigest(), path)


def refuse_bundle(path: Path) -> None:
    """Refuse an ONNX file that is a bundle already, where a model from elsewhere is expected.

    Raises:
        BundleError: It is one, or cannot be read.
    """
    if _INFO_MARK in _read_limited(path):
        raise BundleError(
            f"{path.name} is a bundle of shopwindow already: expected a model from elsewhere; "
            f"serve it with shopwindow serve --model {path}"
        )


def has_external_data(model: bytes) -> bool:
    """Say whether an ONNX file keeps tensors in other files, which could be any on this machine."""
    return _EXTERNAL_DATA_MARK in model


def arithmetic_of(model: bytes) -> Arithmetic:
    """Return what most of an ONNX graph computes with, by its nodes."""
    return "int8" if _QUANTISED_MARK in model else "float32"


def bundled_model_path() -> Path:
    """Return the path of the model that comes with shopwindow (it may be missing in a clone)."""
    return Path(str(importlib.resources.files("shopwindow") / "models" / "fashion.onnx"))


def _read_limited(path: Path) -> bytes:
    try:
        if not path.is_file():
            found = "it is a folder" if path.is_dir() else "there is no such file"
            raise BundleError(f"Cannot read the model {path}: {found}; expected an .onnx bundle.")
        with path.open("rb") as file:
            model = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise BundleError(f"Cannot read the model {path}: {error.strerror}.") from error
    if len(model) > MAX_BUNDLE_BYTES:
        raise BundleError(
            f"The model {path} is too large: expected at most {MAX_BUNDLE_BYTES // 10**6} MB."
        )
    return model


def _open(model: bytes, path: Path) -> Any:
    """Return an onnxruntime session that has parsed and checked the graph, but not optimised it."""
    import onnxruntime  # takes 60 ms: only where a model is opened

    if not model or model[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        found = "is a PyTorch or pickle file, which shopwindow never opens" if model else "is empty"
        raise BundleError(
            f"The model {path} {found}: expected an ONNX bundle, as shopwindow export writes it."
        )
    if has_external_data(model):
        raise BundleError(
            f"The model {path} keeps weights in other files (external data): expected one ONNX "
            "file that holds everything."
        )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only: errors are raised as well
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        raise BundleError(
            f"The model {path} is not an ONNX model that onnxruntime "
            f"{onnxruntime.__version__} can run: expected a bundle from shopwindow export "
            f"({_first_line(error)})."
        ) from error


def _parse(text: str, path: Path) -> Any:
    if len(text) > MAX_METADATA_CHARS:
        raise BundleError(
            f"The metadata of {path} are too long: expected at most {MAX_METADATA_CHARS:,} "
            f"characters, found {len(text):,}."
        )
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"The metadata of {path} are not valid JSON: {error}.") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _check_input(inputs: list[Any], info: BundleInfo, path: Path) -> None:
    height, width = info.rule.height_px, info.rule.width_px
    expected = f"{INPUT_NAME}: tensor(uint8) [N, {height}, {width}, 3]"
    found = ", ".join(f"{node.name}: {node.type} {node.shape}" for node in inputs)
    if (
        len(inputs) != 1
        or inputs[0].name != INPUT_NAME
        or inputs[0].type != "tensor(uint8)"
        or len(inputs[0].shape) != 4
        or isinstance(inputs[0].shape[0], int)
        or list(inputs[0].shape[1:]) != [height, width, 3]
    ):
        raise BundleError(f"{path}: expected one input {expected}, found {found or 'none'}.")


def _check_outputs(outputs: list[Any], info: BundleInfo, path: Path) -> None:
    found = [node.name for node in outputs]
    expected = [column.name for column in info.columns]
    expected += info.further_outputs
    if found != expected:
        titles = {
            ACTIVATION_OUTPUT: "the activation map",
            EMBEDDING_OUTPUT: "the embedding",
            NOVELTY_OUTPUT: "the novelty",
            KINDS_OUTPUT: "the kinds of photo",
        }
        then = "".join(f", then {titles[name]}" for name in info.further_outputs)
        raise BundleError(
            f"{path}: expected the outputs {expected} (the label columns{then}), found {found}."
        )
    for node in outputs[len(info.columns) :]:
        shape = node.shape
        fits, expected_shape = {
            ACTIVATION_OUTPUT: (len(shape) == 3, "[N, rows, columns]"),
            EMBEDDING_OUTPUT: (list(shape[1:]) == [info.embedding], f"[N, {info.embedding}]"),
            KINDS_OUTPUT: (list(shape[1:]) == [info.kinds], f"[N, {info.kinds}]"),
            NOVELTY_OUTPUT: (len(shape) == 1, "[N]"),
        }[node.name]
        if node.type != "tensor(float)" or not fits or isinstance(shape[0], int):
            raise BundleError(
                f"{path}: expected the output {node.name} to be tensor(float) "
                f"{expected_shape}, found {node.type} {shape}."
            )
    for node, column in zip(outputs, info.columns, strict=False):  # further ones are checked above
        shape = node.shape
        if (
            node.type != "tensor(float)"
            or len(shape) != 2
            or isinstance(shape[0], int)
            or shape[1] != len(column.labels)
        ):
            raise BundleError(
                f"{path}: expected the output {column.name} to be tensor(float) "
                f"[N, {len(column.labels)}], one per label, found {node.type} {shape}."
            )


def _first_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or ["no details"])[0]
    return line[:200].rstrip(".")
