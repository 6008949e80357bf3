"""The description of the API: `/openapi.json` for programs, `/docs` for people.

The document is written by hand, in templates/openapi.json: there are eight operations, and the
libraries that derive one (apispec, flask-smorest, spectree) need marshmallow or pydantic on the
server. Tests keep it true: schemathesis asks the running app for what it promises, and each route
must be in it. The page is made from it: Swagger UI, Redoc and their like are megabytes of script,
and most need inline styles, which the content security policy forbids.
"""

from __future__ import annotations

import json
from typing import Any

from flask import (
    Blueprint,
    Response,
    current_app,
    jsonify,
    render_template,
    request,
    send_from_directory,
)

from shopwindow import __version__
from shopwindow.imaging.formats import MEDIA_TYPES
from shopwindow.inference.prediction import DOUBTS
from shopwindow.web.messages import list_in_words, size_in_words
from shopwindow.web.similar import MOST, SHOWN
from shopwindow.web.state import app_state

bp = Blueprint("reference", __name__)

_CLIENT_AGE_S = 3600  # its address does not change when it does

_KIND_NAMES = {
    "integer": "whole number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
}


@bp.get("/openapi.json")
def describe() -> Response:
    """Return the document."""
    return jsonify(describe_api())


@bp.get("/client.js")
def show_client() -> Response:
    """Return the JavaScript client, at an address that stays."""
    folder = current_app.static_folder or ""
    return send_from_directory(folder, "client.js", max_age=_CLIENT_AGE_S)


@bp.get("/docs")
def show() -> str:
    """Show the document as a page."""
    document = describe_api()
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return render_template(
        "docs.html",
        document=document,
        operations=operations,
        example_url=request.url_root.rstrip("/") + "/api/v1/predict",
        kind_of=kind_in_words,
    )


def describe_api() -> dict[str, Any]:
    """Return the document for the model and the limits of this server."""
    state = app_state()
    settings, info = state.settings, state.info
    formats, label_count = settings.accepted_formats, len(info.main.labels)
    text = render_template(
        "openapi.json",
        version=__version__,
        model=info,
        label_count=label_count,
        top=min(settings.top, label_count),
        kinds=DOUBTS,
        formats=list_in_words(formats),
        media_types=[
            "application/octet-stream",
            *(media_type for name in formats for media_type in MEDIA_TYPES[name]),
        ],
        max_upload=size_in_words(settings.max_upload_bytes),
        max_megapixels=f"{settings.max_pixels / 1e6:g}",
        max_files=settings.max_files,
        keep_days=settings.feedback_keep_days,
        feedback=state.feedback is not None,
        gallery=state.gallery is not None,
        similar=SHOWN,
        most_similar=MOST,
        locked=bool(settings.api_key),
    )
    document: dict[str, Any] = json.loads(text)
    return document


def kind_in_words(schema: dict[str, Any]) -> str:
    """Return what a schema accepts in a few words: "1 to 5, whole", "list of LabelScore"."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if "oneOf" in schema:
        return " or ".join(kind_in_words(choice) for choice in schema["oneOf"])
    if schema.get("type") == "array":
        return f"list of {kind_in_words(schema.get('items', {}))}"
    values = schema.get("additionalProperties")
    if schema.get("type") == "object" and isinstance(values, dict):
        return f"object of {kind_in_words(values)}"
    if schema.get("format") == "binary":
        return "an image"
    kind = schema.get("type", "anything")
    name: str = _KIND_NAMES.get(kind, kind)
    if "minimum" in schema:
        name += f", {schema['minimum']} to {schema['maximum']}"
    return name
