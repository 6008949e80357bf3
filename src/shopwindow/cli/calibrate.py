"""calibrate: measure a bundle on labelled images, so that it knows when it is sure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from shopwindow.cli.options import data_argument, data_options, example, given, wanted_reading
from shopwindow.errors import DataError


@click.command(
    short_help="Measure a bundle, so that it knows when it is sure.",
    epilog=example("shopwindow calibrate export.onnx photos/ --out shoes.onnx"),
)
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_argument
@data_options(default_min_images=None)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The new bundle.  [default: NAME-calibrated.onnx, beside MODEL]",
)
@click.pass_context
def calibrate(
    context: click.Context,
    /,
    model: Path,
    data: Path,
    out: Path | None,
    cache_dir: Path | None,
    **_: Any,
) -> None:
    """Make the confidences of the bundle MODEL match how often it is right on DATA.

    For an imported model, which nobody has measured, or for photos unlike those that a model
    was measured on. DATA needs the model's labels, on images that it has not learned from; of its
    own training data, only the held-out images are used. MODEL is not changed.
    """
    from shopwindow.bundle import read_bundle
    from shopwindow.calibration.calibrating import calibrate_bundle
    from shopwindow.calibration.thresholds import MIN_SURE_ANSWERS, SURE_PRECISION
    from shopwindow.evaluation.grading import read_dataset
    from shopwindow.evaluation.leakage import choose_images, exposure_of, recorded_sources
    from shopwindow.plain_text import percent

    bundle = read_bundle(model)
    dataset = read_dataset(
        bundle,
        wanted_reading(given(context), bundle, data),
        labels_of_model=True,
        cache_dir=cache_dir,
        progress=sys.stderr.isatty(),
    )
    indices, which, notes = choose_images(dataset, bundle, None)
    exposure = exposure_of(bundle, dataset)
    if (learned := exposure.learned[indices]).any():
        indices = indices[~learned]
        if not len(indices):
            raise DataError(
                f"{data}: expected images that {bundle.info.name} has not learned from, but it has "
                "learned from all of them (cross-validation has calibrated it on these already); "
                "give other images"
            )
        which = f"the {len(indices):,} images that it has not learned from"
    out = out or model.with_name(f"{model.stem}-calibrated.onnx")
    info = calibrate_bundle(bundle, dataset, indices, out, source=data.resolve().name)
    click.echo(f"Measured on {which} of {data}: {percent(info.quality['accuracy'], 2)} right.")
    if not exposure.knows_all and notes and data.resolve().name in recorded_sources(bundle):
        click.echo(
            f"Note: {bundle.info.name} was trained on data called {data.resolve().name} too, but "
            "these are not the same images, or not with the same labels. If it has learned from "
            "some of them, its confidences are now too high: leave those out, or give the data as "
            "it was."
        )
    if dataset.dropped:
        click.echo(
            f"rows or images left out: {len(dataset.dropped):,}; shopwindow inspect lists them"
        )
    sure = info.threshold
    if sure.coverage > 0:
        click.echo(
            f"Sure from a confidence of {sure.min_confidence:.3f}: {percent(sure.coverage)} of the "
            f"predictions, {percent(sure.precision)} of them right."
        )
    else:
        click.echo(
            f"Never sure: that takes {MIN_SURE_ANSWERS} predictions or more, "
            f"{percent(SURE_PRECISION)} of them right."
        )
    sets = info.prediction_sets
    if sets is not None:
        without = [
            when
            for when, rule in (("sure", sets.kinds[0].sure), ("not sure", sets.kinds[0].not_sure))
            if rule is None
        ]
        but = f", except where it is {without[0]}: too few images for that" if without else ""
        click.echo(
            f"Its prediction sets hold the right label {round(100 * sets.level)} times in 100{but}."
        )
    else:
        click.echo(
            "No prediction sets: that takes 19 images or more that are sure, or that are not, and "
            "sets that leave a label out."
        )
    click.echo(f"{out}: serve it with shopwindow serve --model {out}")
