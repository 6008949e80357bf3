"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from shopwindow.bundle import Bundle
    from shopwindow.data.spec import DataSpec
    from shopwindow.inference.engine import EngineName

Command = TypeVar("Command", bound=Callable[..., Any])


def example(command_line: str) -> str:
    """Return an epilog with one example, on a line of its own however long it is."""
    return f"\b\nExample: {command_line}"


def parse_size(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, int] | None:
    """Return `60` or `80x60` (height x width) as (height, width) in pixels."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text)
    if not match:
        raise click.BadParameter(
            f"expected pixels such as 60 or 80x60 (height x width), got {text!r}"
        )
    height = int(match[1])
    return height, int(match[2] or height)


def parse_whole_numbers(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    """Return `6,6` as (6, 6)."""
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,6}(,\d{1,6})*", text):
        raise click.BadParameter(f"expected whole numbers such as 6,6, got {text!r}")
    return tuple(int(part) for part in text.split(","))


def parse_names(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[str, ...]:
    """Return `colour,gender` as ("colour", "gender")."""
    if text is None:
        return ()
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise click.BadParameter(f"expected names with single commas between them, got {text!r}")
    return names


def wanted_engine() -> EngineName:
    """Return the setting `engine`, which holds for every command that asks a bundle.

    Raises:
        UsageError: Not one of its choices.
    """
    from shopwindow.settings import PREFIX, Settings

    variable = f"{PREFIX}ENGINE"
    found = {variable: os.environ[variable]} if variable in os.environ else {}
    return cast("EngineName", Settings.from_environment(found).engine)


def data_argument(command: Command) -> Command:
    """Add DATA."""
    return click.argument("data", type=click.Path(exists=True, path_type=Path))(command)


def data_options(*, default_min_images: str | None = "2") -> Callable[[Command], Command]:
    """Add the options that say how DATA is to be read, named as the fields of `DataSpec`.

    Args:
        default_min_images: In words; None leaves that option out, as where a model has its labels.
    """
    options = [
        click.option(
            "--labels",
            "labels_file",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="The table of labels, here or in DATA; not needed if DATA holds only one.",
        ),
        click.option("--image-column", metavar="C", help="Column that names the image."),
        click.option("--label-column", metavar="C", help="Column with the label."),
        click.option(
            "--also",
            callback=parse_names,
            metavar="C,C",
            help="Further label columns, such as colour,gender.",
        ),
        click.option(
            "--label-map",
            metavar="FILE",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help='JSON file that maps labels to others: {"Top": ["Shirt", "Tee"], "Sky": []}.',
        ),
        click.option(
            "--group-column",
            metavar="C",
            help="Column that groups images, such as the sender; a split keeps groups together.",
        ),
        click.option(
            "--cache-dir",
            metavar="DIR",
            type=click.Path(file_okay=False, path_type=Path),
            help="Where decoded images are kept, instead of your cache folder.",
        ),
    ]
    if default_min_images is not None:
        fewest = click.option(
            "--min-images",
            metavar="N",
            type=click.IntRange(1),
            help=f"Leave out labels with fewer images.  [default: {default_min_images}]",
        )
        options.insert(-1, fewest)
    return lambda command: with_options(command, options)


def bars_option(command: Command) -> Command:
    """Add --bars, where no model says what its labels are."""
    return click.option(
        "--bars",
        type=click.Choice(["any", "path", "several"]),
        help="What A|B in a cell means: any of these is right, or it is one label, B within A. "
        "Several at once cannot be learned.  [default: inferred from the cells]",
    )(command)


def with_options(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """Add options, so that the help lists them in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def model_option(command: Command) -> Command:
    """Add --model."""
    return click.option(
        "--model",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A bundle (.onnx).  [default: the bundled model]",
    )(command)


def given(context: click.Context) -> dict[str, Any]:
    """Return the parameters given on the command line, so that only the code has defaults."""
    return {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }


# What says which labels there are.
_LABEL_OPTIONS = ("label_column", "also", "label_map")


def wanted_reading(options: Mapping[str, Any], bundle: Bundle, data: Path) -> DataSpec:
    """Return how to read the data: as the options say, and else as the bundle recorded it.

    Args:
        options: What was given on the command line.
        bundle: Knows how its own training data was read.
        data: What is to be read.
    """
    from shopwindow.data.spec import DataSpec

    options = {**options, "data": data}
    wanted = DataSpec.from_options(options)
    recorded = DataSpec.from_record(data, bundle.info.data, wanted.labels_file)
    if any(name in options for name in _LABEL_OPTIONS):  # other labels: only the images are alike
        recorded = DataSpec(data, image_column=recorded.image_column, min_images=1)
    asked = {name: value for name, value in vars(wanted).items() if name in options}
    is_recorded = recorded.is_recorded and "min_images" not in options
    return replace(recorded, **asked, is_recorded=is_recorded)
