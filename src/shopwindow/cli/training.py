"""train, find-lr and export."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shopwindow.cli.feedback_export import corrections_to_learn
from shopwindow.cli.options import (
    Command,
    bars_option,
    data_options,
    example,
    given,
    parse_names,
    parse_size,
    parse_whole_numbers,
    wanted_engine,
    with_options,
)
from shopwindow.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from shopwindow.runs import Run, TrainingOptions


def network_options(command: Command) -> Command:
    """Add the options that choose the network, named as in `TrainingOptions`."""
    return with_options(
        command,
        (
            click.option(
                "--arch",
                help="A torchvision or timm name.  [default: the bundle's, or the recipe's]",
            ),
            click.option(
                "--weights",
                metavar="[imagenet|none|bundled|FILE]",
                help="Weights to start from; bundled takes those of the bundled model.  "
                "[default: the recipe's]",
            ),
            click.option(
                "--size",
                callback=parse_size,
                metavar="S or HxW",
                help="Input size in pixels, such as 60 or 80x60.  [default: the recipe's]",
            ),
            click.option(
                "--batch-size",
                type=click.IntRange(2),
                help="Images per training step.  [default: the recipe's]",
            ),
            click.option(
                "--split",
                type=click.Choice(["grouped", "random"]),
                help="Keep duplicates in one part, or ignore them.  [default: grouped]",
            ),
            click.option("--seed", type=int, help="Seed for all random choices.  [default: 42]"),
        ),
    )


@click.command(
    short_help="Train a model.",
    epilog=example(
        "shopwindow train photos/ --labels labels.csv --label-column kind --out runs/photos"
    ),
)
@click.argument("data", required=False, type=click.Path(exists=True, path_type=Path))
@data_options()
@bars_option
@click.option(
    "--recipe",
    type=click.Choice(["probe", "finetune", "transfer"]),
    help="probe: a linear head, in seconds, without the training stack; finetune: that head, then "
    "every layer; transfer: fastai's course recipe with a ResNet-50.  [default: probe]",
)
@network_options
@click.option(
    "--epochs",
    callback=parse_whole_numbers,
    metavar="N or N,N",
    help="Epochs: 6 for finetune, 6,6 for the two stages of transfer.  [default: the recipe's]",
)
@click.option(
    "--lr",
    type=float,
    help="Peak learning rate; with finetune, that of the first layers: a quarter of the head's.  "
    "[default: the recipe's]",
)
@click.option(
    "--family",
    "families",
    callback=parse_names,
    metavar="C,C",
    help="Columns of --also with broader categories of the label, the narrowest first.",
)
@click.option(
    "--with",
    "extras",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file that describes a further data set; may be given several times.",
)
@click.option(
    "--start-from",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Continue training from this bundle, with its labels, size, options and held-out images.",
)
@click.option(
    "--with-feedback",
    "feedback",
    metavar="[URL|DIR]",
    is_flag=False,
    flag_value="",
    help="Also learn from corrections: a store, or an exported folder.  [default: the setting "
    "feedback, else the file of --start-from]",
)
@click.option(
    "--corrections",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Table of decisions from the page of audit: labels to correct, images to leave out.",
)
@click.option(
    "--balance",
    metavar="POWER",
    type=click.FloatRange(0, 1),
    help="Draw rare labels more often: 0 is off, 0.5 the square root, 1 all labels equally.  "
    "[default: 0]",
)
@click.option(
    "--card",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file with the texts of the model's card.",
)
@click.option("--name", help="Name of the model.  [default: the name of DATA]")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="The run's folder.  [default: runs/NAME, or runs/NAME-2 and so on if that holds a run]",
)
@click.option("--resume", is_flag=True, help="Continue the run in --out where it stopped.")
@click.pass_context
def train(context: click.Context, /, **_: Any) -> None:
    """Train a classifier on DATA and export it as a bundle.

    DATA is a folder with one folder per label, or a folder with a table of labels (CSV, TSV,
    Parquet), or such a table. Ctrl-C saves; --resume continues.
    """
    options = given(context)
    if options.pop("resume", False):
        _resume(options)
    elif "data" not in options:
        raise click.UsageError("Missing argument 'DATA'", ctx=context)
    else:
        _start(options)


def _start(options: dict[str, Any]) -> None:
    from shopwindow.runs import Run, settle_options

    where = options.pop("feedback", None)
    settled = settle_options(options)
    # Of the processes of `accelerate launch`, one makes the folder.
    is_main = os.environ.get("RANK", "0") == "0"
    if settled.out is None and "RANK" not in os.environ:
        settled = _numbered(settled)
    run = Run.create(settled) if is_main else Run(settled.run_dir, settled.resolved())
    # Whether the stack is there is known before people's photos are fetched.
    with training_stack(f"The recipe {settled.recipe}"):
        train_run = _trainer_of(settled.recipe)
    if where is not None:
        folder = run.folder / "feedback"
        if is_main or (where and Path(where).is_dir()):
            folder = corrections_to_learn(where, folder, settled.start_from)
        run.options = replace(run.options, feedback=folder.resolve())
    train_run(run)


def _numbered(options: TrainingOptions) -> TrainingOptions:
    """Choose a folder that has no run yet, and say so where it is not the usual one.

    Not under `accelerate launch`, whose processes must all choose the same.
    """
    usual, folder, number = options.run_dir, options.run_dir, 1
    while (folder / "run.json").exists():
        number += 1
        folder = usual.with_name(f"{usual.name}-{number}")
    if folder == usual:
        return options
    click.echo(f"{usual} holds a run already, so this one goes to {folder}")
    return replace(options, out=folder)


def _trainer_of(recipe: str) -> Callable[[Run], Path]:
    if recipe == "probe":  # needs no more than what serves
        from shopwindow.probe.probe_run import train_probe

        return partial(train_probe, engine=wanted_engine())
    from shopwindow.training.fine_tuning import train

    return train


@click.command(
    "find-lr",
    short_help="Find a learning rate.",
    epilog=example("shopwindow find-lr photos/ --weights resnet50.pth"),
)
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@data_options()
@bars_option
@network_options
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for lr-find.png.  [default: the current folder]",
)
@click.pass_context
def find_lr(context: click.Context, /, **_: Any) -> None:
    """Try rising learning rates for transfer on DATA, plot the loss and suggest one."""
    from shopwindow.runs import TrainingOptions

    options = TrainingOptions(recipe="transfer", **given(context))
    with training_stack():
        from shopwindow.training.fine_tuning import find_learning_rate
    suggestion, picture = find_learning_rate(options)
    click.echo(f"Suggested: --lr {suggestion:.2g} (the curve: {picture})")


@click.command(
    short_help="Make a bundle from a finished run.",
    epilog=example("shopwindow export runs/photos --out photos.onnx"),
)
@click.argument("source", metavar="RUN|MODEL", type=click.Path(exists=True, path_type=Path))
@click.argument("data", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--int8",
    is_flag=True,
    help="Export in 8 bits: half the size, faster; refused if accuracy falls by over 0.3 points.",
)
@click.option(
    "--with",
    "extras",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file of a further data set that MODEL was trained on.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The bundle.  [default: model.onnx or model-int8.onnx in RUN; NAME-int8.onnx for MODEL]",
)
def export(
    source: Path, data: Path | None, int8: bool, extras: tuple[Path, ...], out: Path | None
) -> None:
    """Export the trained model of RUN as one file, and check that it predicts the same.

    With --int8, this also works on a bundle, MODEL; DATA is what it was trained on. Its validation
    part shows that accuracy holds in 8 bits, and confidences are calibrated again.
    """
    if source.is_dir():
        if data is not None or extras:
            raise UsageError(
                f"{'--with' if data is None else 'DATA'} has no effect on a run, which knows its "
                "data"
            )
        _export_run(source, out, int8=int8)
    elif not int8:
        raise UsageError(f"{source}: expected a run folder, or a bundle and --int8")
    elif data is None:
        raise UsageError(
            f"expected DATA, which {source.name} was trained on: shopwindow export {source} DATA "
            "--int8"
        )
    else:
        with training_stack():
            from shopwindow.training.int8 import quantise_bundle
        out = out or Path(f"{source.stem}-int8.onnx")
        quantise_bundle(source, data, extras, out, progress=sys.stderr.isatty())


def _export_run(folder: Path, out: Path | None, *, int8: bool) -> None:
    from shopwindow.runs import Run

    bundle = folder / "model.onnx"
    if (folder / "run.json").exists() and Run.open(folder).options.recipe == "probe":
        raise UsageError(
            f"{folder}: expected the run of a network; a linear probe writes its bundle itself"
            + (f": shopwindow export {bundle} DATA --int8" if int8 else f": {bundle}")
        )
    with training_stack():
        from shopwindow.training.export import export_run
        from shopwindow.training.int8 import quantise_run
    (quantise_run if int8 else export_run)(folder, out)


@contextmanager
def training_stack(what: str = "Training") -> Iterator[None]:
    """Import torch and fastai in here, which takes seconds.

    Args:
        what: What the user wants to do, as the start of a sentence.

    Raises:
        MissingExtraError: They are not installed.
    """
    try:
        with warnings.catch_warnings():
            # A user can do nothing about the warnings that torch and pandas have for fastai.
            warnings.simplefilter("ignore")
            yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "shopwindow":
            raise
        raise MissingExtraError(what, "train") from None


def _resume(options: dict[str, Any]) -> None:
    """Go on with a run. Its data may have been moved; other options have no effect."""
    folder = options.pop("out", None)
    if folder is None:
        raise UsageError("--resume: expected the folder of the run to continue, as --out RUN")
    corrections = options.pop("feedback", "")
    if corrections and Path(corrections).is_dir():  # those of a store were copied to the run
        options["feedback"] = Path(corrections)
    from shopwindow.runs import Run
    from shopwindow.runs.training_options import whole_path

    run = Run.open(folder)
    recorded = run.options
    if "weights" in options:
        options["weights"] = whole_path(options["weights"])
    for name, value in options.items():
        before = getattr(recorded, name)
        if name in _PLACES:
            continue
        if _settled(value) != _settled(before):
            option = _OPTION_OF.get(name, "--" + name.replace("_", "-"))
            raise UsageError(
                f"{option} {_shown(value)} has no effect with "
                f"--resume: the run in {folder} was started with {_shown(before)}; leave it out, "
                "or start a new run in another --out"
            )
    run.move({name: options[name] for name in _PLACES if name in options})
    if not run.options.data.exists():
        raise UsageError(
            f"{run.options.data} no longer exists; say where it is now: shopwindow train DATA "
            f"--resume --out {folder}"
        )
    with training_stack():
        train_run = _trainer_of(run.options.recipe)
    train_run(run)


# What may have been moved when a run continues.
_PLACES = ("data", "labels_file", "cache_dir")


# Parameters whose names differ from their options.
_OPTION_OF = {
    "data": "DATA",
    "labels_file": "--labels",
    "extras": "--with",
    "families": "--family",
    "feedback": "--with-feedback",
}


def _settled(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_settled, value))
    return value.resolve() if isinstance(value, Path) else value


def _shown(value: Any) -> str:
    if value is None:
        return "the default"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
