"""Files of weights for networks of torchvision and timm; read without running code."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from timm.data.config import resolve_data_config
from torch import Tensor, nn

from shopwindow.errors import TrainingError, UsageError, WeightsError
from shopwindow.imaging.preprocess import ResizeRule
from shopwindow.importing.layers import Divided, ImportedNetwork, Normalised, Reversed
from shopwindow.importing.source import Preparation, Source, prepare
from shopwindow.training.graph import to_onnx
from shopwindow.training.network import read_state_dict

# What checkpoints wrap a state dict in, and what wrappers of a model put before each name.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


def open_weights(path: Path, arch: str, labels: Sequence[str]) -> nn.Module:
    """Return the network `arch` of torchvision or timm with the weights of a file.

    Args:
        path: A state dict, `.safetensors`, `.pth` or `.pt`.
        arch: The name that torchvision or timm has for it.
        labels: What it answers with.

    Raises:
        UsageError: Nobody knows that architecture.
        WeightsError: The file cannot be read, or the weights do not fit.
    """
    builders = _builders(arch)
    if not builders:
        near = timm.list_models(f"*{arch}*")[:5] or ["resnet50", "efficientnet_b0"]
        raise UsageError(
            f"--arch: expected a name that torchvision or timm knows, got {arch!r}; for example "
            f"{', '.join(near)}"
        )
    state = _unwrapped(read_state_dict(path))
    complaints = []
    # Some names mean one network in torchvision and another in timm: the weights tell which.
    for library, build in builders.items():
        network = build(len(labels))
        complaint = _complaint(network, state, len(labels)) or _load(network, state)
        if complaint is None:
            return network.eval()
        complaints.append(f"{library}'s {arch}: {complaint}")
    raise WeightsError(
        f"{path.name}: expected weights of {arch}, but not {'; nor '.join(complaints)}"
    )


def usual_preparation(arch: str) -> Preparation | None:
    """Return how photos are prepared for the published weights of `arch`, where that is known."""
    if arch in torchvision.models.list_models(module=torchvision.models):
        usual = torchvision.models.get_model_weights(arch)["DEFAULT"].transforms()
        size, scaled = usual.crop_size[0], usual.resize_size[0]
        rule = ResizeRule(size, size, "shorter-side", usual.interpolation.value, (scaled, scaled))
        return Preparation(rule, tuple(usual.mean), tuple(usual.std))
    if not timm.is_model(arch):
        return None
    usual = resolve_data_config(  # type: ignore[no-untyped-call]
        model=timm.create_model(arch, num_classes=0)
    )
    size, cut = usual["input_size"][-1], usual["crop_pct"]
    scaled = int(size / cut)
    method = {"center": "shorter-side", "squash": "squish"}.get(usual["crop_mode"])
    if method is None or usual["input_size"][-2] != size:
        return None
    rule = ResizeRule(size, size, method, usual["interpolation"], (scaled, scaled))  # type: ignore[arg-type]
    return Preparation(rule, usual["mean"], usual["std"])


@torch.inference_mode()
def weights_source(
    network: nn.Module,
    preparation: Preparation,
    images: Sequence[bytes],
    *,
    path: Path,
    arch: str,
    labels: tuple[str, ...],
    column: str,
) -> Source:
    """Return a network, with its preparation in front, as a source.

    Args:
        network: From `open_weights`.
        preparation: How photos are prepared for it.
        images: PNG files for the proof.
        path: The file of weights; only its name and checksum are kept.
        arch: As for `open_weights`.
        labels: What the network answers with.
        column: What the bundle will call its label column.

    Raises:
        UsageError: The network does not take images of this size.
        TrainingError: PyTorch makes no graph of it.
    """
    rule = preparation.rule
    steps = [
        Divided(255.0),
        Normalised(torch.tensor(preparation.mean), torch.tensor(preparation.std)),
        *([Reversed()] if preparation.bgr else []),
    ]
    whole = ImportedNetwork(steps, network).eval()
    try:
        expected = whole(torch.from_numpy(prepare(images, rule)))
    except Exception as error:  # each network has its own way of refusing a size
        raise UsageError(
            f"--size: expected a size that {arch} takes, but with {rule.height_px}x"
            f"{rule.width_px} it fails ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(expected, Tensor) or expected.shape[1:] != (len(labels),):
        raise TrainingError(
            f"{arch}: expected one row of {len(labels)} numbers per image, got "
            f"{tuple(getattr(expected, 'shape', ()))}"
        )
    return Source(
        graph=to_onnx(whole, rule, [column]),
        rule=rule,
        labels=labels,
        column=column,
        expected=expected.numpy(),
        facts={
            "arch": arch,
            "weights": path.name,
            "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "normalisation": preparation.as_json(),
            "versions": {name: version(name) for name in ("torch", "torchvision", "timm")},
        },
    )


def _builders(arch: str) -> dict[str, Callable[[int], nn.Module]]:
    builders: dict[str, Callable[[int], nn.Module]] = {}
    if arch in torchvision.models.list_models(module=torchvision.models):
        builders["torchvision"] = lambda labels: _quiet(
            torchvision.models.get_model, arch, weights=None, num_classes=labels
        )
    if timm.is_model(arch):
        builders["timm"] = lambda labels: _quiet(
            timm.create_model, arch, pretrained=False, num_classes=labels
        )
    return builders


def _quiet(build: Callable[..., nn.Module], *arguments: Any, **options: Any) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of random initial weights, which are replaced
        return build(*arguments, **options)


def _unwrapped(state: dict[str, Any]) -> dict[str, Any]:
    while inner := next((state[k] for k in _WRAPPERS if isinstance(state.get(k), dict)), None):
        state = inner
    while prefix := next((p for p in _PREFIXES if all(k.startswith(p) for k in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
        if not state:
            break
    return state


def _load(network: nn.Module, state: dict[str, Any]) -> str | None:
    """Load weights that fit; return in words why the network will not have them all the same."""
    try:
        network.load_state_dict(state, strict=False)
    except (RuntimeError, ValueError) as error:  # MNASNet wants to know the version of its file
        return str(error)
    return None


def _complaint(network: nn.Module, state: dict[str, Any], labels: int) -> str | None:
    """Return what does not fit, in words; None where everything does."""
    own = network.state_dict()
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    shapes = {key: tuple(value.shape) for key, value in state.items() if isinstance(value, Tensor)}
    others = [k for k in own if k in state and shapes.get(k) != tuple(own[k].shape)]
    for key in others:
        mine, theirs = tuple(own[key].shape), shapes.get(key, ())
        if mine[:1] == (labels,) and theirs[1:] == mine[1:] and not missing:
            return (
                f"its last layer ({key}) answers with {theirs[0]:,} labels, and there are "
                f"{labels:,} in --labels"
            )
    unknown = [key for key in state if key not in own]
    for words, keys in (("is missing", missing), ("has another shape", others)):
        if keys:
            return f"{len(keys)} of {len(own)} tensors: {keys[0]} {words}"
    return f"{len(unknown)} tensors too many, such as {unknown[0]}" if unknown else None
