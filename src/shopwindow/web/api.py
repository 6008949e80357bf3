"""The JSON API under /api/v1, and health checks. docs/api.md describes it for its users."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from shopwindow.bundle import Bundle, BundleInfo
from shopwindow.bundle.out_of_fold import without_answers
from shopwindow.errors import ImageError
from shopwindow.feedback.service import RECEIPT_LABELS
from shopwindow.inference.prediction import Prediction
from shopwindow.web.heatmap import heatmap_uri
from shopwindow.web.messages import in_words
from shopwindow.web.problem import Problem, note_image_errors
from shopwindow.web.similar import describe_gallery, similar_as_json
from shopwindow.web.state import app_state, feedback_or_404
from shopwindow.web.uploads import deadline, read_files, read_images

bp = Blueprint("api", __name__)


@bp.post("/api/v1/predict")
def predict() -> ResponseReturnValue:
    """Return one entry for each image: a prediction, or its problem."""
    state = app_state()
    state.batcher.require_room()  # before the request is read, as in the server's loop
    explain = _read_flag("explain")
    embed = _read_flag("embedding")
    similar = _read_flag("similar")
    blobs = read_images()
    with state.batcher.admit(deadline()) as admission:
        bundle = admission.predictor.bundle
        if embed and not bundle.info.embedding:
            raise BadRequest(
                "embedding: expected a model that gives embeddings; this one does not."
            )
        label_count = len(bundle.info.main.labels)
        top = _read_top(request.args.get("top"), state.settings.top, label_count)
        entries = admission.predict_bytes(
            blobs, top=max(top, RECEIPT_LABELS), explain=explain, embed=embed or similar
        )
    note_image_errors(entries)
    if len(entries) == 1 and isinstance(entries[0], ImageError):
        return Problem.from_image_error(entries[0]).as_response()
    predictions = [
        {"error": Problem.from_image_error(entry).as_json()}
        if isinstance(entry, ImageError)
        else _as_json(entry, bundle, blob, top=top, explain=explain, embed=embed)
        | (similar_as_json(entry, bundle) if similar else {})
        for entry, blob in zip(entries, blobs, strict=True)
    ]
    return jsonify(predictions=predictions, model=_name(bundle.info))


@bp.get("/api/v1/model")
def describe_model() -> Response:
    """Return what the model says about itself."""
    bundle = app_state().batcher.predictor.bundle
    described = bundle.info.as_json()
    described["input"] = described.pop("resize")
    # Answers to the photos that it learned from are only for those who have these photos.
    described["data"] = without_answers(described["data"])
    del described["format"]  # of the metadata in the file, and no concern of clients
    return jsonify(described | {"sha256": bundle.sha256, "gallery": describe_gallery(bundle)})


@bp.post("/api/v1/feedback")
def give_feedback() -> ResponseReturnValue:
    """Save feedback on an answer."""
    service = feedback_or_404()
    receipt, label, image = _read_feedback()
    return jsonify(service.save(receipt, label, image, deadline()).as_json()), 201


@bp.delete("/api/v1/feedback/<feedback_id>")
def undo_feedback(feedback_id: str) -> ResponseReturnValue:
    """Undo feedback, and delete its photo."""
    feedback_or_404().undo(feedback_id, request.headers.get("X-Undo-Token", ""))
    return "", 204


@bp.get("/health/live")
def live() -> Response:
    """Answer as long as the server runs."""
    return jsonify(status="ok")


@bp.get("/health/ready")
def ready() -> Response:
    """Say that the model answers: `serve` takes requests only once the model has run."""
    return jsonify(status="ready", model=_name(app_state().info))


def _as_json(
    prediction: Prediction, bundle: Bundle, blob: bytes, *, top: int, explain: bool, embed: bool
) -> dict[str, Any]:
    entry = prediction.as_json()
    entry["top"] = entry["top"][:top]
    if explain:
        entry["words"] = in_words(prediction, bundle.info).as_json()
        entry["heatmap"] = heatmap_uri(prediction.activation, bundle.info.rule)
    if embed and prediction.embedding is not None:
        entry["embedding"] = [round(number, 6) for number in prediction.embedding.tolist()]
    feedback = app_state().feedback
    if feedback is not None:
        entry["receipt"] = feedback.receipt(prediction, bundle, [blob])
    return entry


def _name(info: BundleInfo) -> dict[str, str]:
    return {"name": info.name, "version": info.version}


def _read_top(text: str | None, default: int, label_count: int) -> int:
    if text is None:
        return min(default, label_count)
    if text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= label_count:
        return int(text)
    raise BadRequest(f"top: expected a whole number from 1 to {label_count}, got {text[:40]!r}.")


def _read_flag(name: str) -> bool:
    text = request.args.get(name)
    if text not in (None, "true", "false"):
        raise BadRequest(f"{name}: expected true or false, got {text[:40]!r}.")
    return text == "true"


def _read_feedback() -> tuple[str, str, bytes | None]:
    """Return receipt, label and image of the current request.

    Raises:
        BadRequest: The receipt or the label is missing, or there are several images.
        UnsupportedMediaType: The body is neither a form nor JSON.
    """
    files: list[tuple[str, bytes]] = []
    if request.mimetype == "application/json":
        try:
            sent = request.get_json(silent=True)
        except RecursionError:  # brackets in brackets in brackets
            sent = None
        fields: Any = sent if isinstance(sent, dict) else {}
    elif request.mimetype in ("multipart/form-data", "application/x-www-form-urlencoded"):
        fields, files = request.form, read_files("image")
    else:
        raise UnsupportedMediaType(
            f"The content type is {request.mimetype or 'none'}. Send a form or JSON with 'receipt' "
            "and 'label'."
        )
    receipt, label = fields.get("receipt"), fields.get("label")
    if not isinstance(receipt, str) or not isinstance(label, str):
        raise BadRequest(
            "Expected two strings: 'receipt', which came with the answer, and 'label', which is "
            "empty for none of the labels."
        )
    if len(files) > 1:
        raise BadRequest(f"image: expected one image or none, found {len(files)}.")
    return receipt, label, files[0][1] if files else None
