"""feedback export, and where other commands find corrections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from shopwindow.cli.options import example, model_option
from shopwindow.errors import DataError, FeedbackError, UsageError
from shopwindow.plain_text import counted

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
    help="The store: a path, or postgresql://...  [default: the setting feedback, else the file "
    "of the model]",
)
@model_option
@click.option("--all", "unreviewed", is_flag=True, help="Also what nobody has reviewed yet.")
def export(folder: Path, where: str | None, model: Path | None, unreviewed: bool) -> None:
    """Write reviewed feedback with photos to DIR, as a table and images that train reads.

    An earlier export in DIR is brought up to date: photos that were taken back or forgotten since
    are removed.
    """
    if where and model is not None:
        raise UsageError("--model has no effect with --feedback, which names the store.")
    found = export_store(where, folder, model, unreviewed=unreviewed)
    details = [
        f"{count:,} {what}"
        for count, what in (
            (found.repeated, "left out, since something later was said about the same photo"),
            (found.other_columns, "left out, since they are about another label column"),
        )
        if count
    ]
    click.echo("; ".join([f"{folder}: {counted(found.photos, 'photo')}", *details]))


def export_store(
    where: str | None, folder: Path, model: Path | None, *, unreviewed: bool = False
) -> Exported:
    """Export a store.

    Args:
        where: The store; where it is None or empty, that of the setting `feedback`, or else the one
            that a model has unless told otherwise.
        folder: Where to.
        model: Which model; None for the one that the settings name.
        unreviewed: Whether to take what nobody has reviewed, too.

    Raises:
        UsageError: Feedback is off, or there is no such store.
        DataError: There is nothing to export.
    """
    from shopwindow.feedback.exporting import export_feedback
    from shopwindow.feedback.opening import open_store

    place = where or _usual_store(model)
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


def _usual_store(model: Path | None) -> str:
    """Return the store of the setting `feedback`, or else the one of a model."""
    from shopwindow.feedback.opening import default_place
    from shopwindow.inference.predictor import load_bundle
    from shopwindow.settings import Settings

    settings = Settings.from_environment()
    if settings.feedback:
        return settings.feedback
    named = Path(settings.model) if settings.model else None
    return str(default_place(load_bundle(model or named).info))


def corrections_to_learn(where: str, own: Path, model: Path | None) -> Path:
    """Return the folder of corrections that an option names.

    Args:
        where: A folder that feedback export wrote; or a store, which is exported, as by
            `export_store`.
        own: Where to.
        model: As for `export_store`.

    Raises:
        UsageError: Feedback is off, or there is no such store.
        DataError: There is nothing to export.
    """
    if where and Path(where).is_dir():
        return Path(where)
    export_store(where, own, model)
    return own


def corrections_to_judge_by(where: str | None, own: Path, in_service: Path) -> Path | None:
    """Return the folder of corrections that an option names; None where there are none.

    Args:
        where: As for `corrections_to_learn`, or off; None for the usual store, if there is one.
        own: Where a store is exported to.
        in_service: The model that people have corrected.

    Raises:
        UsageError: There is no such store.
    """
    from shopwindow.settings import Settings

    try:
        place = where or _usual_store(in_service)
    except FeedbackError:  # a user without a home folder
        return None
    # A model's own store comes with the first feedback; no other is taken for empty.
    is_own = not where and not Settings.from_environment().feedback
    if place == "off" or (is_own and not Path(place).exists()):
        return None
    try:
        return corrections_to_learn(place, own, in_service)
    except DataError:
        return None
