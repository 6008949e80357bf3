"""A file of weights, read without running code, whatever its training wrapped them in."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from shopwindow.errors import WeightsError
from shopwindow.importing.labels import FoundLabels, shown, stated_labels

# What torch.compile, FSDP and activation checkpointing put in the middle of names.
_WRAPPINGS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_ARCH_KEYS = ("arch", "architecture", "model_name")
# Where trainers keep their options.
_NOTES = ("hyper_parameters", "args", "config", "meta", "hparams")
_DEEPEST = 6
_MAX_CONFIG_BYTES = 5_000_000
_MARK = "shopwindow_stands_for"
# Numbers of numpy among the results of a training; reading them runs no code of the file.
_SCALAR = np.float64(0).__reduce__()[0]
_NUMPY: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (np.dtype, "numpy.dtype"),
    *((kind, f"numpy.dtypes.{name}") for name, kind in vars(np.dtypes).items() if name[0] != "_"),
]
_NUMPY_NAMES = {name for _, name in _NUMPY}


class _Placeholder:
    """Stands for a class that is not loaded: its objects are empty, marked dicts.

    PyTorch's reader fills such a dict like any other, with plain data and tensors.
    """

    def __new__(cls, *_: Any, **__: Any) -> OrderedDict[str, Any]:  # type: ignore[misc]
        empty: OrderedDict[str, Any] = OrderedDict()
        vars(empty)[_MARK] = f"{cls.__module__}.{cls.__name__}"
        return empty


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights holds.

    Attributes:
        path: The file.
        tensors: All its tensors by their whole names, such as `state_dict.model.fc.weight`.
        containers: The name of the dict that each tensor was in, such as `state_dict.`.
        labels: Those in the file, or in a `config.json` beside it.
        arch: The name of the network in the file, if any.
    """

    path: Path
    tensors: dict[str, Tensor]
    containers: dict[str, str]
    labels: tuple[FoundLabels, ...]
    arch: str | None


def open_checkpoint(path: Path) -> Checkpoint:
    """Read a file of weights.

    Args:
        path: What `torch.save` wrote, or `.safetensors`.

    Raises:
        WeightsError: It cannot be read without running code, or holds no tensors.
    """
    content: Any
    if path.suffix.lower() == ".safetensors":
        content, entries = _read_safetensors(path)
    else:
        content, entries = _read_pickle(path), {}
    tensors, containers = {}, {}
    for container, name, tensor in _tensors(content):
        whole = f"{container}{name}"
        for wrapping in _WRAPPINGS:
            whole = whole.replace(wrapping, "")
        tensors[whole], containers[whole] = tensor, container
    if not tensors:
        raise WeightsError(_without_tensors(path, content))
    entries |= _entries(content)
    if path.suffix.lower() in (".safetensors", ".bin"):
        entries = _config_beside(path) | entries
    arch = next((entries[key] for key in _ARCH_KEYS if isinstance(entries.get(key), str)), None)
    if arch is None and isinstance(entries.get("architectures"), list):
        raise WeightsError(
            f"{path.name}: expected weights with the names that torchvision or timm has for them, "
            "found, by the config.json beside it, those of transformers "
            f"({shown([str(name) for name in entries['architectures']])}); "
            "export it as ONNX: optimum-cli export onnx --model FOLDER OUT"
        )
    return Checkpoint(path, tensors, containers, tuple(stated_labels(entries)), arch)


def _entries(content: Any) -> dict[str, Any]:
    """Return what a checkpoint has beside its weights: at the top, and in trainers' options."""
    if not isinstance(content, Mapping):
        return {}
    notes = [content[key] for key in _NOTES if isinstance(content.get(key), Mapping)]
    # Objects such as `argparse.Namespace` have their entries as attributes.
    notes += [vars(note) for note in notes if _stands_for(note)]
    return {str(key): value for part in (*notes, content) for key, value in part.items()}


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path.name}: expected a .safetensors file, got {error}") from error


def _read_pickle(path: Path) -> Any:
    """Return what `torch.save` wrote, with placeholders for other people's classes."""
    foreign: list[str] = []
    with suppress(Exception):  # files from before PyTorch 1.6, or of another kind
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    classes = [_placeholder(name) for name in foreign if name not in _NUMPY_NAMES]
    try:
        with torch.serialization.safe_globals([*classes, *_NUMPY]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        hint = "save it with torch.save(model.state_dict(), ...)"
        if "torchscript" in str(error).lower():
            found = "a TorchScript program"
            hint = "save the model that it was made of with torch.save(model.state_dict(), ...)"
        else:
            found = f"something else ({type(error).__name__})"
        raise WeightsError(
            f"{path.name}: expected a state dict (.pth, .pt or .safetensors) without pickled code, "
            f"found {found}; {hint}"
        ) from error


def _placeholder(name: str) -> Any:
    """Return a class that stands for another in a pickle, and the whole name of that."""
    module, _, own = name.rpartition(".")
    return type(own, (_Placeholder,), {"__module__": module}), name


def _tensors(value: Any, container: str = "", depth: int = 0) -> Iterator[tuple[str, str, Tensor]]:
    """Yield (container, name, tensor) of all tensors in nested dicts."""
    if not isinstance(value, Mapping) or depth > _DEEPEST:
        return
    for key, inner in value.items():
        if isinstance(inner, Tensor):
            yield container, str(key), inner
        else:
            yield from _tensors(inner, f"{container}{key}.", depth + 1)


def _stands_for(value: Any) -> str | None:
    """Return the name of the class that a placeholder stands for; None for anything else."""
    return vars(value).get(_MARK) if isinstance(value, OrderedDict) else None


def _without_tensors(path: Path, content: Any) -> str:
    objects = [content, *(content.values() if isinstance(content, Mapping) else ())]
    whole = next((kind for kind in map(_stands_for, objects) if kind), None)
    if whole is not None:
        return (
            f"{path.name}: expected weights without pickled code, found a whole object ({whole}), "
            "which only its own code can read; where that runs, save it with "
            "torch.save(model.state_dict(), ...), or as ONNX"
        )
    return (
        f"{path.name}: expected a state dict (.pth, .pt or .safetensors), found "
        f"{type(content).__name__} without any tensor"
    )


def _config_beside(path: Path) -> dict[str, Any]:
    """Return the `config.json` that Hugging Face and timm put beside weights; or nothing."""
    file = path.with_name("config.json")
    try:
        if not file.is_file() or file.stat().st_size > _MAX_CONFIG_BYTES:
            return {}
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}
