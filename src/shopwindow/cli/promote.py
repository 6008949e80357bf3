"""promote and rollback: put a bundle in service, and return to the previous one."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from shopwindow.cli.feedback_export import corrections_to_judge_by
from shopwindow.cli.options import data_options, example, given, wanted_engine, wanted_reading
from shopwindow.errors import PromotionError

_in_service = click.option(
    "--model",
    "in_service",
    required=True,
    metavar="IN_SERVICE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The bundle in service; a running server notices when it is replaced.",
)


@click.command(
    short_help="Put a new model in service, if it is no worse.",
    epilog=example("shopwindow promote runs/second/model.onnx --model model.onnx --data photos/"),
)
@click.argument("new", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_in_service
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="What the bundle in service was trained on; its held-out part is used.",
)
@data_options(default_min_images="as in training")
@click.option(
    "--feedback",
    metavar="URL|DIR",
    help="Corrections: a store, an exported folder, or off.  [default: the setting "
    "feedback, else the file of IN_SERVICE]",
)
@click.option(
    "--margin",
    metavar="POINTS",
    type=click.FloatRange(0, 100),
    help="Points of accuracy that NEW may lose if that may be chance.  [default: 0.5]",
)
@click.pass_context
def promote(
    context: click.Context,
    /,
    new: Path,
    in_service: Path,
    data: Path,
    feedback: str | None,
    margin: float | None,
    cache_dir: Path | None,
    **_: Any,
) -> None:
    """Put the bundle NEW in service, if it is no worse than the current one.

    NEW is refused if it is worse on the held-out images by more than chance (the 95 % interval of
    the difference lies below 0), or by more points than --margin, or if it is right on fewer of
    the corrections. The old bundle is kept; rollback returns to it.
    """
    from shopwindow.bundle import read_bundle
    from shopwindow.evaluation.history import ModelHistory
    from shopwindow.evaluation.promotion import MARGIN_POINTS, compare_for_promotion
    from shopwindow.plain_text import printable

    history = ModelHistory(in_service)
    candidate = read_bundle(new)
    with history.locked():
        current = read_bundle(in_service)
        if candidate.sha256 == current.sha256:
            click.echo(f"{in_service}: {_title(candidate)} is already in service.")
            return
        options = given(context)
        with TemporaryDirectory(prefix="shopwindow-") as scratch:
            found = compare_for_promotion(
                current,
                candidate,
                data,
                specs=(
                    wanted_reading(options, current, data),
                    wanted_reading(options, candidate, data),
                ),
                corrections=corrections_to_judge_by(
                    feedback, Path(scratch) / "corrections", in_service
                ),
                margin_points=MARGIN_POINTS if margin is None else margin,
                cache_dir=cache_dir,
                progress=sys.stderr.isatty(),
                engine=wanted_engine(),
            )
        head = [f"in service: {_title(current)}", f"new:        {_title(candidate)}"]
        click.echo("\n".join(map(printable, [*head, *found.lines()])))
        if found.objections:
            raise PromotionError(f"{new} is not put in service: {'; '.join(found.objections)}")
        history.promote(candidate, current, found.as_json())
    click.echo(f"In service: {new}. To go back: shopwindow rollback --model {in_service}")


@click.command(
    short_help="Return to the previous model.",
    epilog=example("shopwindow rollback --model model.onnx"),
)
@_in_service
def rollback(in_service: Path) -> None:
    """Put back the bundle that was in service before the last promote.

    Run it again to go back one step further. What was in service is kept.
    """
    from shopwindow.evaluation.history import ModelHistory

    history = ModelHistory(in_service)
    with history.locked():
        bundle = history.rollback()
    click.echo(f"In service again: {_title(bundle)}.")


def _title(bundle: Any) -> str:
    return f"{bundle.info.name} {bundle.info.version} (SHA-256 {bundle.sha256[:16]})"
