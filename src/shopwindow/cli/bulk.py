"""predict and summary: any number of images into a table of answers, and what is in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shopwindow.cli.options import example, model_option, wanted_engine
from shopwindow.errors import BulkError, UsageError

if TYPE_CHECKING:
    from shopwindow.inference.engine import ChosenEngine, EngineName


class StoppedError(BulkError):
    """The user stopped the run; what was predicted is kept."""

    exit_code = 130


@click.command(
    short_help="Predict images, folders, tables or URLs, into a table.",
    epilog=example("shopwindow predict photos/ --output labels.csv"),
)
@click.argument("paths", nargs=-1, required=True)
@model_option
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write here, in one step at the end, instead of to the screen.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="[default: what the name of --output ends in, else csv]",
)
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Labels per row.")
@click.option(
    "--image-column",
    metavar="C",
    help="Column of a table with the paths, URLs or bytes of images.  [default: as in training]",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes that predict, each on a core with a model of its own.  [default: all cores]",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where: on this machine, or on a Ray cluster.",
)
@click.option(
    "--ray-address",
    metavar="A",
    help="Of the cluster, such as auto or ray://head:10001.  [default: Ray on this machine]",
)
def predict(
    paths: tuple[str, ...],
    model: Path | None,
    output: Path | None,
    format_name: str | None,
    top: int,
    image_column: str | None,
    workers: int | None,
    engine: str,
    ray_address: str | None,
) -> int:
    """Predict every image in PATHS.

    PATHS are files, folders with all that is in them, patterns ('photos/**/*.jpg'), tables (.csv,
    .tsv, .parquet) with a column of paths or image bytes, and URLs (s3://bucket/photos).

    One row per input, in input order, also for one that could not be read; the exit code is 1 if
    there is any such. With --output, a run that was stopped goes on where it was when the same
    command is given again.
    """
    from shopwindow.bulk.folder import begun_engine
    from shopwindow.bulk.folders import Notes
    from shopwindow.bulk.inputs import list_inputs
    from shopwindow.bulk.job import JobSpec
    from shopwindow.bulk.rows import format_of
    from shopwindow.bulk.run import predict_to_file, predict_to_stream, start_local
    from shopwindow.inference.engine import choose_engine
    from shopwindow.inference.predictor import load_bundle

    if engine == "ray" and workers is not None:
        raise UsageError("--workers has no effect with --engine ray, which counts for itself.")
    if engine != "ray" and ray_address is not None:
        raise UsageError("--ray-address has no effect without --engine ray.")
    fmt = format_of(output, format_name)
    bundle = load_bundle(model)
    # Chosen here, once, and kept when the run goes on: machines differ, and a run has one engine.
    wanted: EngineName | ChosenEngine = wanted_engine()
    if wanted == "auto":
        wanted = begun_engine(output) or wanted
    job = JobSpec(bundle, fmt, choose_engine(bundle.model, wanted), top)
    read = bundle.info.data.get("read")
    usual = read.get("image_column") if isinstance(read, dict) else None
    notes = Notes()
    inputs = list_inputs(paths, image_column=image_column, usual_column=usual, notes=notes)
    start_runner = start_local(workers)
    if engine == "ray":
        from shopwindow.bulk.on_ray import start_ray

        start_runner = start_ray(ray_address)
    if output is None:
        written = predict_to_stream(job, inputs, sys.stdout.buffer, start_runner)
    else:
        try:
            written = predict_to_file(job, inputs, output, start_runner)
        except KeyboardInterrupt:
            if begun_engine(output) is None:
                raise  # nothing is kept yet, or never is, as of what goes to a device
            raise StoppedError("stopped by Ctrl-C; the same command goes on from here") from None
    for line in notes.lines():
        click.echo(f"shopwindow: {line}", err=True)
    if not written.failed:
        return 0
    click.echo(
        f"shopwindow: {written.failed:,} of {written.rows:,} inputs could not be predicted; their "
        "rows say why",
        err=True,
    )
    return 1


@click.command(
    short_help="What predict answered: labels, confidence, the least sure.",
    epilog=example("shopwindow summary labels.csv"),
)
@click.argument("output", metavar="OUTPUT", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("summary.html"),
    show_default=True,
    help="The page.",
)
@click.option(
    "--least-sure",
    type=click.IntRange(0),
    default=60,
    show_default=True,
    help="How many of the least sure to show.",
)
def summary(output: Path, out: Path, least_sure: int) -> None:
    """Count what is in OUTPUT, which predict wrote (CSV, JSON lines, Parquet), and make a page."""
    from shopwindow.bulk.summary import format_answers, read_answers, write_answers_page

    answers = read_answers(output, least_sure=least_sure)
    click.echo(format_answers(answers))
    click.echo(f"\nPage: {write_answers_page(answers, out)}")
