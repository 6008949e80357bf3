"""The running app does what its OpenAPI document says, whatever schemathesis thinks up."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis.transport.serialization import Binary

from feedback_server import serving
from heic_files import WRITTEN_FORMATS
from shopwindow.feedback.opening import open_store
from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app
from some_gallery import write_gallery


def picture(format_: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 7), "red").save(buffer, format_)
    return buffer.getvalue()


# A schema cannot say "a picture", so schemathesis is given some.
schemathesis.openapi.format(
    "binary", st.sampled_from([picture(name) for name in WRITTEN_FORMATS]).map(Binary)
)


@pytest.fixture(scope="module")
def url(colour_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = tmp_path_factory.mktemp("feedback") / "feedback.sqlite3"
    with serving(colour_bundle, str(store)) as (url, _):
        yield url


@pytest.fixture
def app(predictor: Predictor, tmp_path: Path) -> Iterator[Flask]:
    store = open_store(str(tmp_path / "feedback.sqlite3"))
    yield create_app(predictor, store=store)
    store.close()


@pytest.mark.parametrize(
    "operation",
    [
        *("predict", "describeModel", "isLive", "isReady", "readMetrics", "describeApi"),
        *("giveFeedback", "undoFeedback"),
    ],
)
def test_app_keeps_what_its_document_promises(url: str, operation: str) -> None:
    document = schemathesis.openapi.from_url(f"{url}/openapi.json")
    sent: set[str | None] = set()
    cases = document.find_operation_by_id(operation).as_strategy()

    @settings(max_examples=20, deadline=None, derandomize=True, database=None)
    @given(case=cases)
    def ask(case: schemathesis.Case) -> None:
        response = case.call_and_validate()
        if operation == "predict" and case.meta and case.meta.generation.mode.is_positive:
            assert response.status_code == 200
            sent.add(case.media_type)

    ask()
    if operation == "predict":  # one of many image types is drawn
        assert "multipart/form-data" in sent
        assert any(media_type and media_type.startswith("image/") for media_type in sent)


def test_app_with_a_gallery_keeps_what_its_document_promises(
    embedding_bundle: Path, tmp_path: Path
) -> None:
    path = write_gallery(tmp_path / "g", embedding_bundle)
    with serving(embedding_bundle, "off", gallery=str(path)) as (url, _):
        document = schemathesis.openapi.from_url(f"{url}/openapi.json")
        for operation in ("findSimilar", "predict", "describeModel"):
            cases = document.find_operation_by_id(operation).as_strategy()

            @settings(max_examples=10, deadline=None, derandomize=True, database=None)
            @given(case=cases)
            def ask(case: schemathesis.Case) -> None:
                case.call_and_validate()

            ask()
        page = httpx.get(f"{url}/docs").text
        assert "<code>/api/v1/similar</code>" in page


@pytest.mark.slow
def test_schemathesis_by_itself_finds_nothing(url: str, repository_root: Path) -> None:
    """What a stranger types, with nothing but this repository's schemathesis.toml."""
    completed = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            *("run", f"{url}/openapi.json", "--max-examples", "10", "--seed", "1", "--no-color"),
            *("--generation-database", "none"),
        ],
        cwd=repository_root,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert completed.returncode == 0, completed.stdout


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    answer = app.test_client().get("/openapi.json")
    return answer.get_json()  # type: ignore[no-any-return]


def test_every_route_for_programs_is_described(app: Flask, document: dict[str, Any]) -> None:
    pages = {
        *("/", "/about", "/docs", "/client.js", "/static/<path:filename>", "/examples/<name>"),
        *("/feedback", "/feedback/undo"),
    }
    routes = {
        (rule.rule.replace("<", "{").replace(">", "}"), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule not in pages and not rule.rule.startswith(("/review", "/studio"))
    }
    described = {
        (path, method) for path, methods in document["paths"].items() for method in methods
    }
    assert described == routes


def test_no_route_takes_a_path_or_a_url(app: Flask) -> None:
    """Names are keys: what is not among the examples, a project's photos or versions is not found.

    So are the ids of feedback.
    """
    rules = app.url_map.iter_rules()
    assert {rule.rule for rule in rules if rule.arguments} == {
        "/api/v1/feedback/<feedback_id>",
        "/review/<feedback_id>",
        "/review/photo/<feedback_id>",
        "/static/<path:filename>",
        "/examples/<name>",
        "/studio/api/versions/<version>",
        "/studio/api/versions/<version>/promote",
        "/studio/page/<digest>/<name>",
        "/studio/photos/<name>/preview",
        "/studio/photos/<name>/thumbnail",
        "/studio/versions/<version>/model.onnx",
    }


def test_document_has_the_limits_of_this_server(predictor: Predictor) -> None:
    limits = Settings(max_files=3, top=2, max_upload_bytes=2_000_000, api_key="k" * 20)
    client = create_app(predictor, limits).test_client()
    document = client.get("/openapi.json", headers={"Authorization": f"Bearer {'k' * 20}"}).json
    operation = document["paths"]["/api/v1/predict"]["post"]
    assert operation["parameters"][0]["schema"] == {
        "type": "integer", "minimum": 1, "maximum": 5, "default": 2
    }  # fmt: skip
    assert "At most 2 MB" in operation["description"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["image"]["maxItems"] == 3
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert "401" in operation["responses"]


def test_page_for_people_shows_every_operation_and_needs_nothing_from_elsewhere(url: str) -> None:
    page = httpx.get(f"{url}/docs")
    assert page.status_code == 200
    assert f"{url}/api/v1/predict" in page.text
    for path in httpx.get(f"{url}/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in page.text
    assert "<script" not in page.text
    assert "style=" not in page.text
    assert page.text.count("//") == page.text.count(url)
