"""An exchanged head: the last layers of a network, found in a file of weights by their shapes.

Tutorials replace a network's last layer by a `Sequential`. A file of weights has the shapes of its
layers, in order; layers without weights leave at most a gap in the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

_COUNT = "num_batches_tracked"


@dataclass(frozen=True)
class Head:
    """Layers that take the features of a network and give one number per label.

    Attributes:
        layers: With the weights of the file.
        outputs: How many numbers they give.
        words: A description, such as `Linear 512 to 256, ReLU, Linear 256 to 3`.
        guessed: Whether it has an activation that the file does not name.
    """

    layers: nn.Sequential
    outputs: int
    words: str
    guessed: bool


def read_head(tensors: Mapping[str, Tensor], features: int) -> Head | None:
    """Return the layers of some tensors, if they form a chain from that many features.

    Known are Linear, BatchNorm1d and LayerNorm. A gap between two Linear is taken to be a ReLU,
    perhaps with Dropout, which does nothing here.

    Args:
        tensors: By their names within the head, such as `1.weight`.
        features: How many numbers per image the network gives to its head.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        module, _, own = name.rpartition(".")
        parts.setdefault(module, {})[own] = tensor
    while len({name.partition(".")[0] for name in parts}) == 1 < len(parts):
        parts = {name.partition(".")[2]: own for name, own in parts.items()}
    names = list(parts)
    numbered = all(name.isdigit() for name in names)
    if numbered:
        names.sort(key=int)
    layers: list[nn.Module] = [nn.Flatten(1)]
    words: list[str] = []
    width, guessed, needs_activation = features, False, False
    for index, name in enumerate(names):
        layer = _layer(parts[name], width)
        if layer is None:
            return None
        gap = int(name) - int(names[index - 1]) > 1 if numbered and index else False
        # Names without numbers show no gap: there was a ReLU before the next Linear, mostly.
        if needs_activation and (gap or (not numbered and isinstance(layer, nn.Linear))):
            layers.append(nn.ReLU())
            words.append("ReLU")
            guessed, needs_activation = True, False
        layers.append(layer)
        if isinstance(layer, nn.Linear):
            words.append(f"Linear {width:,} to {layer.out_features:,}")
            width, needs_activation = layer.out_features, True
        else:
            words.append(type(layer).__name__)
    if not isinstance(layers[-1], nn.Linear):  # the weights of a loss, say
        return None
    return Head(nn.Sequential(*layers).eval(), width, ", ".join(words), guessed)


def _layer(tensors: Mapping[str, Tensor], width: int) -> nn.Module | None:
    """Return the layer with these tensors that takes `width` numbers; None if there is none."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items() if name != _COUNT}
    weight = shapes.get("weight", ())
    layer: nn.Module
    if len(weight) == 2 and weight[1] == width and 0 not in weight:
        layer = nn.Linear(width, weight[0], bias="bias" in shapes)
    elif "running_mean" in shapes:
        layer = nn.BatchNorm1d(width, affine="weight" in shapes)
    elif weight == (width,):
        layer = nn.LayerNorm(width)
    else:
        return None
    own = {k: tuple(v.shape) for k, v in layer.state_dict().items() if k != _COUNT}
    if own != shapes:
        return None
    layer.load_state_dict(dict(tensors), strict=False)
    return layer
