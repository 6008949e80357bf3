"""Start from the weights in a bundle.

Export folds each batch normalisation into the convolution before it. In a network that starts from
a bundle, batch normalisation therefore only adds a bias, and `KeepStatistics` keeps it that way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from shopwindow.bundle import LabelColumn, read_bundle
from shopwindow.errors import WeightsError
from shopwindow.training.network import Classifier

_PREFIX, _HALF, _QUANTISED, _FOLDED_BIAS = "model.", "_half", "_quantized", "weight_bias"


def is_bundle(weights: str) -> bool:
    """Return whether these weights are a bundle, judging by the file name."""
    return Path(weights).suffix.lower() == ".onnx"


def arch_of(weights: str) -> str | None:
    """Return the architecture that a bundle names; None for other weights and bundles.

    Raises:
        BundleError: The file is not a bundle.
    """
    if not is_bundle(weights):
        return None
    named = read_bundle(Path(weights)).info.training.get("arch")
    return named if isinstance(named, str) else None


def load_bundle_weights(
    model: Classifier,
    path: Path,
    vocabularies: Mapping[str, Sequence[str]],
    size_px: tuple[int, int],
) -> None:
    """Copy the weights of a bundle into a network of the same architecture.

    The rows of the last layer are copied for labels that both have, in the main columns and in
    others of the same name; other rows stay as they are.

    Args:
        model: Changed in place.
        path: A bundle that `shopwindow train` made.
        vocabularies: Labels per column of `model`, the main one first.
        size_px: (height, width) of the input.

    Raises:
        BundleError: The file is not a bundle.
        WeightsError: It holds another architecture.
    """
    bundle = read_bundle(path)
    tensors = _named_tensors(onnx.load_model_from_string(bundle.model))
    last = _last_linear(model)
    state = model.state_dict()
    normalised = _normalised_convolutions(model, size_px)
    folded = {conv for conv, norm in normalised.items() if f"{norm}.weight" not in tensors}
    absent = {f"{normalised[conv]}.{part}" for conv in folded for part in _BATCH_NORM}
    for name, own in state.items():
        if name in absent or name.startswith(last) or name.endswith("num_batches_tracked"):
            continue
        if name not in tensors or tensors[name].shape != own.shape:
            raise WeightsError(
                f"{path.name}: expected a bundle of the same architecture, but {name} "
                f"{tuple(own.shape)} is not in it; name its architecture with --arch"
            )
        own.copy_(tensors[name])
    _copy_answers(state, tensors, last, bundle.info.columns, vocabularies, path)
    modules = dict(model.named_modules())
    for conv in folded:
        norm = modules[normalised[conv]]
        assert isinstance(norm, nn.BatchNorm2d)  # noqa: S101 - what _normalised_convolutions found
        # A bias of nothing but zeros is left out of the graph.
        _set_identity(norm, tensors.get(f"{conv}.{_FOLDED_BIAS}", torch.zeros_like(norm.bias)))


_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def _named_tensors(graph: onnx.ModelProto) -> dict[str, Tensor]:
    """Return the weights by the names that the PyTorch network has for them, in float."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in arrays:
            whole, scale, zero = (arrays[name] for name in node.input)
            by_channel = (-1,) + (1,) * (whole.ndim - 1)  # a scale for each output channel
            values = whole.astype(np.float32) - zero.reshape(by_channel)
            values *= scale.reshape(by_channel)
            arrays[node.input[0].removesuffix(_QUANTISED)] = values
    return {
        name.removeprefix(_PREFIX).removesuffix(_HALF): torch.from_numpy(
            np.array(array, np.float32)
        )
        for name, array in arrays.items()
        if name.startswith(_PREFIX)
    }


def _last_linear(model: Classifier) -> str:
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return str(names[-1])


@torch.no_grad()
def _normalised_convolutions(model: Classifier, size_px: Sequence[int]) -> dict[str, str]:
    """Return the name of the batch normalisation that takes the output of each convolution."""
    produced: dict[int, tuple[str, Tensor]] = {}
    pairs: dict[str, str] = {}
    handles = []

    def after(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            produced[id(output)] = (name, output)  # the tensor is kept, so its id stays taken

        return hook

    def before(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if id(inputs[0]) in produced:
                pairs[produced[id(inputs[0])][0]] = name

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(after(name)))
        elif isinstance(module, nn.BatchNorm2d):
            handles.append(module.register_forward_pre_hook(before(name)))
    was_training = model.training
    model.eval()(torch.zeros(1, 3, *size_px, device=model.mean.device))
    model.train(was_training)
    for handle in handles:
        handle.remove()
    return pairs


def _copy_answers(
    state: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    last: str,
    columns: Sequence[LabelColumn],
    vocabularies: Mapping[str, Sequence[str]],
    path: Path,
) -> None:
    """Copy the rows of the last layer, label by label."""
    weight, bias = tensors.get(f"{last}.weight"), tensors.get(f"{last}.bias")
    rows: dict[tuple[str, str], int] = {}
    for position, column in enumerate(columns):
        for label in column.labels:
            # Main columns belong together whatever they are called.
            rows["" if position == 0 else column.name, label] = len(rows)
    own, own_bias = state[f"{last}.weight"], state.get(f"{last}.bias")  # fastai's has no bias
    fits = weight is not None and weight.shape == (len(rows), own.shape[1])
    if weight is None or not fits or (bias is None) != (own_bias is None):
        raise WeightsError(
            f"{path.name}: expected a last layer with {own.shape[1]} inputs, but it is not in it; "
            "name its architecture with --arch"
        )
    number = 0
    for position, (name, labels) in enumerate(vocabularies.items()):
        for label in labels:
            row = rows.get(("" if position == 0 else name, label))
            if row is not None:
                own[number] = weight[row]
                if bias is not None and own_bias is not None:
                    own_bias[number] = bias[row]
            number += 1


@torch.no_grad()
def _set_identity(norm: nn.BatchNorm2d, shift: Tensor) -> None:
    """Make a batch normalisation add `shift` (C,) and do nothing else, unless it is training."""
    assert norm.running_mean is not None and norm.running_var is not None  # noqa: S101, PT018
    norm.weight.fill_(1)
    norm.bias.copy_(shift)
    norm.running_mean.fill_(0)
    norm.running_var.fill_(1 - norm.eps)
