"""Pages of other sites that may call the API: the setting `cors_origins`.

The Fetch standard's CORS protocol. Origins are compared as they are written, and cookies are never
asked for: what a page may do, it does with the key it was given.
"""

from __future__ import annotations

from flask import Response, request

from shopwindow.settings import Settings
from shopwindow.web.state import app_state

_SHARED = ("/api/", "/client.js", "/openapi.json")
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Request-ID, X-Undo-Token",
    "Access-Control-Max-Age": "600",
}


def cors_headers(origin: str | None, settings: Settings) -> dict[str, str]:
    """Return the headers that let a page read a response; none if it may not.

    Args:
        origin: The request's header `Origin`.
        settings: For `cors_origins`.
    """
    if not settings.cors_origins:
        return {}
    headers = {"Vary": "Origin"}
    if origin in settings.allowed_origins:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = "Retry-After, X-Request-ID"
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return headers


def answer_preflight() -> Response | None:
    """Answer a browser that asks whether a page may; it asks without a key."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    may = "Access-Control-Allow-Origin" in _headers_of_request()
    return Response(status=204, headers=_PREFLIGHT) if may else None


def add_cors_headers(response: Response) -> Response:
    """Add what lets a page of an allowed site read the response."""
    response.headers.update(_headers_of_request())
    return response


def _headers_of_request() -> dict[str, str]:
    if not request.path.startswith(_SHARED):
        return {}
    return cors_headers(request.headers.get("Origin"), app_state().settings)
