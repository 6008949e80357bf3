"""serve: the web app and the JSON API."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from pathlib import Path
from threading import Thread

import click

from shopwindow.cli.options import example, model_option
from shopwindow.cli.studio import serve_with_studio


class _WithSettings(click.Command):
    """A command whose help lists the settings of the server too."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options and the settings."""
        from shopwindow.settings import PREFIX, Settings

        super().format_options(ctx, formatter)
        with formatter.section("Settings, as environment variables"):
            formatter.write_dl(
                [
                    (
                        PREFIX + setting.name.upper(),
                        f"{setting.metadata['help']}  [{setting.metadata['unit']}"
                        + (f"; default: {setting.default}]" if setting.default != "" else "]"),
                    )
                    for setting in fields(Settings)
                ],
                col_max=34,
            )


@click.command(
    cls=_WithSettings,
    short_help="The web app and the JSON API.",
    epilog=example("shopwindow serve --model runs/shoes/model.onnx --port 8000"),
)
@model_option
@click.option(
    "--gallery",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Similar items to show, from shopwindow gallery.",
)
@click.option("--host", help="Address to listen on; 0.0.0.0 for all.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="[default: 5000]")
def serve(model: Path | None, gallery: Path | None, host: str | None, port: int | None) -> None:
    """Serve a model as a web page and a JSON API.

    Options on the command line win over the environment. docs/settings.md says more about the
    settings.
    """
    from shopwindow.settings import Settings
    from shopwindow.web.logs import configure_logging
    from shopwindow.web.server.malloc import return_freed_memory
    from shopwindow.web.server.serve import load_served
    from shopwindow.web.server.serve import serve as serve_app

    return_freed_memory()
    settings = Settings.from_environment(
        host=host,
        port=port,
        model=None if model is None else str(model),
        gallery=None if gallery is None else str(gallery),
    )
    configure_logging(settings)
    if settings.feedback != "off":
        # This import takes its time; it can do so while the model is read.
        Thread(target=import_module, args=("shopwindow.feedback.opening",), daemon=True).start()
    if settings.studio:
        serve_with_studio(settings, Path("studio" if settings.studio == "on" else settings.studio))
    else:
        serve_app(load_served(settings), settings)
