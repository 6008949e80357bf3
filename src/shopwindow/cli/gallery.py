"""gallery: the similar items that a server shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shopwindow.cli.bulk import StoppedError
from shopwindow.cli.options import (
    data_argument,
    example,
    given,
    model_option,
    wanted_engine,
    wanted_reading,
)


@click.command(
    short_help="Make a gallery of similar items, for serve to show.",
    epilog=example(
        "shopwindow gallery shop/ --labels products.csv --title-column name --link-column url"
    ),
)
@data_argument
@click.option(
    "--labels",
    "labels_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The table of the items, here or in DATA; not needed if DATA holds only one.",
)
@click.option("--image-column", metavar="C", help="Column that names the image.")
@click.option("--label-column", metavar="C", help="Column with the label, if there is one.")
@click.option("--id-column", metavar="C", help="Column with the id.  [default: the image's name]")
@click.option("--title-column", metavar="C", help="Column with what to call an item.")
@click.option("--link-column", metavar="C", help="Column with the address of its page.")
@model_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("shop.gallery"),
    show_default=True,
    help="The file; until it is complete, it is called FILE.partial.",
)
@click.pass_context
def gallery(
    context: click.Context,
    /,
    data: Path,
    id_column: str | None,
    title_column: str | None,
    link_column: str | None,
    model: Path | None,
    out: Path,
    **_: Any,
) -> int:
    """Put the items of DATA into one file, which `serve --gallery` shows to visitors.

    DATA is a folder of photos, or a table that names them. A run that was stopped goes on with the
    same command.
    """
    from shopwindow.gallery.building import build_gallery, require_embedding
    from shopwindow.gallery.items import ItemColumns, read_items
    from shopwindow.inference.predictor import load_predictor
    from shopwindow.plain_text import counted, printable

    predictor = load_predictor(model, engine=wanted_engine())
    require_embedding(predictor.bundle)
    spec = wanted_reading(given(context), predictor.bundle, data)
    items = read_items(spec, ItemColumns(id_column, title_column, link_column))
    for note in items.notes:
        click.echo(printable(note))
    try:
        totals = build_gallery(items, predictor, out)
    except KeyboardInterrupt:
        raise StoppedError("stopped by Ctrl-C; run the same command to continue") from None
    if totals.resumed:
        click.echo(f"Resumed: an earlier run had added {counted(totals.resumed, 'item')}")
    if totals.begun_anew:
        click.echo("Begun anew: the unfinished gallery was of other data or another model")
    if items.dropped:
        row = items.dropped[0]
        click.echo(
            printable(
                f"Left out: {len(items.dropped):,} rows and files; the first, {row.where} "
                f"({row.reference[:100]}): {row.reason}"
            )
        )
    size_mb = out.stat().st_size / 1e6
    click.echo(f"Gallery: {printable(str(out))}, {counted(totals.items, 'item')}, {size_mb:.1f} MB")
    if not totals.failed:
        return 0
    name, reason = totals.failed[0]
    click.echo(
        printable(
            f"shopwindow: {counted(len(totals.failed), 'photo')} could not be read; the first, "
            f"{name}: {reason}"
        ),
        err=True,
    )
    return 1
