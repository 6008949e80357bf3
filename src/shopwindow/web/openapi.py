"""The JSON API as an OpenAPI 3.1 document: `/openapi.json` for programs, `/docs` for people.

Written by hand: there are eight operations, and the libraries that derive such a document (apispec,
flask-smorest, spectree) want marshmallow or pydantic on the server. That it tells the truth is
tested: schemathesis asks the running app what it says here, and each route must be in it.
"""

from __future__ import annotations

from typing import Any

from shopwindow import __version__
from shopwindow.bundle import BundleInfo
from shopwindow.imaging.formats import MEDIA_TYPES
from shopwindow.inference.prediction import DOUBTS
from shopwindow.settings import Settings
from shopwindow.web.messages import list_in_words, size_in_words, title_of

Json = dict[str, Any]

_STATUS_TEXTS = {
    400: "Something is missing in the request, or cannot be.",
    401: "The key is missing or wrong.",
    403: "The token is not the one that came with this feedback.",
    404: "It is not kept here, or not any more.",
    409: "A reviewer has judged it already.",
    413: "Too many bytes, pictures or pixels.",
    415: "A body of a type that is not taken, or a picture of another format.",
    422: "A picture that is damaged or cut off; a receipt or a label that cannot be used.",
    429: "Too many requests in the last minute. `Retry-After` says when to come back.",
    503: "Busy or full. `Retry-After` says when to come back, if that helps.",
}


def describe_api(info: BundleInfo, settings: Settings, *, feedback: bool) -> Json:
    """Return the document for one model and the limits of one server, ready for JSON."""
    locked = bool(settings.api_key)
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": title_of(info),
            "version": __version__,
            "summary": "Says what is on a picture.",
            "description": (
                "What is sent stays in memory until its answer is out, and is not stored unless it "
                "is feedback. Every error is a problem as in RFC 9457; its `detail` is a sentence "
                "for people. Each answer has an `X-Request-ID`, which is yours if you sent one."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/api/v1/predict": {"post": _predict(info, settings)},
            "/api/v1/model": {
                "get": _get("describeModel", "Describes the model.", _json("Model"), settings)
            },
            "/health/live": {
                "get": _get("isLive", "Answers as long as the server does.", _json("Live"))
            },
            "/health/ready": {
                "get": _get(
                    "isReady",
                    "Says whether the model is loaded and has run.",
                    _json("Ready"),
                )
            },
            "/metrics": {
                "get": _get(
                    "readMetrics",
                    "Figures in the text format of Prometheus.",
                    {"text/plain": {"schema": {"type": "string"}}},
                    settings,
                )
            },
            "/openapi.json": {
                "get": _get(
                    "describeApi",
                    "This document.",
                    {"application/json": {"schema": {"type": "object"}}},
                    settings,
                )
            },
        },
        "components": {"schemas": _schemas(info, feedback=feedback)},
    }
    if feedback:
        document["paths"] |= {
            "/api/v1/feedback": {"post": _give_feedback(settings)},
            "/api/v1/feedback/{feedback_id}": {"delete": _undo_feedback(settings)},
        }
    if locked:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document


def _predict(info: BundleInfo, settings: Settings) -> Json:
    label_count = len(info.main.labels)
    picture = {"type": "string", "format": "binary", "minLength": 1}
    formats = settings.accepted_formats
    types = ["application/octet-stream", *(one for name in formats for one in MEDIA_TYPES[name])]
    return {
        "operationId": "predict",
        "summary": "Says what is on one or several pictures.",
        "description": (
            f"{list_in_words(formats)}, told from the content and never from a type or "
            f"name. At most {size_in_words(settings.max_upload_bytes)} per request, "
            f"{settings.max_pixels / 1e6:g} million pixels and {settings.max_files} pictures; of "
            "an animation, the first frame counts. Among several pictures, one that cannot be read "
            "gets its problem as its entry; alone, it is the answer."
        ),
        "parameters": [
            {
                "name": "top",
                "in": "query",
                "description": "How many labels to list.",
                "schema": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": label_count,
                    "default": min(settings.top, label_count),
                },
            },
            {
                "name": "explain",
                "in": "query",
                "description": "Whether to add `words` and `heatmap`.",
                "schema": {"type": "boolean", "default": False},
            },
        ],
        "requestBody": {
            "required": True,
            "description": "One picture as it is, or several in the form field `image`.",
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["image"],
                        "properties": {
                            "image": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": settings.max_files,
                                "items": picture,
                            }
                        },
                    },
                },
                **{name: {"schema": picture} for name in types},
            },
        },
        "responses": _responses(_json("Answer"), [400, 413, 415, 422, 429, 503], settings),
    }


def _give_feedback(settings: Settings) -> Json:
    text = {
        "receipt": {"type": "string", "description": "What came with the answer."},
        "label": {
            "type": "string",
            "description": "What it is: the label given confirms it, and nothing is none of them.",
        },
    }
    plain = {"type": "object", "required": list(text), "properties": text}
    image = {"type": "string", "format": "binary", "description": "The same picture again."}
    form = plain | {"properties": text | {"image": image}}
    return {
        "operationId": "giveFeedback",
        "summary": "Says whether an answer was right, and what it is.",
        "description": (
            "A receipt is good for a day and for one feedback: what is sent again replaces what "
            "was said before. Whoever sends the picture agrees that it is kept for "
            f"{settings.feedback_keep_days} days, made anew without what cameras write into it."
        ),
        "requestBody": {
            "required": True,
            "description": "A form, which may have the picture in the field `image`, or JSON.",
            "content": {
                "multipart/form-data": {"schema": form},
                "application/json": {"schema": plain},
            },
        },
        "responses": _responses(
            _json("Feedback"), [400, 409, 413, 415, 422, 429, 503], settings, success=201
        ),
    }


def _undo_feedback(settings: Settings) -> Json:
    text = {"type": "string"}
    return {
        "operationId": "undoFeedback",
        "summary": "Takes a feedback back, and its picture.",
        "parameters": [
            {
                "name": "feedback_id",
                "in": "path",
                "required": True,
                "description": "The `id` that came with the feedback.",
                "schema": text,
            },
            {
                "name": "X-Undo-Token",
                "in": "header",
                "required": True,
                "description": "The `undo` that came with the feedback.",
                "schema": text,
            },
        ],
        "responses": _responses({}, [403, 404, 503], settings, success=204),
    }


def _get(
    name: str,
    summary: str,
    content: Json,
    settings: Settings | None = None,
    statuses: list[int] | None = None,
) -> Json:
    """Return a GET operation; without settings it is one that needs no key."""
    operation = {
        "operationId": name,
        "summary": summary,
        "responses": _responses(content, statuses or [], settings),
    }
    return operation if settings else operation | {"security": []}


def _responses(
    content: Json, statuses: list[int], settings: Settings | None, *, success: int = 200
) -> Json:
    statuses = sorted([*statuses, 401] if settings and settings.api_key else statuses)
    problem = {"application/problem+json": {"schema": _ref("Problem")}}
    return {
        str(success): {"description": "The answer."} | ({"content": content} if content else {}),
        **{
            str(status): {"description": _STATUS_TEXTS[status], "content": problem}
            for status in statuses
        },
        "default": {"description": "Any other error.", "content": problem},
    }


def _schemas(info: BundleInfo, *, feedback: bool) -> Json:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    text = {"type": "string", "minLength": 1}
    kinds = {"enum": list(DOUBTS)}
    explained = {
        "words": _object(
            "With `explain`: the answer as the page says it.",
            kind=kinds | {"description": "How sure it is, and of what."},
            **dict.fromkeys(("heading", "verdict", "note"), text),
            confidence={
                "oneOf": [share, {"type": "null"}],
                "description": "That in the heading; null where that names nothing.",
            },
            share={"type": "string", "description": "The same in per cent, or nothing."},
            doubted={
                "type": "array",
                "items": text,
                "description": "Further label columns whose answer is only a guess.",
            },
            names={
                "type": "object",
                "additionalProperties": text,
                "description": "What to call each further label column.",
            },
        ),
        "heatmap": {
            "oneOf": [text, {"type": "null"}],
            "description": "With `explain`: what spoke for it, as the `data:` URI of a picture.",
        },
    }
    with_receipt: Json = {}
    about_feedback: Json = {}
    if feedback:
        with_receipt["receipt"] = text | {"description": "What feedback on it must carry."}
        about_feedback["Feedback"] = _object(
            "A feedback that is kept.",
            id=text,
            undo=text | {"description": "What takes it back."},
            label={"type": "string", "description": "As given."},
            photo_kept={"type": "boolean"},
            kept_until={
                "oneOf": [{"type": "string", "format": "date-time"}, {"type": "null"}],
                "description": "Until when the picture is kept.",
            },
        )
    return about_feedback | {
        "Answer": _object(
            "One entry for each picture, in the order sent.",
            predictions={
                "type": "array",
                "minItems": 1,
                "items": {"oneOf": [_ref("Prediction"), _ref("Refused")]},
            },
            model=_ref("ModelName"),
        ),
        "Prediction": _object(
            "What the model says about one picture.",
            optional=explained,
            label=text | {"description": "The most probable label."},
            confidence=share | {"description": "Its calibrated probability."},
            sure={"type": "boolean", "description": "Whether it reaches the model's threshold."},
            top={
                "type": "array",
                "minItems": 1,
                "items": _ref("LabelScore"),
                "description": "The most probable labels, best first.",
            },
            family={
                "oneOf": [_ref("LabelScore"), {"type": "null"}],
                "description": "What kind of thing it surely is, where the label is unsure.",
            },
            attributes={
                "type": "object",
                "additionalProperties": _ref("LabelScore"),
                "description": "The best label of each further question.",
            },
            **with_receipt,
        ),
        "Refused": _object("A picture that could not be read.", error=_ref("Problem")),
        "LabelScore": _object("A label and its probability.", label=text, confidence=share),
        "ModelName": _object("Which model answered.", name=text, version=text),
        "Model": {
            "type": "object",
            "description": "What the model says about itself: docs/bundle.md explains it.",
            "required": ["name", "version", "created", "sha256", "input", "columns", "threshold"],
            "properties": {
                "name": {"const": info.name},
                "version": {"const": info.version},
                "created": {"type": "string", "format": "date-time"},
                "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                "input": {"type": "object"},
                "columns": {
                    "type": "array",
                    "items": _object(
                        "One question and its answers.",
                        name=text,
                        labels={"type": "array", "items": text},
                    ),
                },
                "threshold": {"type": "object", "additionalProperties": share},
            },
        },
        "Live": _object("The server answers.", status={"const": "ok"}),
        "Ready": _object("The model answers.", status={"const": "ready"}, model=_ref("ModelName")),
        "Problem": _object(
            "What went wrong (RFC 9457).",
            type={"type": "string", "format": "uri-reference", "description": "Names the kind."},
            title=text,
            status={"type": "integer", "minimum": 400, "maximum": 599},
            detail=text | {"description": "One sentence for people; it may change."},
        ),
    }


def _object(description: str, *, optional: Json | None = None, **properties: Json) -> Json:
    """Return an object schema whose properties are all there, but the optional, and no others."""
    return {
        "type": "object",
        "description": description,
        "required": list(properties),
        "properties": properties | (optional or {}),
        "additionalProperties": False,
    }


def _json(name: str) -> Json:
    return {"application/json": {"schema": _ref(name)}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
