"""The page and /about. Everything here works without JavaScript."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, TooManyRequests

from shopwindow.bundle import BundleInfo, arithmetic_of
from shopwindow.errors import BusyError
from shopwindow.imaging.formats import EMPTY_FILE, ENDINGS, MEDIA_TYPES
from shopwindow.imaging.limits import ImageLimits
from shopwindow.plain_text import NONE_OF_THEM
from shopwindow.web import messages
from shopwindow.web.answers import Answer, answer_all
from shopwindow.web.examples import Example, find_examples
from shopwindow.web.heatmap import FIT
from shopwindow.web.problem import (
    Problem,
    as_http_error,
    note_image_errors,
    sentence_of,
    wants_json,
    with_headers_of,
)
from shopwindow.web.similar import finder
from shopwindow.web.state import app_state
from shopwindow.web.uploads import check_count, deadline, read_files

bp = Blueprint("pages", __name__)

_FIELD = "image-file"
_SHOWN_LABELS = 20
_FORMAT_NAMES = {"WEBP": "WebP"}
# More than any photo has: the script leaves photos as they are.
_NEVER_SHRINK_PX = 10**9


@bp.get("/")
def show_page() -> Response:
    """Show the empty page, or the answer to an example."""
    example = _examples(app_state().info).get(request.args.get("example", ""))
    return _answer([(example.name, example.content)]) if example else _render()


@bp.post("/")
def answer() -> ResponseReturnValue:
    """Show the page with the answers to the files of the form."""
    files = read_files(_FIELD)
    if not files:
        raise BadRequest("Choose a photo first.")
    check_count(files)
    return _answer(files)


@bp.get("/examples/<name>")
def show_example(name: str) -> Response:
    """Return the picture of an example."""
    example = _examples(app_state().info).get(name) or abort(404)
    return Response(example.content, mimetype=example.media_type)


@bp.get("/about")
def about() -> str:
    """Show what is known about the model."""
    bundle = app_state().batcher.predictor.bundle
    return render_template(
        "about.html",
        info=bundle.info,
        measured=bundle.info.quality_table,
        sha256=bundle.sha256,
        arithmetic=arithmetic_of(bundle.model),
        summary=messages.summary_of(bundle.info),
    )


@bp.errorhandler(BadRequest)
@bp.errorhandler(RequestEntityTooLarge)
@bp.errorhandler(TooManyRequests)
def refuse_on_the_page(error: HTTPException) -> Response:
    """Show an error on the page itself, where the visitor can choose another photo."""
    if wants_json():
        response = Problem.from_http_error(error).as_response()
    else:
        response = _render(error=sentence_of(error), status=error.code or 500)
    return with_headers_of(error, response)


@bp.errorhandler(BusyError)
def refuse_when_busy(error: BusyError) -> Response:
    """Show on the page that there is no room or no time for an answer."""
    return refuse_on_the_page(as_http_error(error))


def _answer(files: Sequence[tuple[str, bytes]]) -> Response:
    state = app_state()
    with state.batcher.admit(deadline()) as admission:
        answers = answer_all(
            admission,
            files,
            top=state.settings.top,
            limits=ImageLimits.of(state.settings),
            feedback=state.feedback,
            find_similar=finder(admission.predictor.bundle),
        )
    errors = [answer.error for answer in answers if answer.error is not None]
    note_image_errors(errors)
    if len(answers) == 1 and errors:
        if wants_json():
            return Problem.from_image_error(errors[0]).as_response()
        return _render(error=str(errors[0]), status=errors[0].http_status)
    return _render(answers, info=admission.predictor.bundle.info)


def _render(
    answers: Sequence[Answer] = (),
    error: str = "",
    status: int = 200,
    info: BundleInfo | None = None,
) -> Response:
    context = _page_context(info or app_state().info)
    html = render_template("page.html", **context, answers=answers, error=error)
    return Response(html, status=status)


def _page_context(info: BundleInfo) -> dict[str, Any]:
    """Return what the page needs in every state; its script needs the same."""
    state = app_state()
    settings, labels, service = state.settings, info.main.labels, state.feedback
    formats = settings.accepted_formats
    return {
        "question": messages.QUESTION,
        "summary": messages.summary_of(info),
        "field": _FIELD,
        "accept": ",".join(
            kind for name in formats for kind in MEDIA_TYPES[name] + ENDINGS.get(name, ())
        ),
        "empty": EMPTY_FILE,
        "formats": messages.list_in_words([_FORMAT_NAMES.get(name, name) for name in formats]),
        # The script shrinks photos to JPEGs. Twice what is enough leaves the server a choice.
        "least_px": 2 * max(info.rule.enough_px) if "JPEG" in formats else _NEVER_SHRINK_PX,
        "max_upload_bytes": settings.max_upload_bytes,
        "max_upload": messages.size_in_words(settings.max_upload_bytes),
        "top": min(settings.top, len(labels)),
        "label_count": len(labels),
        "labels": labels,
        "none_of_them": NONE_OF_THEM,
        "shown_labels": _spread(labels, _SHOWN_LABELS),
        "fit": FIT[info.rule.method],
        "feedback": service and messages.feedback_words(service.keep_days, service.embeds),
        "gallery": state.gallery,
        "examples": list(_examples(info).values()),
    }


def _examples(info: BundleInfo) -> dict[str, Example]:
    formats = app_state().settings.accepted_formats
    found = find_examples(info.name)
    return {name: example for name, example in found.items() if example.format in formats}


def _spread(labels: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Return at most `count` labels from all over the alphabet, not only its beginning."""
    if len(labels) <= count:
        return labels
    return tuple(labels[index * len(labels) // count] for index in range(count))
