"""Logging in with the owner's password, for /review and /studio alike."""

from __future__ import annotations

import hmac
import secrets

from flask import Response, render_template, request, session
from werkzeug.exceptions import TooManyRequests

from shopwindow.web.state import app_state

WRONG = "This password is wrong."


def password_is_right() -> bool:
    """Check the password of the current form. Each attempt is counted, and they are limited.

    Raises:
        TooManyRequests: This client has tried too often.
    """
    state = app_state()
    try:
        state.access.check_login(request.remote_addr, request.headers.get)
    except TooManyRequests:
        state.metrics.count_login("refused")
        raise
    password, given = state.settings.review_password, request.form.get("password", "")
    right = bool(password) and hmac.compare_digest(given.encode(), password.encode())
    state.metrics.count_login("in" if right else "wrong")
    return right


def start_session(epoch: object) -> None:
    """Let in who has given the password.

    Args:
        epoch: JSON-ready; it changes when all sessions end.
    """
    session.permanent = True
    session["in"] = epoch
    session["token"] = secrets.token_urlsafe()  # somebody may have planted the one before


def login_form(place: str, note: str, action: str, error: str = "") -> Response:
    """Return the form to log in; with an error, as a refusal."""
    html = render_template(
        "login.html", place=place, note=note, action=action, token=session["token"], error=error
    )
    return Response(html, status=403 if error else 200)
