"""Errors as responses: RFC 9457 `application/problem+json` for programs, a page for people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Response, current_app, g, has_request_context, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    RequestEntityTooLarge,
    ServiceUnavailable,
    default_exceptions,
)

from shopwindow.errors import BusyError, FeedbackError, ImageError, RefusedFeedbackError
from shopwindow.web.messages import size_in_words
from shopwindow.web.state import app_state

MEDIA_TYPE = "application/problem+json"
# Addresses for programs; the others are for people, unless a program asks for JSON.
_JSON_PREFIXES = ("/api/", "/studio/api/", "/health/", "/metrics", "/openapi.json")


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
        """Return the problem of a refused image; its message is meant for clients."""
        return cls(
            error.http_status,
            error.title,
            str(error),
            type=f"urn:shopwindow:problem:{kind_of(type(error))}",
        )

    @classmethod
    def from_http_error(cls, error: HTTPException) -> Problem:
        """Return the problem of an HTTP error, in our words instead of Werkzeug's."""
        return cls(error.code or 500, error.name, sentence_of(error))

    def as_json(self) -> dict[str, Any]:
        """Return the four members as JSON-ready data."""
        return {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }

    def as_response(self) -> Response:
        """Return the problem as the response to the current request."""
        return Response(
            json.dumps(self.as_json(), ensure_ascii=False),
            status=self.status,
            mimetype=MEDIA_TYPE,
        )


def handle_http_error(error: HTTPException) -> ResponseReturnValue:
    """Answer an HTTP error; also a bug, which Flask has logged by then and made a 500."""
    if error.code is None or error.code < 400:
        return error  # a redirect
    if wants_json():
        response = Problem.from_http_error(error).as_response()
    else:
        html = render_template("error.html", name=error.name, detail=sentence_of(error))
        response = Response(html, status=error.code)
    return with_headers_of(error, response)


def handle_busy(error: BusyError) -> ResponseReturnValue:
    """Ask a client to try again later: there is no room or no time for its request."""
    return handle_http_error(as_http_error(error))


def handle_feedback_error(error: FeedbackError) -> ResponseReturnValue:
    """Say why feedback is refused, or that its store cannot be used now."""
    if isinstance(error, RefusedFeedbackError):
        return handle_http_error(default_exceptions[error.http_status](str(error)))
    current_app.logger.error("A request about feedback failed: %s", error)
    if request.blueprint != "review":
        app_state().metrics.count_feedback("failed")
    sentence = "The feedback store cannot be used right now. Please try again in a moment."
    return handle_http_error(ServiceUnavailable(sentence, retry_after=5))


def as_http_error(error: BusyError) -> ServiceUnavailable:
    """Return the HTTP error of a request for which there was no room or no time."""
    if has_request_context():
        g.turned_away = error.at_once
    return ServiceUnavailable(str(error), retry_after=error.retry_after_s)


def with_headers_of(error: HTTPException, response: Response) -> Response:
    """Add the headers of an HTTP error: Allow, Retry-After, WWW-Authenticate."""
    for name, value in error.get_headers():
        if name != "Content-Type":
            response.headers.add(name, value)
    return response


def wants_json() -> bool:
    """Say whether errors of the current request are answered as problems rather than pages."""
    if request.path.startswith(_JSON_PREFIXES):
        return True
    # Browsers ask for HTML first; clients that accept anything get the page.
    return request.accept_mimetypes.best_match(["text/html", MEDIA_TYPE]) == MEDIA_TYPE


def note_image_errors(entries: Iterable[object]) -> None:
    """Remember for `error_kinds` what was wrong with images of the current request."""
    g.image_error_kinds = [
        kind_of(type(entry)) for entry in entries if isinstance(entry, ImageError)
    ]


def error_kinds(status: int) -> list[str]:
    """Return the kinds of all errors in the current request, once its HTTP status is known.

    There is one kind for each title of an `ImageError` and for each HTTP status, so there are few.
    """
    kinds: list[str] = g.get("image_error_kinds", [])
    if status >= 400 and not kinds:
        return [kind_of_status(status)]
    return kinds


def was_turned_away(status: int) -> bool:
    """Say whether the current request was refused at once: no key, over the limit or no room."""
    return status in {401, 429} or bool(g.get("turned_away"))


def kind_of_status(status: int) -> str:
    """Return the kind of error of an HTTP status, such as "not-found"."""
    return "bug" if status == 500 else _slug(HTTPStatus(status).phrase)


def kind_of(error: type[ImageError]) -> str:
    """Return the kind of an image error, such as "damaged-image"."""
    return _slug(error.title)


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


def sentence_of(error: HTTPException) -> str:
    """Return one sentence on an HTTP error that a visitor can act on.

    Descriptions from our own code are kept. Werkzeug's default descriptions are replaced: they
    address the developer of the app, not its visitor.
    """
    if error.description and error.description != type(error).description:
        return error.description
    if isinstance(error, RequestEntityTooLarge):
        return _too_large()
    if isinstance(error, MethodNotAllowed):
        return f"This address only takes {', '.join(sorted(error.valid_methods or ()))} requests."
    if error.code == 404:
        return "There is nothing at this address."
    if (error.code or 500) >= 500:
        return "Something broke on our side. It has been logged. Please try again."
    return "This request could not be understood."


def _too_large() -> str:
    limit_bytes = request.max_content_length or 0
    if request.content_length is None or request.content_length > limit_bytes:
        return f"That is larger than {size_in_words(limit_bytes)}. Please send a smaller picture."
    return "The form has too many parts, or fields that are too long. Send only the picture."
