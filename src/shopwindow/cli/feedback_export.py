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
    short_help="Feedback from visitors.",
    epilog=example("shopwindow feedback export corrections/"),
)
def feedback() -> None:
    """Export the feedback that visitors gave on answers."""


@feedback.command(
    short_help="Write feedback as a data set.",
    epilog=example("shopwindow feedback export corrections/ --all"),
)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--feedback",
    "where",
    metavar="URL",
    help="The store: a path, or postgresql://...  [default: the setting feedback, or the model's "
    "own file]",
)
@model_option
@click.option(
    "--all", "unreviewed", is_flag=True, help="Include feedback that is not yet reviewed."
)
def export(folder: Path, where: str | None, model: Path | None, unreviewed: bool) -> None:
    """Write reviewed feedback with photos to DIR, as a table and images that train reads.

    An earlier export in DIR is updated: photos that were deleted since are removed.
    """
    if where and model is not None:
        raise UsageError("--model has no effect with --feedback, which names the store.")
    found = export_store(where, folder, model, unreviewed=unreviewed)
    details = [
        f"{count:,} {what}"
        for count, what in (
            (found.superseded, "left out, because there is later feedback on the same photo"),
            (found.other_columns, "left out, because they are about another label column"),
        )
        if count
    ]
    click.echo("; ".join([f"{folder}: {counted(found.photos, 'photo')}", *details]))


def export_store(
    where: str | None, folder: Path, model: Path | None, *, unreviewed: bool = False
) -> Exported:
    """Export a store.

    Args:
        where: The store; None or empty for that of the setting `feedback`, or the model's own.
        folder: Where to.
        model: Whose store; None for the model that the settings name.
        unreviewed: Whether to include feedback that has not been reviewed.

    Raises:
        UsageError: Feedback is off, or there is no such store.
        DataError: There is nothing to export.
    """
    from shopwindow.feedback.exporting import export_feedback
    from shopwindow.feedback.opening import open_store

    place = where or _default_store(model)
    if place == "off":
        raise UsageError("feedback: expected a store, found off; name one, as a path or a URL")
    store = open_store(place, make=False)
    try:
        found = export_feedback(store, folder, unreviewed=unreviewed)
    finally:
        store.close()
    if not found.photos:
        more = (
            ","
            if unreviewed
            else ", reviewed at /review or included by shopwindow feedback export --all,"
        )
        raise DataError(f"{store.where}: expected feedback with photos{more} found none")
    return found


def _default_store(model: Path | None) -> str:
    """Return the store of the setting `feedback`, or the one of a model."""
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
        where: A folder that `feedback export` wrote, or a store, which is exported.
        own: Where a store is exported to.
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
    """Return the folder of corrections that an option names; None if there are none.

    Args:
        where: As for `corrections_to_learn`, or off; None for the default store, if there is one.
        own: Where a store is exported to.
        in_service: The model that visitors have corrected.

    Raises:
        UsageError: There is no such store.
    """
    from shopwindow.settings import Settings

    try:
        place = where or _default_store(in_service)
    except FeedbackError:  # a user without a home folder
        return None
    # A model's own store may not exist yet; another one that is missing is an error.
    is_own = not where and not Settings.from_environment().feedback
    if place == "off" or (is_own and not Path(place).exists()):
        return None
    try:
        return corrections_to_learn(place, own, in_service)
    except DataError:
        return None
