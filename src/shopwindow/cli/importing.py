"""import: a model from elsewhere becomes a bundle."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_args

import click

from shopwindow.cli.options import example, given, parse_size
from shopwindow.cli.training import training_stack
from shopwindow.errors import UsageError

if TYPE_CHECKING:
    from shopwindow.evaluation.verify import Draft
    from shopwindow.importing import OnnxClassifier, Preparation, Source
    from shopwindow.importing.labels import StatedLabels

_INPUT_NAME = "images"  # as in `shopwindow.bundle`, which would load numpy for --help
_WEIGHTS = (".pth", ".pt", ".ckpt", ".tar", ".bin", ".safetensors")
_ADVICE = {
    **dict.fromkeys(
        (".h5", ".keras", ".pb"),
        "; of a Keras or TensorFlow model, make one with model.export(FILE, format='onnx') or "
        "tf2onnx",
    ),
    ".tflite": "; of a TensorFlow Lite model, make one with tf2onnx",
}
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
# What a learner says about itself; an option that would have no effect is refused.
_NOT_FOR_LEARNERS = (
    "labels", "arch", "size", "resize", "scaled", "filter", "fill", "mean", "std", "channels",
    "layout",
)  # fmt: skip


def _parse_channels(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    """Return `0.5`, `0.4,0.5,0.6` or `imagenet` as three numbers."""
    if text is None:
        return None
    if text == "imagenet":
        return _IMAGENET[str(parameter.name)]
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    low, high = (-1.0, 1.0) if parameter.name == "mean" else (1e-6, 2.0)
    if len(numbers) not in (1, 3) or not all(low <= number <= high for number in numbers):
        raise click.BadParameter(
            f"expected one number, three as R,G,B, or imagenet, each from {low:g} to {high:g} for "
            f"pixels from 0 to 1 (divide by 255 what is meant for 0 to 255), got {text!r}"
        )
    return numbers * 3 if len(numbers) == 1 else numbers


@click.command(
    "import",
    short_help="A model from elsewhere, as a bundle.",
    epilog=example("shopwindow import export.pkl --trust --preview photos/ --out shoes.onnx"),
)
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--trust", is_flag=True, help="I trust who made this .pkl: reading it runs its code.")
@click.option(
    "--labels",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Text file with one label per line, in the order of the model's output; needed where the "
    "file of the model does not name them.",
)
@click.option("--arch", help="The torchvision or timm name of the network, for weights.")
@click.option(
    "--size", callback=parse_size, metavar="S or HxW", help="What the network sees, in pixels."
)
@click.option(
    "--resize",
    metavar="METHOD",
    help="How a photo gets there: shorter-side, squish, crop, pad, crop-first or pad-first.",
)
@click.option(
    "--scaled",
    callback=parse_size,
    metavar="S or HxW",
    help="Pixels to which --resize scales before the centre of --size is cut.  [default: --size]",
)
@click.option("--filter", "filter", help="Pillow's filter, such as bicubic.  [default: bilinear]")
@click.option("--fill", help="What pad-first adds: white, black, edge, mirror.  [default: white]")
@click.option(
    "--mean",
    callback=_parse_channels,
    metavar="R,G,B",
    help="Taken off pixels from 0 to 1; or imagenet.",
)
@click.option(
    "--std", callback=_parse_channels, metavar="R,G,B", help="Then divided by; or imagenet."
)
@click.option("--channels", type=click.Choice(["rgb", "bgr"]), help="Order.  [default: rgb]")
@click.option("--layout", type=click.Choice(["nchw", "nhwc"]), help="Where an .onnx does not tell.")
@click.option("--column", default="label", show_default=True, help="What the labels are about.")
@click.option("--name", help="Of the model.  [default: the name of MODEL]")
@click.option(
    "--card",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file with the texts of the model's card.",
)
@click.option(
    "--preview",
    metavar="FOLDER",
    type=click.Path(exists=True, path_type=Path),
    help="Show what it says about ten of these images before it is written.",
)
@click.option("--yes", is_flag=True, help="Write it without asking.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The bundle.  [default: NAME.onnx, here; NAME-bundle.onnx of an .onnx]",
)
@click.pass_context
def import_model(
    context: click.Context,
    /,
    model: Path,
    trust: bool,
    column: str,
    name: str | None,
    card: Path | None,
    preview: Path | None,
    yes: bool,
    out: Path | None,
    **_: Any,
) -> None:
    """Make a bundle of MODEL, and prove that it answers like it.

    MODEL is a fastai learner (.pkl), weights of a torchvision or timm network (.pth, .pt, .ckpt,
    .bin, .safetensors), or an ONNX classifier (.onnx). What its file does not say is asked for.
    """
    options = given(context)
    _check(model, options, trust)
    ending = "-bundle.onnx" if model.suffix.lower() == ".onnx" else ".onnx"
    out = out or Path(f"{name or model.stem}{ending}")
    if out.resolve() == model.resolve():
        raise UsageError(f"--out: expected another file than the model itself, got {out}")
    if column == _INPUT_NAME:
        raise UsageError(f"--column: expected another name than that of the input, {column}")
    if preview is None and not yes:
        raise UsageError(
            "expected --preview FOLDER with some images of your own, to see ten predictions before "
            "the bundle is written, or --yes to write it unseen"
        )
    from shopwindow.runs.training_options import read_card

    texts = {} if card is None else read_card(card)
    with training_stack("Importing a model"):
        # With fastai, which only the process that reads a learner imports.
        import_module("shopwindow.training.columns_learner")
        importing = import_module("shopwindow.importing")
    shown, images = importing.read_preview(preview) if preview else ([], [])
    images = [*images, *importing.proof_images()]
    source = _read(importing, model, images, options, column)
    for line in source.told:
        click.echo(line)

    def approve(draft: Draft) -> None:
        click.echo(
            f"Its answers to {len(images)} images differ from those of {model.name} by at most "
            f"{draft.difference:.6f}."
        )
        if shown:
            _show(draft, shown, images)
        if not yes:
            _confirm(out)

    info = importing.write_import(
        source,
        images,
        out,
        name=name or model.stem,
        card=texts,
        approve=approve,
    )
    click.echo(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB, {len(info.main.labels):,} labels, {info.rule}\n"
        f"Serve it: shopwindow serve --model {out}\n"
        "It is never sure until it was measured on photos of yours with labels: "
        f"shopwindow calibrate {out} DATA"
    )


def _check(model: Path, options: dict[str, Any], trust: bool) -> None:
    """Refuse what can be refused before torch is loaded.

    Raises:
        UsageError: An option is missing, or would have no effect.
    """
    kind = model.suffix.lower()
    if kind not in (".pkl", ".onnx", *_WEIGHTS):
        raise UsageError(
            f"{model.name}: expected a fastai learner (.pkl), weights ({', '.join(_WEIGHTS)}) or "
            f"an .onnx file{_ADVICE.get(kind, '')}"
        )
    if kind == ".onnx":
        from shopwindow.bundle import refuse_bundle

        refuse_bundle(model)
    useless = _NOT_FOR_LEARNERS if kind == ".pkl" else ("arch",) if kind == ".onnx" else ("layout",)
    for name in useless:
        if name in options:
            raise UsageError(f"--{name} has no effect on {kind}, which says it itself")
    if kind == ".pkl" and not trust:
        raise UsageError(
            f"{model.name} is a pickle, and to read a pickle is to run whatever code somebody put "
            "into it; if you made it, or trust who did, say so with --trust"
        )
    if kind != ".pkl" and trust:
        raise UsageError(f"--trust has no effect on {kind}: such files are read without any code")


def _read(
    importing: ModuleType, model: Path, images: list[bytes], options: dict[str, Any], column: str
) -> Source:
    """Return the model as a source, by the ending of its name."""
    source: Source
    if model.suffix.lower() == ".pkl":
        source = importing.read_learner(model, images, column=column, trust=True)
        return source
    if model.suffix.lower() == ".onnx":
        classifier = importing.open_onnx(model, options.get("layout"))
        labels = _labels(importing, model, classifier.labels, options)
        preparation = _complete(importing, options | _known(classifier, options), None)
        source = importing.onnx_source(
            classifier, preparation, images, labels=labels, column=column
        )
        return source
    checkpoint = importing.open_checkpoint(model)
    labels = _labels(importing, model, checkpoint.labels, options)
    if (arch := options.get("arch", checkpoint.arch)) is None:
        raise UsageError(
            "expected --arch NAME, the torchvision or timm name of the network, as "
            f"{model.name} does not say it"
        )
    if "arch" not in options:
        click.echo(f"{model.name} says itself that it is of the network {arch}.")
    weights = importing.load_weights(checkpoint, arch, labels)
    preparation = _complete(importing, options, arch)
    source = importing.weights_source(
        weights, preparation, images, path=model, labels=labels, column=column
    )
    return source


def _labels(
    importing: ModuleType,
    model: Path,
    stated: tuple[StatedLabels, ...],
    options: dict[str, Any],
) -> tuple[str, ...]:
    """Return the labels, once the model's file and --labels agree; say what was read."""
    given = importing.read_labels(options["labels"]) if "labels" in options else None
    labels: tuple[str, ...]
    labels, told = importing.settle_labels(stated, given, model.name)
    if told:
        click.echo(told)
    return labels


def _known(classifier: OnnxClassifier, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that an ONNX file itself answers, once none contradicts it."""
    known: dict[str, Any] = {}
    if classifier.takes_bytes:
        for name in ("mean", "std"):
            if name in options:
                raise UsageError(
                    f"--{name} has no effect: {classifier.path.name} takes bytes and normalises by "
                    "itself"
                )
        known |= {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    if classifier.size is not None:
        height, width = known["size"] = classifier.size
        if options.get("size", classifier.size) != classifier.size:
            raise UsageError(
                f"--size: expected {height}x{width}, as {classifier.path.name} takes no other"
            )
    elif classifier.stated_size is not None and "size" not in options:
        height, width = known["size"] = classifier.stated_size
        click.echo(f"{classifier.path.name} names its size itself: {height}x{width} pixels.")
    return known


def _complete(importing: ModuleType, options: dict[str, Any], arch: str | None) -> Preparation:
    """Return how photos are prepared, once all that cannot be known was given or asked for."""
    from shopwindow.imaging.preprocess import ResizeMethod, ResizeRule

    if missing := [name for name in ("size", "resize", "mean", "std") if name not in options]:
        usual = importing.usual_preparation(arch) if arch else None
        hints = _as_options(usual) if usual else {}
        if not sys.stdin.isatty():
            words = " ".join(f"--{name} {value}" for name, value in hints.items())
            raise UsageError(
                f"expected {', '.join('--' + name for name in missing)}, as the file does not say "
                "how photos were prepared when it was trained"
                + (f"; usual for this network: {words}" if words else "")
            )
        # Whoever takes the usual answers should get all of them.
        missing += [name for name in ("scaled", "filter") if name in hints and name not in options]
        options = options | {name: _ask(name, hints.get(name)) for name in missing}
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
    preparation: Preparation = importing.Preparation(
        rule, options["mean"], options["std"], bgr=options.get("channels") == "bgr"
    )
    return preparation


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


def _ask(name: str, hint: str | None) -> Any:
    """Ask for one option on the terminal, until the answer can be read."""
    option = next(p for p in import_model.params if p.name == name)
    assert isinstance(option, click.Option)  # noqa: S101 (of our own making)
    context = click.get_current_context()

    def read(text: str) -> Any:
        return option.callback(context, option, text) if option.callback else text

    text = str(option.help).partition("  [")[0]
    return click.prompt(f"--{name} ({text})", default=hint, value_proc=read)


def _show(draft: Draft, paths: list[Path], images: list[bytes]) -> None:
    import numpy as np

    width = max(len(path.name) for path in paths)
    pixels = np.stack([draft.predictor.prepare(image) for image in images[: len(paths)]])
    answers = draft.predictor.predict_images(pixels, top=3)
    for path, answer in zip(paths, answers, strict=True):
        words = ", ".join(f"{one.label} {one.confidence:.2f}" for one in answer.top)
        line = f"  {path.name:{width}}  {words}"
        click.echo("".join(char if char.isprintable() else "�" for char in line))


def _confirm(out: Path) -> None:
    try:
        agreed = click.confirm(f"Write {out}?")
    except click.Abort:
        click.echo()
        agreed = False
    if not agreed:
        raise UsageError(
            f"{out} was not written; once the predictions are right, answer y, or say --yes"
        )
