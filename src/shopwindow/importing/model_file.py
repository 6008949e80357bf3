"""Any model file -> a source: what the file does not say comes from options, or is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from shopwindow.errors import UsageError
from shopwindow.imaging.preprocess import ResizeMethod, ResizeRule
from shopwindow.importing.checkpoint import open_checkpoint
from shopwindow.importing.fastai_learner import read_learner
from shopwindow.importing.labels import FoundLabels, read_labels, settle_labels
from shopwindow.importing.onnx_reading import OnnxClassifier, open_onnx
from shopwindow.importing.onnx_source import onnx_source
from shopwindow.importing.source import Preparation, Source
from shopwindow.importing.weights import load_weights, usual_preparation, weights_source

Tell = Callable[[str], None]
Ask = Callable[[str, str | None], Any]


def read_source(
    path: Path,
    images: Sequence[bytes],
    options: Mapping[str, Any],
    *,
    column: str,
    tell: Tell,
    ask: Ask | None,
) -> Source:
    """Read a model by the ending of its name.

    Args:
        path: A fastai learner (.pkl; this runs its code), an ONNX file, or a file of weights.
        images: PNG files for the comparison with the bundle.
        options: By name what the user gave: `labels` (a path), `arch`, `layout`, `channels`; and
            how photos are prepared: `size` and `scaled` ((height, width) in pixels), `resize`,
            `filter`, `fill`, `mean` and `std` (three numbers each).
        column: What the bundle will call its label column.
        tell: Called with a sentence about each thing that the file says itself.
        ask: Returns the value of a missing option, given its name and the usual value as text;
            None where nobody can be asked.

    Raises:
        UsageError: An option is missing, wrong, or contradicts the file.
        TrainingError: The model cannot be a bundle.
    """
    if path.suffix.lower() == ".pkl":
        return read_learner(path, images, column=column)
    if path.suffix.lower() == ".onnx":
        classifier = open_onnx(path, options.get("layout"))
        labels = _labels(path, classifier.labels, options, tell)
        known = _said_by_file(classifier, options, tell)
        preparation = _preparation({**options, **known}, None, ask)
        return onnx_source(classifier, preparation, images, labels=labels, column=column)
    checkpoint = open_checkpoint(path)
    labels = _labels(path, checkpoint.labels, options, tell)
    if (arch := options.get("arch", checkpoint.arch)) is None:
        raise UsageError(
            "expected --arch NAME, the torchvision or timm name of the network, as "
            f"{path.name} does not say it"
        )
    if "arch" not in options:
        tell(f"{path.name} says itself that it is of the network {arch}.")
    weights = load_weights(checkpoint, arch, labels)
    preparation = _preparation(options, arch, ask)
    return weights_source(weights, preparation, images, path=path, labels=labels, column=column)


def _labels(
    path: Path, stated: Sequence[FoundLabels], options: Mapping[str, Any], tell: Tell
) -> tuple[str, ...]:
    given = read_labels(options["labels"]) if "labels" in options else None
    labels, note = settle_labels(stated, given, path.name)
    if note:
        tell(note)
    return labels


def _said_by_file(
    classifier: OnnxClassifier, options: Mapping[str, Any], tell: Tell
) -> dict[str, Any]:
    """Return the options that an ONNX file itself answers, if none contradicts it."""
    known: dict[str, Any] = {}
    name = classifier.path.name
    if classifier.takes_bytes:
        if useless := [option for option in ("mean", "std") if option in options]:
            raise UsageError(
                f"--{useless[0]} has no effect: {name} takes bytes and normalises by itself"
            )
        known |= {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    if classifier.size is not None:
        height, width = known["size"] = classifier.size
        if options.get("size", classifier.size) != classifier.size:
            raise UsageError(f"--size: expected {height}x{width}, as {name} takes no other")
    elif classifier.stated_size is not None and "size" not in options:
        height, width = known["size"] = classifier.stated_size
        tell(f"{name} names its size itself: {height}x{width} pixels.")
    return known


def _preparation(options: Mapping[str, Any], arch: str | None, ask: Ask | None) -> Preparation:
    """Return how photos are prepared; options that are missing are asked for."""
    if missing := [name for name in ("size", "resize", "mean", "std") if name not in options]:
        usual = usual_preparation(arch) if arch else None
        hints = _as_options(usual) if usual else {}
        if ask is None:
            words = " ".join(f"--{name} {value}" for name, value in hints.items())
            raise UsageError(
                f"expected {', '.join('--' + name for name in missing)}, as the file does not say "
                "how photos were prepared when it was trained"
                + (f"; usual for this network: {words}" if words else "")
            )
        # Whoever takes the usual answers should get all of them.
        missing += [name for name in ("scaled", "filter") if name in hints and name not in options]
        options = {**options, **{name: ask(name, hints.get(name)) for name in missing}}
    if (method := options["resize"]) not in get_args(ResizeMethod):
        raise UsageError(f"--resize: expected {', '.join(get_args(ResizeMethod))}, got {method!r}")
    try:
        rule = ResizeRule(
            options["size"][0],
            options["size"][1],
            method,
            options.get("filter", "bilinear"),
            options.get("scaled"),
            options.get("fill", "white"),
        )
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('_px', '')}") from error
    bgr = options.get("channels") == "bgr"
    return Preparation(rule, options["mean"], options["std"], bgr=bgr)


def _as_options(usual: Preparation) -> dict[str, str]:
    rule = usual.rule
    words = {"size": str(rule.height_px), "resize": rule.method}
    if rule.scaled_px not in (None, (rule.height_px, rule.width_px)):
        words["scaled"] = str(rule.scaled[0])
    if rule.filter != "bilinear":
        words["filter"] = rule.filter
    for name in ("mean", "std"):
        words[name] = ",".join(f"{number:g}" for number in getattr(usual, name))
    return words
