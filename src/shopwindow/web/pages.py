"""The page and /about: everything here works without JavaScript."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    RequestEntityTooLarge,
    TooManyRequests,
)

from shopwindow.bundle import BundleInfo, arithmetic_of
from shopwindow.errors import BusyError
from shopwindow.imaging.formats import EMPTY_FILE, ENDINGS, MEDIA_TYPES
from shopwindow.imaging.limits import ImageLimits
from shopwindow.inference.batching import Batcher
from shopwindow.settings import Settings
from shopwindow.web import messages
from shopwindow.web.answers import Answer, answer_all
from shopwindow.web.examples import Example, find_examples
from shopwindow.web.feedback_service import FeedbackService
from shopwindow.web.heatmap import FIT
from shopwindow.web.problem import (
    Problem,
    as_http_error,
    http_error_in_words,
    note_image_errors,
    wants_json,
    with_headers_of,
)
from shopwindow.web.uploads import caller_of, read_files, too_many_files

_FIELD = "image-file"
_SHOWN_LABELS = 20
_FORMAT_NAMES = {"WEBP": "WebP"}


def make_pages(
    batcher: Batcher, settings: Settings, feedback_service: FeedbackService | None
) -> Blueprint:
    """Return the routes that answer in HTML."""
    pages = Blueprint("pages", __name__)
    limits = ImageLimits.of(settings)
    formats = [_FORMAT_NAMES.get(name, name) for name in limits.formats]

    # The browser makes photos smaller as JPEGs; nothing is so large where these are not accepted.
    never_px = 10**9

    def examples_of(info: BundleInfo) -> dict[str, Example]:
        found = find_examples(info.name)
        return {name: one for name, one in found.items() if one.format in limits.formats}

    def describe(info: BundleInfo) -> dict[str, Any]:
        """Return what the page needs in every state, and its script to do the same in place."""
        labels = info.main.labels
        return {
            "question": messages.QUESTION,
            "summary": messages.summary_of(info),
            "field": _FIELD,
            "accept": ",".join(
                one for name in limits.formats for one in MEDIA_TYPES[name] + ENDINGS.get(name, ())
            ),
            "empty": EMPTY_FILE,
            "formats": messages.list_in_words(formats),
            # Twice what is enough, so that the server still has something to choose from.
            "least_px": 2 * max(info.rule.enough_px) if "JPEG" in limits.formats else never_px,
            "max_upload_bytes": settings.max_upload_bytes,
            "max_upload": messages.size_in_words(settings.max_upload_bytes),
            "top": min(settings.top, len(labels)),
            "label_count": len(labels),
            "labels": labels,
            "shown_labels": _spread(labels, _SHOWN_LABELS),
            "fit": FIT[info.rule.method],
            "feedback": feedback_service and messages.feedback_words(feedback_service.keep_days),
            "examples": list(examples_of(info).values()),
        }

    def render_page(
        answers: Sequence[Answer] = (),
        error: str = "",
        status: int = 200,
        info: BundleInfo | None = None,
    ) -> Response:
        info = info or batcher.predictor.bundle.info
        html = render_template("page.html", **describe(info), answers=answers, error=error)
        return Response(html, status=status)

    def answer_files(files: Sequence[tuple[str, bytes]]) -> Response:
        with batcher.admit(caller_of(request, settings)) as admission:
            info = admission.predictor.bundle.info
            answers = answer_all(
                admission, files, top=settings.top, limits=limits, feedback_service=feedback_service
            )
        errors = [one.error for one in answers if one.error is not None]
        note_image_errors(errors)
        if len(answers) == 1 and errors:
            if wants_json():
                return Problem.from_image_error(errors[0]).as_response()
            return render_page(error=str(errors[0]), status=errors[0].http_status)
        return render_page(answers, info=info)

    @pages.get("/")
    def show_page() -> Response:
        examples = examples_of(batcher.predictor.bundle.info)
        example = examples.get(request.args.get("example", ""))
        if example is None:
            return render_page()
        return answer_files([(example.name, example.content)])

    @pages.get("/examples/<name>")
    def show_example(name: str) -> Response:
        examples = examples_of(batcher.predictor.bundle.info)
        if name not in examples:
            abort(404)
        return Response(examples[name].content, mimetype=examples[name].media_type)

    @pages.post("/")
    def answer() -> ResponseReturnValue:
        files = read_files(request, _FIELD)
        if not files:
            raise BadRequest("Choose a photo first.")
        if len(files) > settings.max_files:
            raise too_many_files(len(files), settings.max_files)
        return answer_files(files)

    @pages.errorhandler(BadRequest)
    @pages.errorhandler(RequestEntityTooLarge)
    @pages.errorhandler(TooManyRequests)
    def refuse_on_the_page(error: HTTPException) -> Response:
        if wants_json():
            response = Problem.from_http_error(error).as_response()
        else:
            response = render_page(error=http_error_in_words(error), status=error.code or 500)
        return with_headers_of(error, response)

    @pages.errorhandler(BusyError)
    def ask_to_come_back(error: BusyError) -> Response:
        return refuse_on_the_page(as_http_error(error))

    @pages.get("/about")
    def about() -> str:
        bundle = batcher.predictor.bundle
        return render_template(
            "about.html",
            info=bundle.info,
            measured=bundle.info.quality_table,
            sha256=bundle.sha256,
            arithmetic=arithmetic_of(bundle.model),
            summary=messages.summary_of(bundle.info),
        )

    return pages


def _spread(labels: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Return at most `count` labels from all over the alphabet, not only its beginning."""
    if len(labels) <= count:
        return labels
    return tuple(labels[index * len(labels) // count] for index in range(count))
