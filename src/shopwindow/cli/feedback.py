"""feedback export, and where other commands find corrections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from shopwindow.cli.options import example
from shopwindow.errors import DataError, FeedbackError, UsageError

if TYPE_CHECKING:
    from shopwindow.feedback.exporting import Exported


@click.group(
    short_help="What people said about the answers.",
    epilog=example("shopwindow feedback export corrections/"),
)
def feedback() -> None:
    """Take out what people said about the answers."""


@feedback.command(
    short_help="Write corrections as a data set.",
    epilog=example("shopwindow feedback export corrections/ --all"),
)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--feedback",
    "where",
    metavar="URL",
    help="The store: a path, or postgresql://...  [default: the setting feedback]",
)
@click.option("--all", "unreviewed", is_flag=True, help="Also what nobody has reviewed yet.")
def export(folder: Path, where: str | None, unreviewed: bool) -> None:
    """Write reviewed feedback with photos to DIR, as a table and images that train reads.

    An earlier export in DIR is brought up to date: photos that were taken back or forgotten since
    are removed.
    """
    found = export_store(where, folder, unreviewed=unreviewed)
    details = [
        f"{count:,} {what}"
        for count, what in (
            (found.repeated, "left out, since something later was said about the same photo"),
            (found.other_columns, "left out, since they are about another label column"),
        )
        if count
    ]
    click.echo("; ".join([f"{folder}: {found.photos:,} photos", *details]))


def export_store(where: str | None, folder: Path, *, unreviewed: bool = False) -> Exported:
    """Export a store; the one of the setting `feedback` where `where` is None or empty.

    Raises:
        UsageError: Feedback is off, or there is no such store.
        DataError: There is nothing to export.
    """
    from shopwindow.feedback.exporting import export_feedback
    from shopwindow.feedback.opening import open_store
    from shopwindow.settings import Settings

    place = where or Settings.from_environment().feedback
    if place == "off":
        raise UsageError("feedback: expected a store, found off; name one, as a path or a URL")
    store = open_store(place, make=False)
    try:
        found = export_feedback(store, folder, unreviewed=unreviewed)
    finally:
        store.close()
    if not found.photos:
        more = (
            ""
            if unreviewed
            else ", reviewed at /review or taken unseen by shopwindow feedback export --all,"
        )
        raise DataError(f"{store.where}: expected feedback with photos{more} found none")
    return found


def corrections_to_learn(where: str, own: Path) -> Path:
    """Return the folder of corrections that an option names.

    Args:
        where: A folder that feedback export wrote; or a store, which is exported.
        own: Where to.

    Raises:
        UsageError: Feedback is off, or there is no such store.
        DataError: There is nothing to export.
    """
    if where and Path(where).is_dir():
        return Path(where)
    export_store(where, own)
    return own


def _default_store_exists() -> bool:
    from shopwindow.feedback.opening import default_place

    try:
        return default_place().exists()
    except FeedbackError:  # a user without a home folder
        return False


def corrections_to_judge_by(where: str | None, own: Path) -> Path | None:
    """Return the folder of corrections that an option names; None where there are none.

    Args:
        where: As for `corrections_to_learn`, or off; None for the store of the settings, if it has
            one.
        own: Where a store is exported to.

    Raises:
        UsageError: There is no such store.
    """
    from shopwindow.settings import Settings

    place = Settings.from_environment().feedback if where is None else where
    # The store of the user's own folder comes with the first feedback; no other is taken for empty.
    if place == "off" or (where is None and not place and not _default_store_exists()):
        return None
    try:
        return corrections_to_learn(place, own)
    except DataError:
        return None
