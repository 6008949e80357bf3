"""Weights of a file, put into a network, whatever their prefix and whatever the head."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shopwindow.importing.checkpoint import Checkpoint
from shopwindow.importing.head import Head, read_head
from shopwindow.importing.labels import shown

Build = Callable[[int], nn.Module]

# What trainers call averages of the weights over the last steps, which are better than the last.
_AVERAGES = ("ema", "averaged", "average", "swa", "shadow")


@dataclass(frozen=True)
class Fit:
    """A network, and how well the weights of a file fit it.

    Attributes:
        network: With the weights, if there is no complaint.
        complaint: What does not fit, in words; None where everything does.
        wrong: How many tensors do not fit.
        notes: What was done without being asked for, each a sentence for the user.
    """

    network: nn.Module
    complaint: str | None
    wrong: int
    notes: tuple[str, ...] = ()


def fit(build: Build, labels: int, checkpoint: Checkpoint) -> Fit:
    """Put the weights of a file into a network that `build` makes for a number of labels.

    The prefix of the tensors' names is found by the names that fit, an exchanged head by its shape;
    what the network does not use is left out.
    """
    network = build(labels)
    own, other = _shapes(network), _shapes_of(build, labels + 1)
    head_keys = [key for key, shape in own.items() if other.get(key) != shape]
    prefix, notes = _prefix(
        checkpoint, {key: shape for key, shape in own.items() if key not in head_keys}
    )
    state = {k[len(prefix) :]: v for k, v in checkpoint.tensors.items() if k.startswith(prefix)}
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    used: set[str] = set()
    if any(shapes.get(key) != own[key] for key in head_keys if not _needless(key)):
        path = head_keys[-1].rpartition(".")[0]
        head, path, used = _find_head(network, path, state, checkpoint, prefix, own)
        if head is not None:
            own = {key: shape for key, shape in own.items() if not key.startswith(f"{path}.")}
            if head.outputs != labels and all(key in state or _needless(key) for key in own):
                complaint = (
                    f"its last layer ({path}) answers with {head.outputs:,} labels, and there are "
                    f"{labels:,} names for them"
                )
                return Fit(network, complaint, 1)
            network.set_submodule(path, head.layers)
            notes.append(_head_note(head, path))
    missing = [key for key in own if key not in state and not _needless(key)]
    misshapen = [key for key in own if key in shapes and shapes[key] != own[key]]
    surplus = [
        name
        for name in checkpoint.tensors
        if name not in used and not (name.startswith(prefix) and name[len(prefix) :] in own)
    ]
    strangers = [
        key
        for key in (name[len(prefix) :] for name in surplus if name.startswith(prefix))
        if _is_of_another_network(key, state[key], network)
    ]
    wrong = len(missing) + len(misshapen) + len(strangers)
    if wrong:
        complaint = _complaint(own, shapes, missing, misshapen, strangers, checkpoint)
        return Fit(network, complaint, wrong)
    try:
        network.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False)
    except (RuntimeError, ValueError) as error:  # MNASNet wants to know the version of its file
        return Fit(network, str(error), 1)
    return Fit(network, None, 0, (*notes, *_surplus_notes(surplus, checkpoint, prefix)))


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def _shapes_of(build: Build, labels: int) -> dict[str, tuple[int, ...]]:
    try:
        with torch.device("meta"):  # no weights are made
            return _shapes(build(labels))
    except (RuntimeError, NotImplementedError):  # a network that computes while it is built
        return _shapes(build(labels))


def _needless(key: str) -> bool:
    """Say whether a network answers the same without a tensor, such as a counter."""
    return key.endswith("num_batches_tracked") or key.startswith(("AuxLogits.", "aux1.", "aux2."))


def _prefix(checkpoint: Checkpoint, body: dict[str, tuple[int, ...]]) -> tuple[str, list[str]]:
    """Return the prefix with which most tensors fit, and a note if there are several."""
    fitting: Counter[str] = Counter()
    named: Counter[str] = Counter()
    for name, tensor in checkpoint.tensors.items():
        parts = name.split(".")
        for start in range(len(parts)):
            suffix = ".".join(parts[start:])
            if suffix in body:
                prefix = name[: len(name) - len(suffix)]
                named[prefix] += 1
                fitting[prefix] += tuple(tensor.shape) == body[suffix]
    if not named:
        return "", []
    most = max(fitting.values())
    best = [prefix for prefix, count in fitting.items() if count == most]
    averages = [p for p in best if any(word in p.lower() for word in _AVERAGES)]
    chosen = (averages or best)[0]
    if len(best) == 1:
        return chosen, []
    names = [prefix.rstrip(".") or "the rest" for prefix in best]
    why = ", the average" if averages else ", the first"
    return chosen, [
        f"It holds {len(best)} sets of weights that fit ({shown(names)}); taken: "
        f"{chosen.rstrip('.') or 'the rest'}{why}."
    ]


def _find_head(
    network: nn.Module,
    path: str,
    state: dict[str, Tensor],
    checkpoint: Checkpoint,
    prefix: str,
    own: dict[str, tuple[int, ...]],
) -> tuple[Head | None, str, set[str]]:
    """Return the layers that replace the network's head, where, and their tensors' names."""
    above = path.rpartition(".")[0]
    places = [path] if path else []
    if above and isinstance(network.get_submodule(above), nn.Sequential):
        places.append(above)
    for place in places:
        inside = {k[len(place) + 1 :]: v for k, v in state.items() if k.startswith(f"{place}.")}
        features = _features(network.get_submodule(place))
        if inside and features and (head := read_head(inside, features)):
            return head, place, {f"{prefix}{place}.{key}" for key in inside}
    # Or the head is beside the network, which then has none of its own.
    features = _features(network.get_submodule(path)) if path else None
    if features is None or any(key.startswith(f"{path}.") for key in state):
        return None, path, set()
    container = next((c for k, c in checkpoint.containers.items() if k.startswith(prefix)), "")
    free = {
        name: tensor
        for name, tensor in checkpoint.tensors.items()
        if checkpoint.containers[name] == container
        and not (name.startswith(prefix) and name[len(prefix) :] in own)
    }
    for group in _groups(free):
        inside = {k[len(group) :]: v for k, v in free.items() if k.startswith(group)}
        if head := read_head(inside, features):
            return head, path, {group + key for key in inside}
    return None, path, set()


def _groups(tensors: dict[str, Tensor]) -> Iterator[str]:
    """Yield the prefixes of the names of tensors, the shortest first."""
    found: dict[str, None] = {}
    for name in tensors:
        parts = name.split(".")
        found |= {".".join(parts[:stop]) + "." * bool(stop): None for stop in range(len(parts))}
    yield from sorted(found, key=lambda group: group.count("."))


def _features(module: nn.Module) -> int | None:
    """Return how many numbers the first Linear of a module takes."""
    linear = next((layer for layer in module.modules() if isinstance(layer, nn.Linear)), None)
    return linear.in_features if linear is not None else None


def _is_of_another_network(key: str, tensor: Tensor, network: nn.Module) -> bool:
    """Say whether a surplus tensor means that the file is of a network with more layers.

    A tensor outside the network's own parts (of a loss) does not, nor do counters and tables, which
    are not trained.
    """
    if key.partition(".")[0] not in dict(network.named_children()):
        return key.partition(".")[0] in dict(network.named_parameters(recurse=False))
    if not tensor.is_floating_point():
        return False
    modules = dict(network.named_modules())
    return not (key.rpartition(".")[0] in modules and tensor.numel() <= 1)


def _complaint(
    own: dict[str, tuple[int, ...]],
    shapes: dict[str, tuple[int, ...]],
    missing: Sequence[str],
    misshapen: Sequence[str],
    strangers: Sequence[str],
    checkpoint: Checkpoint,
) -> str:
    """Return the difference in words."""
    needed = [key for key in own if not _needless(key)]
    fitting = len(needed) - len(missing) - len(misshapen)
    start = f"{fitting:,} of {len(needed):,} tensors fit: "
    if fitting < len(needed) / 2:
        first = [*missing, *misshapen][0]
        return (
            f"{start}{first} {'is missing' if missing else 'has another shape'}; the file has "
            f"{len(checkpoint.tensors):,} tensors, such as {shown(list(checkpoint.tensors)[:3])}"
        )
    words = [
        f"{len(missing):,} missing ({shown(missing)})" if missing else "",
        "; ".join(f"{key} is {shapes[key]}, expected {own[key]}" for key in misshapen[:3]),
        f"{len(strangers):,} too many ({shown(strangers)})" if strangers else "",
    ]
    return start + "; ".join(filter(None, words))


def _head_note(head: Head, path: str) -> str:
    doubt = (
        " A file of weights does not name its activations: ReLU is taken where one belongs, so "
        "compare the predictions of the preview with those that you know."
    )
    return f"Its last layer ({path}) is {head.words}.{doubt if head.guessed else ''}"


def _surplus_notes(keys: Sequence[str], checkpoint: Checkpoint, prefix: str) -> Iterator[str]:
    """Yield a note on what was left out: by name if beside the weights, else by its dict."""
    container = next((c for k, c in checkpoint.containers.items() if k.startswith(prefix)), "")
    beside = [
        key.removeprefix(container) for key in keys if checkpoint.containers[key] == container
    ]
    elsewhere = Counter(
        checkpoint.containers[key].partition(".")[0]
        for key in keys
        if checkpoint.containers[key] != container
    )
    beside = [key for key in beside if not key.endswith("num_batches_tracked")]
    lots = [f"{name or 'the outermost dict'} ({count:,})" for name, count in elsewhere.items()]
    if beside or lots:
        yield (
            f"Left out, as the network has no use for it: {shown([*beside[:5], *lots])}"
            + (f" (and {len(beside) - 5:,} more)" if len(beside) > 5 else "")
            + "."
        )
