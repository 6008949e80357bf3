"""predict and summary: any number of images into a table of predictions, and what is in it."""

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
    """The user stopped the run; finished predictions are kept."""

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
    help="File to write, in one step at the end.  [default: the screen]",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="[default: from the ending of --output; a table on a terminal, else csv]",
)
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Labels per row.")
@click.option(
    "--embeddings", is_flag=True, help="Add a column with the embedding of each image; in Parquet."
)
@click.option(
    "--image-column",
    metavar="C",
    help="Column of tables with paths, URLs or bytes of images.  [default: as in training]",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes that predict, each with its own model on one core.  [default: all cores]",
)
@click.option(
    "--runner",
    "--engine",
    "runner",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where to predict: on this machine, or on a Ray cluster. --engine is its old name.",
)
@click.option(
    "--ray-address",
    metavar="A",
    help="Address of the cluster: auto or ray://head:10001.  [default: Ray on this machine]",
)
def predict(
    paths: tuple[str, ...],
    model: Path | None,
    output: Path | None,
    format_name: str | None,
    top: int,
    embeddings: bool,
    image_column: str | None,
    workers: int | None,
    runner: str,
    ray_address: str | None,
) -> int:
    """Predict every image in PATHS.

    PATHS are files, folders (with their subfolders), patterns ('photos/**/*.jpg'), tables (.csv,
    .tsv, .parquet) with a column of paths or image bytes, and URLs (s3://bucket/photos).

    Writes one row per input, in input order, even if it cannot be read; the exit code is then 1.
    With --output, a run that was stopped continues when the same command is given again.
    """
    from shopwindow.bulk.inputs import list_inputs
    from shopwindow.bulk.job import JobSpec
    from shopwindow.bulk.listing import Notes
    from shopwindow.bulk.local import start_local
    from shopwindow.bulk.partial_output import begun_engine
    from shopwindow.bulk.predict import predict_to_file, predict_to_stream
    from shopwindow.bulk.rows import format_of, require_embeddings
    from shopwindow.inference.engine import choose_engine
    from shopwindow.inference.predictor import load_bundle

    if runner == "ray" and workers is not None:
        raise UsageError("--workers has no effect with --runner ray, which uses the whole cluster.")
    if runner != "ray" and ray_address is not None:
        raise UsageError("--ray-address has no effect without --runner ray.")
    fmt = format_of(output, format_name, for_people=sys.stdout.isatty())
    bundle = load_bundle(model)
    if embeddings:
        require_embeddings(fmt, bundle.info)
    # Chosen once, and kept when the run continues: machines differ, and a run has one engine.
    wanted: EngineName | ChosenEngine = wanted_engine()
    if wanted == "auto":
        wanted = begun_engine(output) or wanted
    job = JobSpec(bundle, fmt, choose_engine(bundle.model, wanted), top, embeddings)
    read = bundle.info.data.get("read")
    usual = read.get("image_column") if isinstance(read, dict) else None
    notes = Notes()
    inputs = list_inputs(paths, image_column=image_column, usual_column=usual, notes=notes)
    start_runner = start_local(workers)
    if runner == "ray":
        from shopwindow.bulk.on_ray import start_ray

        start_runner = start_ray(ray_address)
    if output is None:
        totals = predict_to_stream(job, inputs, sys.stdout.buffer, start_runner)
    else:
        try:
            totals = predict_to_file(job, inputs, output, start_runner)
        except KeyboardInterrupt:
            if begun_engine(output) is None:
                raise  # nothing is kept
            raise StoppedError("stopped by Ctrl-C; run the same command to continue") from None
    for line in notes.lines():
        click.echo(f"shopwindow: {line}", err=True)
    if not totals.failed:
        return 0
    click.echo(
        f"shopwindow: {totals.failed:,} of {totals.rows:,} inputs could not be predicted; see the "
        "error in their rows",
        err=True,
    )
    return 1


@click.command(
    short_help="Summarise predictions: labels, confidence, the least sure.",
    epilog=example("shopwindow summary labels.csv"),
)
@click.argument("output", metavar="OUTPUT", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("summary.html"),
    show_default=True,
    help="The page to write.",
)
@click.option(
    "--least-sure",
    type=click.IntRange(0),
    default=60,
    show_default=True,
    help="How many of the least sure predictions to show.",
)
def summary(output: Path, out: Path, least_sure: int) -> None:
    """Summarise OUTPUT, which predict wrote (CSV, JSON lines or Parquet), and make a page."""
    from shopwindow.bulk.run_summary import format_summary, summarise, write_summary_page

    found = summarise(output, least_sure=least_sure)
    click.echo(format_summary(found))
    click.echo(f"\nPage: {write_summary_page(found, out)}")
