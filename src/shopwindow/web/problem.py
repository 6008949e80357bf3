"""Errors of the API in the one shape of RFC 9457, `application/problem+json`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Response, g, has_request_context, request
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    RequestEntityTooLarge,
    ServiceUnavailable,
)

from shopwindow.errors import BusyError, ImageError
from shopwindow.web.messages import size_in_words

MEDIA_TYPE = "application/problem+json"
# What only programs ask for; the other addresses are for people, unless a program asks for JSON.
_JSON_PREFIXES = ("/api/", "/health/", "/metrics", "/openapi.json")


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, for a program (`type`, `status`) and for a person (`title`, `detail`).

    Attributes:
        status: HTTP status code, 400 to 599.
        title: The kind of problem; the same for every occurrence.
        detail: One sentence on this occurrence that says what to do.
        type: A URI that names the kind; `about:blank` where the status says it all.
    """

    status: int
    title: str
    detail: str
    type: str = "about:blank"

    def __post_init__(self) -> None:
        if not 400 <= self.status <= 599:
            raise ValueError(f"status of a problem: expected 400 to 599, got {self.status}")

    @classmethod
    def from_image_error(cls, error: ImageError) -> Problem:
        """Return the problem of an image that was refused; its message is made for clients."""
        return cls(
            error.http_status,
            error.title,
            str(error),
            type=f"urn:shopwindow:problem:{kind_of(type(error))}",
        )

    @classmethod
    def from_http_error(cls, error: HTTPException) -> Problem:
        """Return the problem of an HTTP error, in our words where Werkzeug's are not ours."""
        status = error.code or 500
        return cls(status, error.name, http_error_in_words(error))

    def as_json(self) -> dict[str, Any]:
        """Return the four members as JSON-ready data."""
        return {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }

    def as_response(self) -> Response:
        """Return the problem as the answer to the current request."""
        return Response(
            json.dumps(self.as_json(), ensure_ascii=False),
            status=self.status,
            mimetype=MEDIA_TYPE,
        )


def as_http_error(error: BusyError) -> ServiceUnavailable:
    """Return the HTTP error of a request for which there was no room or no time."""
    if has_request_context():
        g.turned_away = error.at_once
    return ServiceUnavailable(str(error), retry_after=error.retry_after_s)


def with_headers_of(error: HTTPException, response: Response) -> Response:
    """Add what belongs to an HTTP error: Allow, Retry-After, WWW-Authenticate."""
    for name, value in error.get_headers():
        if name != "Content-Type":
            response.headers.add(name, value)
    return response


def wants_json() -> bool:
    """Say whether an error of the current request is told as a problem, and not as a page."""
    if request.path.startswith(_JSON_PREFIXES):
        return True
    # Browsers name HTML before anything else; what takes anything gets the page.
    return request.accept_mimetypes.best_match(["text/html", MEDIA_TYPE]) == MEDIA_TYPE


def note_image_errors(entries: Iterable[object]) -> None:
    """Remember what kinds of images the current request had refused, for `error_kinds`."""
    kinds = [kind_of(type(entry)) for entry in entries if isinstance(entry, ImageError)]
    g.image_error_kinds = kinds


def error_kinds(status: int) -> list[str]:
    """Return the kinds of all errors in the current request, once it has its HTTP status.

    There is one kind for each title of an `ImageError` and for each HTTP status, so that they can
    be counted by kind without end.
    """
    kinds: list[str] = g.get("image_error_kinds", [])
    if status >= 400 and not kinds:
        return [kind_of_status(status)]
    return kinds


def was_turned_away(status: int) -> bool:
    """Say whether nothing was done for the current request: no key, no credit or no room."""
    return status in {401, 429} or bool(g.get("turned_away"))


def kind_of_status(status: int) -> str:
    """Return the name of the kind of error that an HTTP status tells, such as "not-found"."""
    return "bug" if status == 500 else _slug(HTTPStatus(status).phrase)


def kind_of(error: type[ImageError]) -> str:
    """Return the name of a kind of image error, such as "damaged-image"."""
    return _slug(error.title)


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


def http_error_in_words(error: HTTPException) -> str:
    """Return one sentence on an HTTP error that a visitor can act on.

    Descriptions that our own code gave are kept; for the others, Werkzeug's default descriptions
    speak to the developer of the app and not to its visitor.
    """
    if error.description and error.description != type(error).description:
        return error.description
    if isinstance(error, RequestEntityTooLarge):
        return _too_large_in_words()
    if isinstance(error, MethodNotAllowed):
        return f"This address takes {', '.join(sorted(error.valid_methods or ()))} requests only."
    if error.code == 404:
        return "There is nothing at this address."
    if (error.code or 500) >= 500:
        return "Something broke on our side. It has been logged. Please try again."
    return "This request could not be understood."


def _too_large_in_words() -> str:
    limit_bytes = request.max_content_length or 0
    if request.content_length is None or request.content_length > limit_bytes:
        return f"That is more than {size_in_words(limit_bytes)}. Please send a smaller picture."
    return "The form has more parts or longer fields than this app takes. Send only the picture."
