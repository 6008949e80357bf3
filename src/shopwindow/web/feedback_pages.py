"""Feedback from the page without JavaScript: a form is sent, and a page says what came of it."""

from __future__ import annotations

import base64

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from shopwindow.settings import Settings
from shopwindow.web.feedback_service import FeedbackService
from shopwindow.web.messages import feedback_words
from shopwindow.web.uploads import caller_of

# As page.html has it: in a list from which something must be chosen, an empty value is nothing.
_NONE = "(none of these)"


def make_feedback_pages(feedback_service: FeedbackService, settings: Settings) -> Blueprint:
    """Return the routes of the forms; they do what POST and DELETE of the API do."""
    told = Blueprint("told", __name__)

    @told.post("/feedback")
    def take() -> ResponseReturnValue:
        receipt, label = request.form.get("receipt"), request.form.get("label")
        if receipt is None or label is None:
            raise BadRequest("Say what it is on the page with the answer, and send it from there.")
        if label == _NONE:
            label = ""
        photo = _read_photo(request.form.get("photo", "")) if request.form.get("keep") else None
        taken = feedback_service.take(receipt, label, photo, caller_of(request, settings))
        words = feedback_words(feedback_service.keep_days)
        return render_template(
            "told.html",
            heading="Thank you",
            taken=taken,
            noted=words.noted(label),
            kept=words.kept_now(taken.kept_until),
            full=words.full if photo is not None and taken.kept_until is None else "",
        )

    @told.post("/feedback/undo")
    def undo() -> ResponseReturnValue:
        feedback_service.undo(request.form.get("id", ""), request.form.get("undo", ""))
        words = feedback_words(feedback_service.keep_days)
        return render_template("told.html", heading="Taken back", kept=words.undone, taken=None)

    return told


def _read_photo(text: str) -> bytes:
    """Return the page's own preview, which its form has as text.

    Raises:
        BadRequest: It is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # of which binascii's own is one
        raise BadRequest(
            "The photo did not arrive whole: choose it again, and then say what it is."
        ) from None
