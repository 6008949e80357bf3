"""audit: what is probably wrong in a data set."""

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
    wanted_engine,
)


@click.command(
    short_help="What is probably wrong in a data set.",
    epilog=example("shopwindow audit photos/ --labels labels.csv --label-column kind"),
)
@data_argument
@data_options()
@bars_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("audit.html"),
    show_default=True,
    help="The page to judge from.",
)
@click.pass_context
def audit(context: click.Context, /, out: Path, cache_dir: Path | None, **_: Any) -> None:
    """Find what is probably wrong in DATA.

    Labels that a linear probe and similar images doubt, images far from all others, images that
    look alike across labels or across the split, and dark, blurred, tiny or odd ones. The page
    shows them to be judged with keys, and gives out a table for train --corrections.
    """
    from shopwindow.audit.auditing import audit_dataset
    from shopwindow.audit.page import write_audit
    from shopwindow.audit.summary import summarise_audit
    from shopwindow.data.spec import DataSpec
    from shopwindow.probe.backbone import open_backbone

    backbone = open_backbone(engine=wanted_engine())
    progress = sys.stderr.isatty()
    dataset = DataSpec.from_options(given(context)).load(
        rule=backbone.rule, cache_dir=cache_dir, progress=progress
    )
    found = audit_dataset(dataset, backbone, progress=progress)
    click.echo(summarise_audit(found))
    click.echo(f"\nPage: {write_audit(found, out)}")
