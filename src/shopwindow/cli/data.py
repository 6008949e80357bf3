"""inspect and download: before any training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from shopwindow.cli.options import (
    bars_option,
    data_argument,
    data_options,
    example,
    given,
    parse_size,
)


@click.command(
    short_help="What is in a data set.",
    epilog=example("shopwindow inspect photos/ --labels labels.csv --label-column kind"),
)
@data_argument
@data_options()
@bars_option
@click.option(
    "--size",
    callback=parse_size,
    default="192",
    show_default=True,
    metavar="S or HxW",
    help="Size at which images are compared. Training at that size reuses the decoded images.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("inspect.html"),
    show_default=True,
    help="The page.",
)
@click.pass_context
def inspect(
    context: click.Context, /, size: tuple[int, int], out: Path, cache_dir: Path | None, **_: Any
) -> None:
    """Print what is in DATA, and write a page about it.

    The page has a contact sheet, the images per label, duplicates, and every row and image that
    was left out, with the reason.
    """
    from shopwindow.data.inspection import summarise_dataset, write_inspection
    from shopwindow.data.spec import DataSpec
    from shopwindow.imaging.preprocess import ResizeRule

    dataset = DataSpec.from_options(given(context)).load(
        rule=ResizeRule(height_px=size[0], width_px=size[1]),
        cache_dir=cache_dir,
        progress=sys.stderr.isatty(),
    )
    click.echo(summarise_dataset(dataset))
    click.echo(f"\nPage: {write_inspection(dataset, out)}")


@click.command(
    short_help="Fetch a public data set.",
    epilog=example("shopwindow download fashion-product-images-small"),
)
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to put it in.  [default: NAME]",
)
def download(name: str, out: Path | None) -> None:
    """Fetch the public data set NAME, such as fashion-product-images-small."""
    from shopwindow.data.download import PUBLIC_DATASETS, download_dataset

    folder = download_dataset(name, out or Path(name))
    click.echo(f"Train on it: shopwindow train {folder} {PUBLIC_DATASETS[name].train_options}")
