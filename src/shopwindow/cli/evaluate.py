"""evaluate: a bundle, or the trained model in a run folder."""

from __future__ import annotations

import sys
from functools import partial
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
from shopwindow.cli.training import training_stack
from shopwindow.errors import TrainingError

if TYPE_CHECKING:
    from shopwindow.evaluation.leakage import Part


@click.command(
    short_help="Grade a model: report.html and report.json.",
    epilog=example("shopwindow evaluate runs/photos/model.onnx photos/"),
)
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@data_argument
@data_options(default_min_images="as in training")
@click.option(
    "--part",
    type=click.Choice(["valid", "all"]),
    help="Images to use.  [default: valid where DATA is what MODEL was trained on, else all]",
)
@click.option(
    "--out",
    "--report",
    "out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("evaluation"),
    show_default=True,
    help="Folder for the report.",
)
@click.pass_context
def evaluate(
    context: click.Context,
    /,
    model: Path,
    data: Path,
    part: Part | None,
    out: Path,
    cache_dir: Path | None,
    **_: Any,
) -> None:
    """Grade MODEL on DATA.

    MODEL is a bundle (.onnx), graded through the predictor that serves it, or a run folder, whose
    trained model itself is graded. DATA is read as in training, as far as it has the same columns,
    unless the options say otherwise; --label-column, --also and --label-map choose other labels.
    """
    from shopwindow.bundle import read_bundle
    from shopwindow.evaluation.grading import grade_bundle
    from shopwindow.evaluation.report import format_summary, write_report

    answer = None
    bundle_path = model
    if model.is_dir():
        # The bundle in the run says how the data was read and split, and which labels there are.
        bundle_path = model / "model.onnx"
        if not bundle_path.exists():
            raise TrainingError(
                f"{model}: expected a finished run, found no model.onnx in it; continue with: "
                f"shopwindow train --resume --out {model}"
            )
    bundle = read_bundle(bundle_path)
    # The bundle of a linear probe is all that there is of its model.
    if model.is_dir() and bundle.info.training.get("recipe") != "probe":
        with training_stack():
            from shopwindow.training.export import run_probabilities
        answer = partial(run_probabilities, model)

    evaluation = grade_bundle(
        bundle,
        data,
        spec=wanted_reading(given(context), bundle, data),
        part=part,
        answer=answer,
        cache_dir=cache_dir,
        progress=sys.stderr.isatty(),
        engine="auto" if answer else wanted_engine(),
    )
    click.echo(format_summary(evaluation))
    page, _figures = write_report(out, evaluation)
    click.echo(f"\nReport: {page}")
