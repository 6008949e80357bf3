"""Similar items of the gallery: `/api/v1/similar`, their thumbnails, and what the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from flask import Blueprint, Response, abort, current_app, jsonify, request, url_for
from flask.typing import ResponseReturnValue
from numpy.typing import NDArray
from werkzeug.exceptions import BadRequest, ServiceUnavailable

from shopwindow.bundle import Bundle
from shopwindow.errors import GalleryError, ImageError
from shopwindow.gallery.gallery_file import Gallery, SimilarItem
from shopwindow.inference.prediction import Prediction
from shopwindow.web.answers import FindSimilar
from shopwindow.web.problem import Problem, note_image_errors
from shopwindow.web.state import app_state
from shopwindow.web.uploads import deadline, read_images

bp = Blueprint("similar", __name__)

SHOWN = 6
MOST = 100
_YEAR_S = 365 * 24 * 3600


@bp.post("/api/v1/similar")
def find() -> ResponseReturnValue:
    """Return the items of the gallery that look most like one image."""
    state = app_state()
    gallery = _gallery()
    state.batcher.require_room()  # before the request is read, as in the server's loop
    count = _read_count(request.args.get("top"))
    blobs = read_images()
    if len(blobs) > 1:
        raise BadRequest(f"image: expected one image, found {len(blobs)}.")
    with state.batcher.admit(deadline()) as admission:
        bundle = admission.predictor.bundle
        if not gallery.fits(bundle):
            raise ServiceUnavailable(
                "Similar items are off: another model made the gallery than the one that is served "
                "now. Its owner can make it again with shopwindow gallery."
            )
        (entry,) = admission.predict_bytes(blobs, top=1, embed=True)
    if isinstance(entry, ImageError):
        note_image_errors([entry])
        return Problem.from_image_error(entry).as_response()
    assert entry.embedding is not None  # noqa: S101 (the bundle that made a gallery has one)
    try:
        items = gallery.similar(entry.embedding, count)
    except GalleryError as error:
        _complain(error)
        raise ServiceUnavailable("The gallery cannot be read right now.") from error
    info = bundle.info
    return jsonify(
        items=[as_json(item, gallery) for item in items],
        model={"name": info.name, "version": info.version},
    )


@bp.get("/gallery/<version>/<int:number>.jpg")
def thumbnail(version: str, number: int) -> Response:
    """Return the thumbnail of an item; of another version of the gallery, none."""
    gallery = _gallery()
    if version != gallery.version:
        abort(404)
    try:
        jpeg = gallery.thumbnail(number) or abort(404)
    except GalleryError as error:
        _complain(error)
        abort(404)
    response = Response(jpeg, mimetype="image/jpeg")
    # Private: where there is a key, a proxy must not hand it to others.
    response.headers["Cache-Control"] = f"private, max-age={_YEAR_S}, immutable"
    return response


def finder(bundle: Bundle) -> FindSimilar | None:
    """Return what finds the items that the page shows; None where this model has no gallery."""
    gallery = app_state().gallery
    if gallery is None or not gallery.fits(bundle):
        return None
    return partial(_find, gallery)


def similar_as_json(prediction: Prediction, bundle: Bundle) -> dict[str, Any]:
    """Return `similar` of a prediction: the items that the page shows; null where it has none."""
    gallery, find_items = app_state().gallery, finder(bundle)
    if gallery is None or find_items is None or prediction.embedding is None:
        return {"similar": None}
    return {"similar": [as_json(item, gallery) for item in find_items(prediction.embedding)]}


def describe_gallery(bundle: Bundle) -> dict[str, Any] | None:
    """Return how many items the gallery has, and whether they are shown; None without one.

    They are not where another model than this made it.
    """
    gallery = app_state().gallery
    return None if gallery is None else {"items": len(gallery), "on": gallery.fits(bundle)}


def as_json(item: SimilarItem, gallery: Gallery) -> dict[str, Any]:
    """Return an item as JSON-ready data; what it does not have is null."""
    address = url_for("similar.thumbnail", version=gallery.version, number=item.number)
    return {
        "id": item.id,
        "title": item.title or None,
        "link": item.link or None,
        "label": item.label or None,
        "thumbnail": address,
        # Half precision may make it a little more than 1.
        "similarity": round(min(1.0, max(-1.0, item.similarity)), 6),
    }


def _find(gallery: Gallery, embedding: NDArray[np.float32]) -> Sequence[SimilarItem]:
    """Return the items that the page shows; an answer is worth more than they are."""
    try:
        return gallery.similar(embedding, SHOWN)
    except GalleryError as error:
        _complain(error)
        return ()


def _gallery() -> Gallery:
    """Return the gallery; an app without one has none of the addresses above."""
    gallery = app_state().gallery
    assert gallery is not None  # noqa: S101
    return gallery


def _complain(error: GalleryError) -> None:
    current_app.logger.error("Similar items could not be read: %s", error)


def _read_count(text: str | None) -> int:
    if text is None:
        return SHOWN
    if text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MOST:
        return int(text)
    raise BadRequest(f"top: expected a whole number from 1 to {MOST}, got {text[:40]!r}.")
