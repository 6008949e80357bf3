"""/review: the owner judges feedback, and sees what it says about the model.

Everything works without JavaScript; the script only adds keys. A reviewer has a signed cookie that
no script can read and no other site can send, and every form carries a token besides.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from flask import Blueprint, Flask, Response, redirect, render_template, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    UnprocessableEntity,
)

from shopwindow.feedback.drift import MIN_PHOTOS
from shopwindow.feedback.feedback import Feedback, Status
from shopwindow.web.drift_watch import FARTHEST
from shopwindow.web.login import WRONG, login_form, password_is_right, start_session
from shopwindow.web.state import STUDIO, app_state, feedback_or_404

if TYPE_CHECKING:  # it imports SQLAlchemy, which takes its time
    from shopwindow.feedback.store import FeedbackStore

bp = Blueprint("review", __name__, url_prefix="/review")

_SESSION_LENGTH = timedelta(hours=12)
_GONE = "This feedback is not stored any more: its sender has withdrawn it."
_STATUSES: dict[str, Status] = {
    "accept": "accepted",
    "change": "changed",
    "discard": "discarded",
    "reopen": "pending",
}


_REVIEW, _STUDIO = "/review", "/studio"  # each has a cookie of its own


class _ReviewSession(SecureCookieSessionInterface):
    """A session whose cookie is for https alone where the request came that way.

    /review and /studio have a cookie each, which is sent to no other page.
    """

    def get_cookie_name(self, app: Flask) -> str:
        if not _in_studio() or STUDIO not in app.extensions:
            return super().get_cookie_name(app)
        # Cookies know no ports: two studios on one machine must not take each other's.
        return f"{STUDIO}-{app.extensions[STUDIO].studio.versions.project_id}"

    def get_cookie_path(self, app: Flask) -> str:
        return request.script_root + (_STUDIO if _in_studio() else _REVIEW)

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def _in_studio() -> bool:
    return request.path == _STUDIO or request.path.startswith(f"{_STUDIO}/")


def set_up_sessions(app: Flask) -> None:
    """Set how sessions are kept; there are none before `app.secret_key` is set."""
    app.session_interface = _ReviewSession()
    app.permanent_session_lifetime = _SESSION_LENGTH
    app.config.update(
        SESSION_COOKIE_NAME="shopwindow-review",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
    )


def session_key(key: bytes, password: str) -> bytes:
    """Return what cookies are signed with; another password ends every session."""
    return hmac.digest(key, b"review " + password.encode(), hashlib.sha256)


@bp.before_request
def check_reviewer() -> ResponseReturnValue | None:
    """Let in those who have logged in, and those who want to."""
    feedback_or_404()
    if not app_state().settings.review_password:
        raise Forbidden(
            "Review is off: set SHOPWINDOW_REVIEW_PASSWORD to 16 characters or more, without "
            "spaces, and start the server again."
        )
    if request.method == "POST" and not _has_token():
        raise BadRequest("This form is too old, or its cookie is missing. Open /review again.")
    if _is_logged_in() or request.endpoint in ("review.show", "review.log_in"):
        return None
    return redirect(url_for("review.show"), 303)


@bp.get("")
def show() -> ResponseReturnValue:
    """Show the next feedback in the queue, or the form to log in."""
    if not _is_logged_in():
        return _login_form()
    store = _store()
    skip = _read_skip(request.args.get("skip"))
    chosen = store.find(request.args.get("item", ""))  # on the map of /review/figures
    if chosen is not None and chosen.has_photo:
        item: Feedback | None = chosen
    else:
        model_sha256 = app_state().batcher.predictor.bundle.sha256
        item = store.queue(skip=skip, model_sha256=model_sha256)
    return render_template(
        "review.html",
        token=session["token"],
        item=item,
        done=store.find(request.args.get("done", "")),
        skip=skip,
        waiting=store.waiting(),
        labels=() if item is None else _labels(item),
        kept_until=None if item is None else store.kept_until(item.id),
    )


@bp.post("/login")
def log_in() -> ResponseReturnValue:
    """Start a session for whoever knows the password."""
    if not password_is_right():
        return _login_form(WRONG)
    start_session(_store().sessions())
    return redirect(url_for("review.show"), 303)


@bp.post("/logout")
def log_out() -> ResponseReturnValue:
    """End all sessions, on every device."""
    _store().end_sessions()
    session.clear()
    return redirect(url_for("review.show"), 303)


@bp.post("/<feedback_id>")
def judge(feedback_id: str) -> ResponseReturnValue:
    """Record a decision, and show the next feedback."""
    skip = _read_skip(request.form.get("skip"))
    decision = request.form.get("decision", "")
    if decision == "later":
        return redirect(url_for("review.show", skip=skip + 1), 303)
    if decision not in _STATUSES:
        raise BadRequest(f"decision: expected later or one of {', '.join(_STATUSES)}.")
    item = _store().find(feedback_id)
    if item is None:
        raise NotFound(_GONE)
    label = item.given
    if decision == "accept" and request.form.get("given", "") != (label or ""):
        raise Conflict("Its sender has changed this feedback: open /review again, and judge that.")
    if decision == "change":
        label = request.form.get("label", "") or None
        if label is not None and label not in _labels(item):
            raise UnprocessableEntity("label: expected one of the model's labels.")
    status = _STATUSES[decision]
    if status == "changed" and label == item.given:
        status = "accepted"
    if not _store().review(feedback_id, status, label):  # undone since it was looked up
        raise NotFound(_GONE)
    app_state().metrics.count_review(status)
    done = None if status == "pending" else feedback_id
    return redirect(url_for("review.show", skip=skip or None, done=done), 303)


@bp.get("/photo/<feedback_id>")
def show_photo(feedback_id: str) -> Response:
    """Return the photo of some feedback."""
    photo = _store().photo(feedback_id)
    if photo is None:
        raise NotFound("This photo is not stored any more.")
    return Response(photo.content, mimetype=photo.media_type)


@bp.get("/figures")
def show_figures() -> str:
    """Show what all feedback together says about the model."""
    store = _store()
    state = app_state()
    drift = state.drift.look(store, state.batcher.predictor.bundle)
    return render_template(
        "figures.html",
        token=session["token"],
        figures=store.stats(),
        drift=drift,
        items=store.find_all(drift.shown) if drift else {},
        least=MIN_PHOTOS,
        farthest=FARTHEST,
    )


def _store() -> FeedbackStore:
    return feedback_or_404().store


def _is_logged_in() -> bool:
    return "in" in session and session["in"] == _store().sessions()


def _has_token() -> bool:
    token, expected = request.form.get("token", ""), str(session.get("token", ""))
    return bool(expected) and hmac.compare_digest(token.encode(), expected.encode())


def _login_form(error: str = "") -> Response:
    session.setdefault("token", secrets.token_urlsafe())
    note = "This is where the owner of this server reviews feedback from visitors."
    return login_form("Review", note, url_for("review.log_in"), error)


def _read_skip(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 9 else 0


def _labels(item: Feedback) -> tuple[str, ...]:
    """Return what a reviewer may choose from, in alphabetical order."""
    main = app_state().info.main
    known = {*main.labels} if main.name == item.column else set()
    mentioned = {score.label for score in item.top} | ({item.given} if item.given else set())
    return tuple(sorted(known | mentioned, key=str.casefold))
