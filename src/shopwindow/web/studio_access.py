"""Who may use the studio, which a command opens and gives to the app.

Its owner logs in as to /review. Without a password only this machine may ask, and only by its own
name: a page elsewhere must not reach it through a name that leads here (DNS rebinding).
"""

from __future__ import annotations

import errno
import hmac
import ipaddress
import secrets
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, jsonify, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, Forbidden, NotFound, Unauthorized

from shopwindow.errors import StudioError
from shopwindow.web.problem import MEDIA_TYPE, Problem
from shopwindow.web.state import STUDIO, app_state

if TYPE_CHECKING:  # it imports onnx and data sets
    from shopwindow.studio import Studio

MAX_FILES = 200  # in one request to take photos in
MAX_WAITS = 16  # that wait for news at a time; others are answered at once
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host")
_LOGIN_ENDPOINTS = ("studio.show", "studio.log_in")


class Access:
    """Who may use the studio of one app.

    Args:
        studio: What they use.
        is_open: Whether this machine may use it without a password.
    """

    def __init__(self, studio: Studio, *, is_open: bool) -> None:
        self.studio, self.is_open = studio, is_open
        self.epoch = secrets.token_urlsafe(8)  # sessions of another one are over
        self.waits = threading.BoundedSemaphore(MAX_WAITS)

    def end_sessions(self) -> None:
        """Log everybody out."""
        self.epoch = secrets.token_urlsafe(8)


def accept_studio(app: Flask, studio: Studio, *, is_open: bool) -> None:
    """Offer a studio at /studio.

    Args:
        app: From `create_app`.
        studio: A project that is open.
        is_open: Whether this machine may use it without a password, where none is set.
    """
    password = app_state(app).settings.review_password
    app.extensions[STUDIO] = Access(studio, is_open=is_open and not password)
    if app.secret_key is None:  # feedback is off; its store would have one that lasts
        app.secret_key = secrets.token_bytes(32)


def studio_access() -> Access:
    """Return who may use the studio of the current app, and the studio.

    Raises:
        NotFound: There is none, so its addresses do not exist.
    """
    access: Access | None = current_app.extensions.get(STUDIO)
    if access is None:
        raise NotFound
    return access


def check_owner() -> ResponseReturnValue | None:
    """Let in the owner, and whoever wants to log in."""
    access = studio_access()
    request.max_form_parts = MAX_FILES + 20
    if access.is_open:
        _check_this_machine()
    elif not app_state().settings.review_password:
        raise Forbidden(
            "The studio is closed: set SHOPWINDOW_REVIEW_PASSWORD to 16 characters or more, "
            "without spaces, and start the server again."
        )
    if request.method not in ("GET", "HEAD", "OPTIONS") and not _has_token():
        raise BadRequest(
            "This request lacks the page's token, or its cookie is gone: reload the studio."
        )
    if is_logged_in(access) or request.endpoint in _LOGIN_ENDPOINTS:
        return None
    if request.path.startswith("/studio/api/"):
        raise Unauthorized("You are logged out: reload the studio, and log in again.")
    return redirect(url_for("studio.show"), 303)


def is_logged_in(access: Access) -> bool:
    """Say whether the current request may use the studio."""
    return access.is_open or session.get("in") == access.epoch


def refuse(error: StudioError) -> Response:
    """Say why something cannot be done, with what a program needs to go on."""
    title = "Conflict" if error.http_status == 409 else "Unprocessable Entity"
    problem = Problem(error.http_status, title, str(error)).as_json()
    response = jsonify(problem | getattr(error, "details", {}))
    response.status_code, response.mimetype = error.http_status, MEDIA_TYPE
    return response


def refuse_for_disk(error: OSError) -> Response:
    """Say that the disk is full or cannot be written, which no reload mends."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    what = "Make room on its disk" if is_full else "Check its folder and who may write there"
    current_app.logger.error("The studio cannot write: %s", error)
    sentence = (
        f"The project cannot be written ({error.strerror or 'unknown'}), and nothing was changed. "
        f"{what}, and do it once more."
    )
    return Problem(507, "Insufficient Storage", sentence).as_response()


def _check_this_machine() -> None:
    """Make sure that a request without a password was made on this machine, for this address.

    Raises:
        Forbidden: It came through a proxy, or by another name.
    """
    try:
        name = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:  # brackets without an address
        name = ""
    if any(header in request.headers for header in _FORWARDED) or not is_loopback(name):
        raise Forbidden(
            "Without a password the studio is for this machine alone: open it as 127.0.0.1, or set "
            "SHOPWINDOW_REVIEW_PASSWORD and start it again."
        )


def is_loopback(host: str) -> bool:
    """Say whether a name or an address means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _has_token() -> bool:
    is_form = request.endpoint in ("studio.log_in", "studio.log_out")
    given = request.form.get("token", "") if is_form else request.headers.get("X-CSRF-Token", "")
    expected = str(session.get("token", ""))
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())
