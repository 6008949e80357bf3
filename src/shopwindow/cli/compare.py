"""compare: which of two bundles is better."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shopwindow.cli.options import (
    data_argument,
    data_options,
    example,
    given,
    wanted_engine,
    wanted_reading,
)

if TYPE_CHECKING:
    from shopwindow.evaluation.leakage import Part


@click.command(
    short_help="Which of two models is better, and by how much.",
    epilog=example("shopwindow compare old.onnx runs/photos/model.onnx photos/"),
)
@click.argument("a", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("b", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_argument
@data_options(default_min_images="as A in training")
@click.option(
    "--part",
    type=click.Choice(["valid", "all"]),
    help="Images to use.  [default: those that neither is known to have learned from]",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write all figures here, as JSON.",
)
@click.pass_context
def compare(
    context: click.Context,
    /,
    a: Path,
    b: Path,
    data: Path,
    part: Part | None,
    out: Path | None,
    cache_dir: Path | None,
    **_: Any,
) -> None:
    """Say whether bundle B is better than A on DATA, by how much, and whether that may be chance.

    Both are tested on the same images: those with labels that both know. DATA is read as in the
    training of A, as far as it has those columns, unless the options say otherwise.
    """
    from shopwindow.atomic_write import write_atomically
    from shopwindow.bundle import read_bundle
    from shopwindow.evaluation.comparison import compare_bundles, format_comparison

    bundle_a, bundle_b = read_bundle(a), read_bundle(b)
    options = given(context)
    found = compare_bundles(
        bundle_a,
        bundle_b,
        data,
        specs=(
            wanted_reading(options, bundle_a, data),
            wanted_reading(options, bundle_b, data),
        ),
        part=part,
        cache_dir=cache_dir,
        progress=sys.stderr.isatty(),
        engine=wanted_engine(),
    )
    click.echo(format_comparison(found))
    if out is not None:
        text = json.dumps(found.as_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomically(out, text.encode("utf-8", "backslashreplace"))
        click.echo(f"\nReport: {out}")
