"""Feedback without JavaScript: the forms of the page, and the page that confirms them."""

from __future__ import annotations

import base64

from flask import Blueprint, render_template, request
from werkzeug.exceptions import BadRequest

from shopwindow.plain_text import NONE_OF_THEM
from shopwindow.web.messages import feedback_words
from shopwindow.web.state import feedback_or_404
from shopwindow.web.uploads import deadline

bp = Blueprint("feedback", __name__)


@bp.post("/feedback")
def give() -> str:
    """Save feedback, as POST of the API does."""
    service = feedback_or_404()
    receipt, label = request.form.get("receipt"), request.form.get("label")
    if receipt is None or label is None:
        raise BadRequest("Use the form on the page with the answer to say what it is.")
    if label == NONE_OF_THEM:  # a list that requires a choice cannot have an empty one
        label = ""
    photo = _read_photo(request.form.get("photo", "")) if request.form.get("keep") else None
    saved = service.save(receipt, label, photo, deadline())
    words = feedback_words(service.keep_days, service.embeds)
    return render_template(
        "feedback.html",
        heading="Thank you",
        saved=saved,
        noted=words.noted(label),
        kept=words.kept_now(saved.kept_until),
        full=words.full if photo is not None and saved.kept_until is None else "",
    )


@bp.post("/feedback/undo")
def undo() -> str:
    """Undo feedback, as DELETE of the API does."""
    service = feedback_or_404()
    service.undo(request.form.get("id", ""), request.form.get("undo", ""))
    words = feedback_words(service.keep_days, service.embeds)
    return render_template(
        "feedback.html", heading="Feedback withdrawn", kept=words.undone, saved=None
    )


def _read_photo(text: str) -> bytes:
    """Return the preview that the page's form carries as text.

    Raises:
        BadRequest: The text is damaged.
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one
        raise BadRequest(
            "The photo did not arrive whole: choose it again, and then say what it is."
        ) from None
