"""The page and /about: everything here works without JavaScript."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    RequestEntityTooLarge,
    TooManyRequests,
)

from shopwindow.bundle import BundleInfo
from shopwindow.errors import BusyError, ImageError
from shopwindow.imaging.decode import ACCEPTED_FORMATS, decode_image
from shopwindow.imaging.preprocess import preprocess
from shopwindow.inference.batching import Batcher
from shopwindow.inference.prediction import Prediction
from shopwindow.settings import Settings
from shopwindow.web import wording
from shopwindow.web.preview import PREVIEW_SIDE_PX, Preview, make_preview
from shopwindow.web.problem import (
    Problem,
    as_http_error,
    http_error_in_words,
    note_image_errors,
    wants_json,
    with_headers_of,
)
from shopwindow.web.uploads import caller_of, read_field

_FIELD = "image-file"
_SHOWN_LABELS = 20
_FORMAT_NAMES = {"WEBP": "WebP"}


def make_pages(batcher: Batcher, settings: Settings) -> Blueprint:
    """Return the routes that answer in HTML."""
    pages = Blueprint("pages", __name__)
    formats = [_FORMAT_NAMES.get(name, name) for name in ACCEPTED_FORMATS]

    def describe(info: BundleInfo) -> dict[str, Any]:
        """Return what the page needs in every state, and its script to do the same in place."""
        labels = info.main.labels
        return {
            "question": wording.QUESTION,
            "summary": wording.summary_of(info),
            "field": _FIELD,
            "accept": ",".join(f"image/{name.lower()}" for name in ACCEPTED_FORMATS),
            "formats": wording.list_in_words(formats),
            # Twice what is enough, so that the server still has something to choose from.
            "least_px": 2 * max(info.rule.enough_px),
            "max_upload_bytes": settings.max_upload_bytes,
            "max_upload": wording.size_in_words(settings.max_upload_bytes),
            "top": min(settings.top, len(labels)),
            "label_count": len(labels),
            "shown_labels": _spread(labels, _SHOWN_LABELS),
            "levels": json.dumps(wording.LEVELS),
            "not_sure": wording.NOT_SURE,
            "sure_note": wording.sure_note(info.threshold),
            "unsure_note": wording.unsure_note(info.threshold),
        }

    def render_page(
        prediction: Prediction | None = None,
        preview: Preview | None = None,
        error: str | None = None,
        status: int = 200,
        info: BundleInfo | None = None,
    ) -> Response:
        info = info or batcher.predictor.bundle.info
        html = render_template(
            "page.html", **describe(info), prediction=prediction, preview=preview, error=error
        )
        return Response(html, status=status)

    @pages.get("/")
    def show_page() -> Response:
        return render_page()

    @pages.post("/")
    def answer() -> ResponseReturnValue:
        blobs = read_field(request, _FIELD)
        if not blobs:
            raise BadRequest("Choose a photo first.")
        try:
            with batcher.admit(caller_of(request, settings)) as ticket:
                info = ticket.predictor.bundle.info
                # Enough for the model and for the preview.
                height_px, width_px = (max(side, PREVIEW_SIDE_PX) for side in info.rule.enough_px)
                decode = partial(
                    decode_image, max_pixels=settings.max_pixels, least_px=(height_px, width_px)
                )
                image_hwc = ticket.decode(decode, blobs[0])
                (prediction,) = ticket.predict([preprocess(image_hwc, info.rule)], top=settings.top)
        except ImageError as error:
            note_image_errors([error])
            if wants_json():
                return Problem.from_image_error(error).as_response()
            return render_page(error=str(error), status=error.http_status)
        return render_page(prediction, make_preview(image_hwc), info=info)

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
            sha256=bundle.sha256,
            summary=wording.summary_of(bundle.info),
        )

    return pages


def _spread(labels: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Return at most `count` labels from all over the alphabet, not only its beginning."""
    if len(labels) <= count:
        return labels
    return tuple(labels[index * len(labels) // count] for index in range(count))
