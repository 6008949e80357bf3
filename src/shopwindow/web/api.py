"""The JSON API under /api/v1, and health. Described for its users in docs/api.md."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Request, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from shopwindow.bundle import Bundle, BundleInfo
from shopwindow.bundle.out_of_fold import without_answers
from shopwindow.errors import ImageError
from shopwindow.inference.batching import Batcher
from shopwindow.inference.prediction import Prediction
from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.answers import map_of
from shopwindow.web.feedback_service import LISTED, FeedbackService
from shopwindow.web.messages import in_words
from shopwindow.web.problem import Problem, note_image_errors
from shopwindow.web.uploads import caller_of, read_files, read_images


def make_api(
    batcher: Batcher, settings: Settings, feedback_service: FeedbackService | None
) -> Blueprint:
    """Return the routes that answer in JSON; those for feedback only where there is a desk."""
    api = Blueprint("api", __name__)

    @api.post("/api/v1/predict")
    def predict() -> ResponseReturnValue:
        batcher.require_room()  # before the request is read, as in the server's loop
        explain = _read_explain(request.args.get("explain"))
        blobs = read_images(request, max_files=settings.max_files)
        with batcher.admit(caller_of(request, settings)) as admission:
            bundle = admission.predictor.bundle
            info = bundle.info
            top = _read_top(
                request.args.get("top"), default=settings.top, label_count=len(info.main.labels)
            )
            entries = admission.predict_bytes(blobs, top=max(top, LISTED), explain=explain)
        note_image_errors(entries)
        if len(entries) == 1 and isinstance(entries[0], ImageError):
            return Problem.from_image_error(entries[0]).as_response()
        predictions = [
            {"error": Problem.from_image_error(entry).as_json()}
            if isinstance(entry, ImageError)
            else _answer(
                entry, bundle, blob, top=top, explain=explain, feedback_service=feedback_service
            )
            for entry, blob in zip(entries, blobs, strict=True)
        ]
        return jsonify(predictions=predictions, model=_name(info))

    @api.get("/api/v1/model")
    def describe_model() -> Response:
        return jsonify(_describe(batcher.predictor))

    @api.get("/health/live")
    def live() -> Response:
        return jsonify(status="ok")

    @api.get("/health/ready")
    def ready() -> Response:
        # `serve` answers its first request only after the model has run once.
        return jsonify(status="ready", model=_name(batcher.predictor.bundle.info))

    if feedback_service is not None:
        _add_feedback(api, feedback_service, settings)
    return api


def _add_feedback(api: Blueprint, feedback_service: FeedbackService, settings: Settings) -> None:
    @api.post("/api/v1/feedback")
    def give_feedback() -> ResponseReturnValue:
        receipt, label, image = _read_feedback(request)
        taken = feedback_service.take(receipt, label, image, caller_of(request, settings))
        return jsonify(taken.as_json()), 201

    @api.delete("/api/v1/feedback/<feedback_id>")
    def take_feedback_back(feedback_id: str) -> ResponseReturnValue:
        feedback_service.undo(feedback_id, request.headers.get("X-Undo-Token", ""))
        return "", 204


def _answer(
    entry: Prediction,
    bundle: Bundle,
    blob: bytes,
    *,
    top: int,
    explain: bool,
    feedback_service: FeedbackService | None,
) -> dict[str, Any]:
    answer = entry.as_json()
    answer["top"] = answer["top"][:top]
    if explain:
        answer |= _explanation(entry, bundle.info)
    if feedback_service is not None:
        answer["receipt"] = feedback_service.receipt(entry, bundle, [blob])
    return answer


def _read_feedback(request: Request) -> tuple[str, str, bytes | None]:
    """Return receipt, label and picture of a request.

    Raises:
        BadRequest: One of the first two is missing, or there are several pictures.
        UnsupportedMediaType: Neither a form nor JSON.
    """
    if request.mimetype == "application/json":
        try:
            sent = request.get_json(silent=True)
        except RecursionError:  # brackets in brackets in brackets
            sent = None
        fields: Any = sent if isinstance(sent, dict) else {}
        files = []
    elif request.mimetype in ("multipart/form-data", "application/x-www-form-urlencoded"):
        fields, files = request.form, read_files(request, "image")
    else:
        raise UnsupportedMediaType(
            f"The content type is {request.mimetype or 'none'}. Send a form or JSON with 'receipt' "
            "and 'label'."
        )
    receipt, label = fields.get("receipt"), fields.get("label")
    if not isinstance(receipt, str) or not isinstance(label, str):
        raise BadRequest(
            "Expected the texts 'receipt', which came with the answer, and 'label', which may be "
            "empty for none of the labels."
        )
    if len(files) > 1:
        raise BadRequest(f"image: expected one picture or none, found {len(files)}.")
    return receipt, label, files[0][1] if files else None


def _name(info: BundleInfo) -> dict[str, str]:
    return {"name": info.name, "version": info.version}


def _read_top(text: str | None, *, default: int, label_count: int) -> int:
    if text is None:
        return min(default, label_count)
    if text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= label_count:
        return int(text)
    raise BadRequest(f"top: expected a whole number from 1 to {label_count}, got {text[:40]!r}.")


def _read_explain(text: str | None) -> bool:
    if text not in (None, "true", "false"):
        raise BadRequest(f"explain: expected true or false, got {text[:40]!r}.")
    return text == "true"


def _explanation(prediction: Prediction, info: BundleInfo) -> dict[str, Any]:
    words = in_words(prediction, info).as_json()
    return {"words": words, "heatmap": map_of(prediction, info.rule)}


def _describe(predictor: Predictor) -> dict[str, Any]:
    described = predictor.bundle.info.as_json()
    described["input"] = described.pop("resize")
    # Answers to the photos that it learned from are for whoever has these photos.
    described["data"] = without_answers(described["data"])
    del described["format"]  # of the file's metadata, and of no concern to clients
    return described | {"sha256": predictor.bundle.sha256}
