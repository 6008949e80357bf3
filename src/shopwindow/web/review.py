"""/review: its owner judges what visitors said, and sees what it says about the model.

Everything works without JavaScript; the script only adds keys. Whoever is in has a signed cookie
that no script can read and no other site can send, and every form carries a token besides.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import timedelta

from flask import Blueprint, Flask, Response, redirect, render_template, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    TooManyRequests,
    UnprocessableEntity,
)

from shopwindow.bundle import BundleInfo
from shopwindow.feedback.feedback import Feedback, Status
from shopwindow.inference.batching import Batcher
from shopwindow.settings import Settings
from shopwindow.web.feedback_service import FeedbackService
from shopwindow.web.metrics import Metrics
from shopwindow.web.security import Access, RateLimit

_ATTEMPTS_A_MINUTE = 10
_STAYS_IN = timedelta(hours=12)
_TAKEN_BACK = "This feedback is not kept any more; its sender has taken it back."
_STATUSES: dict[str, Status] = {
    "accept": "accepted",
    "change": "changed",
    "discard": "discarded",
    "reopen": "pending",
}


class _ReviewSession(SecureCookieSessionInterface):
    """A session whose cookie never travels in the clear where the request did not."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def add_review(
    app: Flask,
    feedback_service: FeedbackService,
    batcher: Batcher,
    settings: Settings,
    metrics: Metrics,
    access: Access,
) -> None:
    """Add the routes under /review, and the session that they need."""
    password = settings.review_password
    # Another password ends every session: the cookie is signed with it too.
    app.secret_key = hmac.digest(
        feedback_service.key, b"review " + password.encode(), hashlib.sha256
    )
    app.session_interface = _ReviewSession()
    app.permanent_session_lifetime = _STAYS_IN
    app.config.update(
        SESSION_COOKIE_NAME="shopwindow-review",
        SESSION_COOKIE_PATH="/review",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
    )
    review = Blueprint("review", __name__, url_prefix="/review")
    attempts = RateLimit(_ATTEMPTS_A_MINUTE)

    def is_in() -> bool:
        return "in" in session and session["in"] == feedback_service.store.sessions()

    @review.before_request
    def let_in() -> ResponseReturnValue | None:
        if not password:
            raise Forbidden(
                "Nobody can review yet: set SHOPWINDOW_REVIEW_PASSWORD to 16 characters or more, "
                "without spaces, and start the server again."
            )
        if request.method == "POST" and not _is_ours(request.form.get("token", "")):
            raise BadRequest("This form is too old, or its cookie is missing. Open /review again.")
        if is_in() or request.endpoint in ("review.show", "review.log_in"):
            return None
        return redirect(url_for("review.show"), 303)

    @review.get("")
    def show() -> ResponseReturnValue:
        if not is_in():
            return _login_form()
        skip = _read_skip(request.args.get("skip"))
        item = feedback_service.store.queue(skip=skip)
        done = feedback_service.store.find(request.args.get("done", ""))
        return render_template(
            "review.html",
            token=session["token"],
            item=item,
            done=done,
            skip=skip,
            waiting=feedback_service.store.waiting(),
            labels=() if item is None else _labels(batcher.predictor.bundle.info, item),
            kept_until=None if item is None else feedback_service.store.kept_until(item.id),
        )

    @review.post("/login")
    def log_in() -> ResponseReturnValue:
        client = access.clients.client_of(request.remote_addr, request.headers.get)
        # Of a client that cannot be told from others, attempts are not counted: the password is
        # too long to be guessed, and a stranger would lock its owner out.
        if client is not None and attempts.take(client) > 0:
            metrics.tried_to_log_in("refused")
            raise TooManyRequests(
                "That were too many attempts: please try again in a minute.", retry_after=60
            )
        given = request.form.get("password", "")
        if not hmac.compare_digest(given.encode(), password.encode()):
            metrics.tried_to_log_in("wrong")
            return _login_form("This is not the password.", status=403)
        metrics.tried_to_log_in("in")
        session.permanent = True
        session["in"] = feedback_service.store.sessions()
        session["token"] = secrets.token_urlsafe()  # somebody may have planted the one before
        return redirect(url_for("review.show"), 303)

    @review.post("/logout")
    def log_out() -> ResponseReturnValue:
        feedback_service.store.end_sessions()
        session.clear()
        return redirect(url_for("review.show"), 303)

    @review.post("/<feedback_id>")
    def judge(feedback_id: str) -> ResponseReturnValue:
        skip = _read_skip(request.form.get("skip"))
        decision = request.form.get("decision", "")
        if decision == "later":
            return redirect(url_for("review.show", skip=skip + 1), 303)
        if decision not in _STATUSES:
            raise BadRequest(f"decision: expected later or one of {', '.join(_STATUSES)}.")
        item = feedback_service.store.find(feedback_id)
        if item is None:
            raise NotFound(_TAKEN_BACK)
        label = item.given
        if decision == "accept" and request.form.get("given", "") != (label or ""):
            raise Conflict(
                "Its sender has said something else meanwhile: open /review again, and judge that."
            )
        if decision == "change":
            label = request.form.get("label", "") or None
            if label is not None and label not in _labels(batcher.predictor.bundle.info, item):
                raise UnprocessableEntity("label: expected one of the model's labels.")
        status = _STATUSES[decision]
        if status == "changed" and label == item.given:
            status = "accepted"
        if not feedback_service.store.review(
            feedback_id, status, label
        ):  # taken back since it was looked up
            raise NotFound(_TAKEN_BACK)
        metrics.reviewed(status)
        done = None if status == "pending" else feedback_id
        return redirect(url_for("review.show", skip=skip or None, done=done), 303)

    @review.get("/photo/<feedback_id>")
    def show_photo(feedback_id: str) -> Response:
        photo = feedback_service.store.photo(feedback_id)
        if photo is None:
            raise NotFound("This photo is not kept any more.")
        return Response(photo.content, mimetype=photo.media_type)

    @review.get("/figures")
    def show_figures() -> str:
        return render_template(
            "figures.html", token=session["token"], figures=feedback_service.store.figures()
        )

    app.register_blueprint(review)


def _login_form(error: str = "", status: int = 200) -> Response:
    token = session.setdefault("token", secrets.token_urlsafe())
    return Response(render_template("login.html", token=token, error=error), status=status)


def _is_ours(token: str) -> bool:
    expected = str(session.get("token", ""))
    return bool(expected) and hmac.compare_digest(token.encode(), expected.encode())


def _read_skip(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 9 else 0


def _labels(info: BundleInfo, item: Feedback) -> tuple[str, ...]:
    """Return what a reviewer may choose from, in the order of the alphabet."""
    known = {*info.main.labels} if info.main.name == item.column else set()
    said = {one.label for one in item.top} | ({item.given} if item.given else set())
    return tuple(sorted(known | said, key=str.casefold))
