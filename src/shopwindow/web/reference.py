"""`/openapi.json` for programs, and the same as a page for people: `/docs`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify, render_template, request

from shopwindow.bundle import BundleInfo
from shopwindow.settings import Settings
from shopwindow.web.openapi import describe_api


def make_reference(
    info: Callable[[], BundleInfo], settings: Settings, *, feedback: bool
) -> Blueprint:
    """Return the routes that describe the API.

    The page is made here, from the document. Swagger UI, Redoc and their like are megabytes of
    script, and most want styles inline, which the content security policy forbids.

    Args:
        info: Returns what the model that is served now says about itself.
        settings: The limits that are told.
        feedback: Whether feedback is taken.
    """
    reference = Blueprint("reference", __name__)

    @reference.get("/openapi.json")
    def describe() -> Response:
        return jsonify(describe_api(info(), settings, feedback=feedback))

    @reference.get("/docs")
    def show() -> str:
        document = describe_api(info(), settings, feedback=feedback)
        return render_template(
            "docs.html",
            document=document,
            operations=_operations(document),
            example_url=request.host_url.rstrip("/") + "/api/v1/predict",
            kind_of=kind_in_words,
        )

    return reference


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def kind_in_words(schema: dict[str, Any]) -> str:
    """Return what a schema takes in a few words: "1 to 5, whole", "list of LabelScore"."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if "oneOf" in schema:
        return " or ".join(kind_in_words(one) for one in schema["oneOf"])
    if schema.get("type") == "array":
        return f"list of {kind_in_words(schema.get('items', {}))}"
    values = schema.get("additionalProperties")
    if schema.get("type") == "object" and isinstance(values, dict):
        return f"object of {kind_in_words(values)}"
    if schema.get("format") == "binary":
        return "a picture"
    names = {
        "integer": "whole number",
        "boolean": "true or false",
        "string": "text",
        "null": "null",
    }
    name: str = names.get(schema.get("type", ""), schema.get("type", "anything"))
    if "minimum" in schema:
        name += f", {schema['minimum']} to {schema['maximum']}"
    return name
