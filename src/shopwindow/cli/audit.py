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
@click.pass_context
def audit(context: click.Context, /, cache_dir: Path | None, **_: Any) -> None:
    """Find what is probably wrong in DATA.

    Labels that a linear probe doubts, images far from all others, images that look the same but
    have different labels or lie on both sides of the split, and dark, blurred, tiny or odd ones.
    """
    from shopwindow.audit.auditing import audit_dataset
    from shopwindow.audit.summary import summarise_audit
    from shopwindow.data.spec import DataSpec
    from shopwindow.probe.backbone import open_backbone

    backbone = open_backbone(engine=wanted_engine())
    progress = sys.stderr.isatty()
    dataset = DataSpec.from_options(given(context)).load(
        rule=backbone.rule, cache_dir=cache_dir, progress=progress
    )
    click.echo(summarise_audit(audit_dataset(dataset, backbone, progress=progress)))
