"""serve and predict: what needs a bundle, and no training stack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from shopwindow.cli.options import example, model_option

if TYPE_CHECKING:
    from shopwindow.inference.rows import RowFormat


@click.command(
    short_help="The web app and the JSON API.",
    epilog=example("shopwindow serve --model runs/shoes/model.onnx --port 8000"),
)
@model_option
@click.option("--host", help="Address to listen on; 0.0.0.0 for all.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="[default: 5000]")
def serve(model: Path | None, host: str | None, port: int | None) -> None:
    """Serve a model as a web page and a JSON API.

    Every setting can also be given in the environment, as SHOPWINDOW_HOST and so on: see
    docs/settings.md. What stands on the command line wins.
    """
    from shopwindow.inference.predictor import load_predictor
    from shopwindow.settings import Settings
    from shopwindow.web.logs import configure_logging
    from shopwindow.web.memory import return_freed_memory
    from shopwindow.web.server import serve as serve_app

    return_freed_memory()
    settings = Settings.from_environment(
        host=host, port=port, model=None if model is None else str(model)
    )
    configure_logging(settings)
    predictor = load_predictor(
        Path(settings.model) if settings.model else None,
        threads=settings.threads or None,
        max_pixels=settings.max_pixels,
    )
    serve_app(predictor, settings)


@click.command(
    short_help="Predict images or folders, into CSV, JSON lines or Parquet.",
    epilog=example("shopwindow predict photos/ --output labels.csv"),
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@model_option
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write here, in one step at the end, instead of to the screen.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="[default: what the name of --output ends in, else csv]",
)
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Labels per row.")
def predict(
    paths: tuple[Path, ...],
    model: Path | None,
    output: Path | None,
    format_name: RowFormat | None,
    top: int,
) -> int:
    """Predict every image in PATHS: files, and folders with all that is in them.

    One row per input, in input order, also for one that could not be read; the exit code is 1 if
    there is any such.
    """
    from shopwindow.inference.bulk import list_inputs, predict_files, write_rows
    from shopwindow.inference.predictor import load_predictor

    inputs = list_inputs(paths)
    rows = predict_files(load_predictor(model), inputs, top=top)
    written = write_rows(rows, output, format_name)
    if not written.failed:
        return 0
    click.echo(
        f"shopwindow: {written.failed:,} of {written.rows:,} inputs could not be predicted; their "
        "rows say why",
        err=True,
    )
    return 1
