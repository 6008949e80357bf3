"""Files of weights for networks of torchvision and timm; read without running code."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from shopwindow.importing.checkpoint import Checkpoint
from shopwindow.importing.labels import one_number_note
from shopwindow.importing.layers import Divided, ImportedNetwork, Normalised, OneNumber, Reversed
from shopwindow.importing.source import Preparation, Source, prepare
from shopwindow.importing.weight_fitting import Fit, fit
from shopwindow.training.to_onnx import to_onnx


@dataclass(frozen=True)
class LoadedWeights:
    """A network with the weights of a file.

    Attributes:
        network: In evaluation mode.
        arch: The name that torchvision or timm has for it.
        notes: What was done to make them fit, each a sentence for the user.
    """

    network: nn.Module
    arch: str
    notes: tuple[str, ...]


def load_weights(checkpoint: Checkpoint, arch: str, labels: Sequence[str]) -> LoadedWeights:
    """Return the network `arch` of torchvision or timm with the weights of a file.

    Args:
        checkpoint: From `open_checkpoint`.
        arch: The name that torchvision or timm has for it.
        labels: In the order of its output.

    Raises:
        UsageError: Neither library knows that architecture.
        WeightsError: The weights do not fit.
    """
    builders = _builders(arch)
    if not builders:
        near = timm.list_models(f"*{arch}*")[:5] or ["resnet50", "efficientnet_b0"]
        raise UsageError(
            f"--arch: expected a name that torchvision or timm knows, got {arch!r}; for example "
            f"{', '.join(near)}"
        )
    fits: list[tuple[str, Fit]] = []
    # Some names mean one network in torchvision and another in timm: the weights decide.
    for library, build in builders.items():
        # A network for two labels may have a single output.
        for outputs in (len(labels), 1) if len(labels) == 2 else (len(labels),):
            found = fit(build, outputs, checkpoint)
            if found.complaint is not None:
                fits.append((library, found))
            elif outputs == 1:
                note = one_number_note("It", "the logit (without a sigmoid)", labels)
                network = nn.Sequential(found.network, OneNumber())
                return LoadedWeights(network.eval(), arch, (*found.notes, note))
            else:
                return LoadedWeights(found.network.eval(), arch, found.notes)
    library, nearest = min(fits, key=lambda pair: pair[1].wrong)
    stated = ""
    if checkpoint.arch and checkpoint.arch != arch:
        stated = f" (it says itself that it is of {checkpoint.arch})"
    raise WeightsError(
        f"{checkpoint.path.name}: expected weights of {arch}, but with {library}'s {arch}: "
        f"{nearest.complaint}{stated}"
    )


def usual_preparation(arch: str) -> Preparation | None:
    """Return how photos are prepared for the published weights of `arch`, or None."""
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
    weights: LoadedWeights,
    preparation: Preparation,
    images: Sequence[bytes],
    *,
    path: Path,
    labels: tuple[str, ...],
    column: str,
) -> Source:
    """Return a network, with its preparation in front, as a source.

    Args:
        weights: From `load_weights`.
        preparation: How photos are prepared for it.
        images: PNG files for the comparison with the bundle.
        path: The file of weights; only its name and checksum are kept.
        labels: In the order of its output.
        column: What the bundle will call its label column.

    Raises:
        UsageError: The network does not take images of this size.
        TrainingError: PyTorch cannot export it.
    """
    rule, arch = preparation.rule, weights.arch
    steps = [
        Divided(255.0),
        Normalised(torch.tensor(preparation.mean), torch.tensor(preparation.std)),
        *([Reversed()] if preparation.bgr else []),
    ]
    whole = ImportedNetwork(steps, weights.network).eval()
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
        notes=weights.notes,
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
