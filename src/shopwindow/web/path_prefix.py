"""The app below a path of a site, such as https://shop.example/photos/.

Flask builds every address from WSGI's `SCRIPT_NAME`, so it is enough to set that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shopwindow.settings import Settings, is_path_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class PathPrefix:
    """Serves an app below a path, whether or not the proxy removes that from what it passes on.

    The path is the setting `path_prefix`. Where that is empty and there are trusted proxies, it is
    their `X-Forwarded-Prefix`. A visitor whose claim a proxy passes on changes only the links on
    their own page, and only within this site.

    Args:
        app: What is served.
        settings: For `path_prefix` and `trusted_proxies`.
    """

    def __init__(self, app: WSGIApplication, settings: Settings) -> None:
        self._app = app
        self._prefix = settings.path_prefix
        self._trusts_header = bool(settings.trusted_proxies)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, as WSGI has it."""
        if prefix := self._prefix or self._reported_prefix(environ):
            environ["SCRIPT_NAME"] = prefix
            environ["PATH_INFO"] = without_prefix(environ["PATH_INFO"], prefix)
        return self._app(environ, start_response)

    def _reported_prefix(self, environ: WSGIEnvironment) -> str:
        if not self._trusts_header:
            return ""
        prefix: str = environ.get("HTTP_X_FORWARDED_PREFIX", "").removesuffix("/")
        return prefix if is_path_prefix(prefix) else ""


def without_prefix(path: str, prefix: str) -> str:
    """Return a path as the app knows it; one that is not below `prefix` stays as it is."""
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        return path.removeprefix(prefix) or "/"
    return path
