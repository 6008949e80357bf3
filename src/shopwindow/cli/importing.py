"""import: a model from elsewhere becomes a bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shopwindow.cli.options import example, given, parse_size
from shopwindow.cli.training import training_stack
from shopwindow.errors import UsageError

if TYPE_CHECKING:
    from shopwindow.evaluation.verify import Draft

_INPUT_NAME = "images"  # as in `shopwindow.bundle`, which would load numpy for --help
_WEIGHTS = (".pth", ".pt", ".ckpt", ".tar", ".bin", ".safetensors")
_ADVICE = {
    **dict.fromkeys(
        (".h5", ".keras", ".pb"),
        "; make one from a Keras or TensorFlow model with model.export(FILE, format='onnx') or "
        "tf2onnx",
    ),
    ".tflite": "; make one from a TensorFlow Lite model with tf2onnx",
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
            f"pixels from 0 to 1 (divide by 255 if they are for 0 to 255), got {text!r}"
        )
    return numbers * 3 if len(numbers) == 1 else numbers


@click.command(
    "import",
    short_help="Make a bundle from a model made elsewhere.",
    epilog=example("shopwindow import export.pkl --trust --preview photos/ --out shoes.onnx"),
)
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--trust", is_flag=True, help="I trust whoever made this .pkl: reading it runs its code."
)
@click.option(
    "--labels",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Text file with one label per line, in the order of the model's output; needed if the "
    "model's file does not name them.",
)
@click.option("--arch", help="The torchvision or timm name of the network, for weights.")
@click.option(
    "--size", callback=parse_size, metavar="S or HxW", help="Input size of the network in pixels."
)
@click.option(
    "--resize",
    metavar="METHOD",
    help="How photos reach --size: shorter-side, squish, crop, pad, crop-first, pad-first.",
)
@click.option(
    "--scaled",
    callback=parse_size,
    metavar="S or HxW",
    help="Size that --resize scales to before it cuts out the centre.  [default: --size]",
)
@click.option("--filter", "filter", help="Pillow's filter, such as bicubic.  [default: bilinear]")
@click.option("--fill", help="What pad-first adds: white, black, edge, mirror.  [default: white]")
@click.option(
    "--mean",
    callback=_parse_channels,
    metavar="R,G,B",
    help="Mean to subtract, of pixels from 0 to 1; or imagenet.",
)
@click.option(
    "--std",
    callback=_parse_channels,
    metavar="R,G,B",
    help="Standard deviation to divide by; or imagenet.",
)
@click.option(
    "--channels", type=click.Choice(["rgb", "bgr"]), help="Channel order.  [default: rgb]"
)
@click.option(
    "--layout", type=click.Choice(["nchw", "nhwc"]), help="Axis order, if an .onnx lacks it."
)
@click.option("--column", default="label", show_default=True, help="Name of the label column.")
@click.option("--name", help="Name of the model.  [default: the name of MODEL]")
@click.option(
    "--card",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file with the texts of the model's card.",
)
@click.option(
    "--preview",
    metavar="FOLDER",
    type=click.Path(exists=True, path_type=Path),
    help="Show predictions for ten of these images before the bundle is written.",
)
@click.option("--yes", is_flag=True, help="Write the bundle without asking.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The bundle.  [default: NAME.onnx; NAME-bundle.onnx if MODEL is an .onnx]",
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
    """Make a bundle from MODEL, and check that it predicts the same.

    MODEL is a fastai learner (.pkl), weights of a torchvision or timm network (.pth, .pt, .ckpt,
    .bin, .safetensors), or an ONNX classifier (.onnx). You are asked for whatever the file does not
    say.
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
        # fastai is missing in a sentence here, rather than in the process that reads a learner.
        import shopwindow.training.columns_learner  # noqa: F401
        from shopwindow.importing.bundling import proof_images, read_preview, write_import
        from shopwindow.importing.model_file import read_source

    shown, images = read_preview(preview) if preview else ([], [])
    images = [*images, *proof_images()]
    source = read_source(
        model,
        images,
        options,
        column=column,
        tell=click.echo,
        ask=_ask if sys.stdin.isatty() else None,
    )
    for note in source.notes:
        click.echo(note)

    def approve(draft: Draft) -> None:
        click.echo(
            f"Its probabilities for {len(images)} images differ from those of {model.name} by at "
            f"most {draft.difference:.6f}."
        )
        if shown:
            _show(draft, shown, images)
        if not yes:
            _confirm(out)

    info = write_import(source, images, out, name=name or model.stem, card=texts, approve=approve)
    if not info.embedding:
        click.echo("It gives no embeddings: its last layer was not recognised in its graph.")
    click.echo(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB, {len(info.main.labels):,} labels, {info.rule}\n"
        f"Serve it: shopwindow serve --model {out}\n"
        "It is never sure until it has been measured on your own labelled photos: "
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
            raise UsageError(f"--{name} has no effect on {kind}, which already says it")
    if kind == ".pkl" and not trust:
        raise UsageError(
            f"{model.name} is a pickle, and reading a pickle runs whatever code somebody put into "
            "it; if you made it, or trust whoever did, add --trust"
        )
    if kind != ".pkl" and trust:
        raise UsageError(f"--trust has no effect on {kind}: reading such a file runs no code")


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
        words = ", ".join(f"{score.label} {score.confidence:.2f}" for score in answer.top)
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
            f"{out} was not written; if the predictions are right, answer y, or add --yes"
        )
