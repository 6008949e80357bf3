"""The JSON API under /api/v1, and health. Described for its users in docs/api.md."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from shopwindow.bundle import BundleInfo
from shopwindow.errors import ImageError
from shopwindow.inference.batching import Batcher
from shopwindow.inference.prediction import Prediction
from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.answers import map_of
from shopwindow.web.problem import Problem, note_image_errors
from shopwindow.web.uploads import caller_of, read_images
from shopwindow.web.wording import in_words


def make_api(batcher: Batcher, settings: Settings) -> Blueprint:
    """Return the routes that answer in JSON."""
    api = Blueprint("api", __name__)

    @api.post("/api/v1/predict")
    def predict() -> ResponseReturnValue:
        explain = _read_explain(request.args.get("explain"))
        blobs = read_images(request, max_files=settings.max_files)
        with batcher.admit(caller_of(request, settings)) as ticket:
            info = ticket.predictor.bundle.info
            top = _read_top(
                request.args.get("top"), default=settings.top, label_count=len(info.main.labels)
            )
            entries = ticket.predict_bytes(blobs, top=top, explain=explain)
        note_image_errors(entries)
        if len(entries) == 1 and isinstance(entries[0], ImageError):
            return Problem.from_image_error(entries[0]).as_response()
        predictions = [
            {"error": Problem.from_image_error(entry).as_json()}
            if isinstance(entry, ImageError)
            else entry.as_json() | (_explanation(entry, info) if explain else {})
            for entry in entries
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

    return api


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
    del described["format"]  # of the file's metadata, and of no concern to clients
    return described | {"sha256": predictor.bundle.sha256}
