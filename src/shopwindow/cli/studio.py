"""studio: the page where photos become a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from shopwindow.cli.options import example
from shopwindow.errors import UsageError

if TYPE_CHECKING:
    from shopwindow.inference.engine import EngineName
    from shopwindow.settings import Settings

# Photos are sent many at a time, by the owner of this machine.
_MAX_UPLOAD_BYTES = 100_000_000


@click.command(
    short_help="Make a model from photos, on one page.",
    epilog=example("shopwindow studio hats"),
)
@click.argument("folder", default=Path("studio"), type=click.Path(file_okay=False, path_type=Path))
@click.option("--host", help="Address to listen on; others than this machine need a password.")
@click.option("--port", type=click.IntRange(0, 65535), help="[default: 5000]")
def studio(folder: Path, host: str | None, port: int | None) -> None:
    """Open the project in FOLDER, or begin one there, and serve its page.

    Drop photos on the page, name them, try the model and put it in the window: the public page on
    the same address. FOLDER is the folder `studio` where it is left out.
    """
    from shopwindow.settings import PREFIX, Settings
    from shopwindow.web.logs import configure_logging
    from shopwindow.web.server.malloc import return_freed_memory

    return_freed_memory()
    given = f"{PREFIX}MAX_UPLOAD_BYTES" in os.environ
    settings = Settings.from_environment(
        host=host,
        port=port,
        max_upload_bytes=None if given else _MAX_UPLOAD_BYTES,
    )
    configure_logging(settings)
    serve_with_studio(settings, folder, may_be_open=True)


def serve_with_studio(settings: Settings, folder: Path, *, may_be_open: bool = False) -> None:
    """Serve the project's model, and its studio at /studio.

    Args:
        settings: Of the server.
        folder: The project.
        may_be_open: Whether this machine needs no password, where the server listens to it alone.

    Raises:
        UsageError: There is no password where one is needed, or the folder cannot be opened.
    """
    from shopwindow.web.studio_access import is_loopback

    is_open = may_be_open and is_loopback(settings.host) and not settings.trusted_proxies
    if not (is_open or settings.review_password):
        raise UsageError(
            "The studio needs a password here: set SHOPWINDOW_REVIEW_PASSWORD to 16 characters or "
            "more, without spaces"
            + ("" if not may_be_open else ", or leave --host and trusted_proxies out")
        )
    if settings.model:
        raise UsageError(
            f"The studio serves the model of its own project, so --model {settings.model} has no "
            "effect; leave it out"
        )
    from shopwindow.imaging.limits import ImageLimits
    from shopwindow.studio import Studio
    from shopwindow.web.server.serve import load_served, serve

    opened = Studio(
        folder, limits=ImageLimits.of(settings), engine=cast("EngineName", settings.engine)
    )
    try:
        window = opened.versions.window_file
        predictor = load_served(settings, window if window.exists() else None)
        serve(predictor, settings, opened, is_open=is_open)
    finally:
        opened.close()
