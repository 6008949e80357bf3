"""The JSON API over real HTTP, against the real server in its own process."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from live_server import running_server
from shopwindow.inference.predictor import Predictor, load_predictor

MakeImage = Callable[..., bytes]
RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def http(colour_bundle: Path) -> Iterator[httpx.Client]:
    with running_server(colour_bundle) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def as_files(*contents: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("image", (f"{i}.png", content, "image/png")) for i, content in enumerate(contents)]


def test_one_picture_gets_the_answer_of_the_predictor(
    http: httpx.Client, image_bytes: MakeImage, predictor: Predictor
) -> None:
    blob = image_bytes((200, 40, 90))
    answer = http.post("/api/v1/predict", files=as_files(blob))
    assert answer.status_code == 200
    (expected,) = predictor.predict_bytes([blob])
    assert answer.json() == {
        "predictions": [expected.as_json()],
        "model": {"name": "colours", "version": "1.0"},
    }


def test_answer_is_explained_on_request_and_not_otherwise(
    http: httpx.Client, image_bytes: MakeImage, predictor: Predictor
) -> None:
    blob = image_bytes((200, 40, 90))
    (plain,) = predictor.predict_bytes([blob])
    (explained,) = http.post("/api/v1/predict?explain=true", content=blob, headers=RAW).json()[
        "predictions"
    ]
    assert explained.pop("heatmap").startswith("data:image/webp;base64,")
    words = explained.pop("words")
    assert words["heading"] == plain.label
    assert words["names"] == {"brightness": "Brightness"}
    assert explained == plain.as_json()
    problem = http.post("/api/v1/predict?explain=yes", content=blob, headers=RAW)
    assert problem.status_code == 400
    assert problem.json()["detail"] == "explain: expected true or false, got 'yes'."


def test_prediction_set_is_whole_whatever_top_is(sets_bundle: Path, image_bytes: MakeImage) -> None:
    colours = ((255, 0, 0), (120, 120, 0), (255, 255, 0))
    blobs = [image_bytes(colour, (6, 8)) for colour in colours]
    with running_server(sets_bundle) as url, httpx.Client(base_url=url) as http:
        answer = http.post("/api/v1/predict?top=1&explain=true", files=as_files(*blobs)).json()
        sure, not_sure, light = answer["predictions"]
        assert sure["prediction_set"] == ["red"]
        assert not_sure["prediction_set"] == ["black", "red", "green"]
        assert len(not_sure["top"]) == 1
        assert light["prediction_set"] is None, "nothing is promised of this kind"
        assert "one of these: black, red, green." in not_sure["words"]["note"]
        about = http.get("/about").text
        assert "Sets with the right label, where not sure" in about
        kind, _ = http.get("/api/v1/model").json()["prediction_sets"]["kinds"]
        assert kind["not_sure"]["held"] == 0.95


def test_embedding_comes_on_request_and_as_the_document_says(
    embedding_bundle: Path, image_bytes: MakeImage
) -> None:
    blob = image_bytes((200, 40, 90))
    (expected,) = load_predictor(embedding_bundle, threads=1).predict_bytes([blob], embed=True)
    with running_server(embedding_bundle) as url, httpx.Client(base_url=url) as http:

        def ask(query: str) -> dict[str, Any]:
            answer = http.post(f"/api/v1/predict{query}", content=blob, headers=RAW)
            (entry,) = answer.json()["predictions"]
            return entry

        plain, embedded = ask(""), ask("?embedding=true")
        assert "embedding" not in plain
        np.testing.assert_allclose(embedded.pop("embedding"), expected.embedding, atol=1e-6)
        assert embedded == plain == expected.as_json()
        assert http.get("/api/v1/model").json()["embedding"] == 3
        schema = http.get("/openapi.json").json()["components"]["schemas"]["Prediction"]
        assert schema["properties"]["embedding"]["maxItems"] == 3


def test_embedding_of_a_model_without_one_is_refused(
    http: httpx.Client, image_bytes: MakeImage
) -> None:
    for query, said in (
        ("true", "embedding: expected a model that gives embeddings; this one does not."),
        ("yes", "embedding: expected true or false, got 'yes'."),
    ):
        problem = http.post(
            f"/api/v1/predict?embedding={query}", content=image_bytes("red"), headers=RAW
        )
        assert (problem.status_code, problem.json()["detail"]) == (400, said)
    document = http.get("/openapi.json").json()
    assert "embedding" not in document["components"]["schemas"]["Prediction"]["properties"]


def test_several_pictures_are_answered_in_order(http: httpx.Client, image_bytes: MakeImage) -> None:
    colours = ["blue", "red", "white", "red"]
    answer = http.post("/api/v1/predict", files=as_files(*map(image_bytes, colours)))
    assert [entry["label"] for entry in answer.json()["predictions"]] == colours


def test_bad_picture_among_several_spoils_only_its_own_entry(
    http: httpx.Client, image_bytes: MakeImage
) -> None:
    files = as_files(image_bytes("blue"), b"not an image", image_bytes("red"))
    answer = http.post("/api/v1/predict", files=files)
    assert answer.status_code == 200
    first, second, third = answer.json()["predictions"]
    assert (first["label"], third["label"]) == ("blue", "red")
    assert list(second) == ["error"]
    assert second["error"]["status"] == 415
    assert second["error"]["type"] == "urn:shopwindow:problem:unsupported-image-format"


@pytest.mark.parametrize(
    "content_type", ["image/png", "image/x-unheard-of", "application/octet-stream"]
)
def test_raw_body_is_judged_by_content_not_type(
    http: httpx.Client, image_bytes: MakeImage, content_type: str
) -> None:
    answer = http.post(
        "/api/v1/predict",
        content=image_bytes("green", format="WEBP"),
        headers={"Content-Type": content_type},
    )
    assert answer.json()["predictions"][0]["label"] == "green"


def test_chunked_body_is_taken(http: httpx.Client, image_bytes: MakeImage) -> None:
    blob = image_bytes("green")
    answer = http.post(
        "/api/v1/predict",
        content=iter([blob[:50], blob[50:]]),
        headers={"Content-Type": "image/png"},
    )
    assert answer.json()["predictions"][0]["label"] == "green"


def test_top_sets_how_many_labels_are_listed(http: httpx.Client, image_bytes: MakeImage) -> None:
    answer = http.post("/api/v1/predict?top=2", files=as_files(image_bytes("black")))
    top = answer.json()["predictions"][0]["top"]
    assert len(top) == 2
    assert top[0]["label"] == "black"


# Form parsers work in blocks and with buffer limits: sizes on both sides of the usual ones.
@pytest.mark.parametrize("size_bytes", [1_000, 65_000, 66_000, 200_000, 600_000, 9_000_000])
def test_picture_of_any_allowed_size_arrives_whole(
    http: httpx.Client, image_bytes: MakeImage, size_bytes: int
) -> None:
    padded = image_bytes("red") + bytes(size_bytes)  # what follows a PNG's end is ignored
    for answer in (
        http.post("/api/v1/predict", files=as_files(padded)),
        http.post("/api/v1/predict", content=padded, headers={"Content-Type": "image/png"}),
    ):
        assert answer.status_code == 200
        assert answer.json()["predictions"][0]["label"] == "red"


def test_model_describes_itself(http: httpx.Client, predictor: Predictor) -> None:
    model = http.get("/api/v1/model").json()
    assert model["sha256"] == predictor.bundle.sha256
    assert model["input"] == predictor.bundle.info.rule.as_json()
    assert model["columns"][0] == {
        "name": "colour",
        "labels": ["red", "green", "blue", "black", "white"],
    }
    assert model["threshold"]["min_confidence"] == 0.8
    assert model["quality"]["accuracy"] == 0.93
    assert model["card"]["title"] == "Colours"


def test_health_is_reported(http: httpx.Client) -> None:
    assert http.get("/health/live").json() == {"status": "ok"}
    ready = http.get("/health/ready").json()
    assert ready == {"status": "ready", "model": {"name": "colours", "version": "1.0"}}


def test_oversized_body_is_refused_with_413_and_the_connection_lives_on(
    http: httpx.Client,
) -> None:
    sentence = "That is larger than 10 MB. Please send a smaller picture."
    body = bytes(25_000_000)
    answer = http.post("/api/v1/predict", files=as_files(body))
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"] == sentence
    page = http.post("/", files={"image-file": ("big.png", body, "image/png")})
    assert page.status_code == 413
    assert sentence in page.text
    assert http.get("/health/live").status_code == 200


def test_oversized_chunked_body_is_refused_with_413(http: httpx.Client) -> None:
    answer = http.post(
        "/api/v1/predict",
        content=iter([bytes(10_500_000)]),
        headers={"Content-Type": "image/png"},
    )
    assert answer.status_code == 413
    assert answer.json()["detail"].startswith("That is larger than 10 MB.")


def test_client_that_asks_first_is_refused_before_it_sends(http: httpx.Client) -> None:
    head = (
        "POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        "Content-Length: 20000000\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection((http.base_url.host, http.base_url.port), timeout=60) as client:
        client.sendall(head.encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer
