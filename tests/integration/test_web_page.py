"""The page and /about as HTML, without a browser: what someone without JavaScript gets."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from colour_bundle import colour_info, write_colour_bundle
from shopwindow.bundle import BundleInfo, LabelColumn, Threshold
from shopwindow.inference.predictor import Predictor, load_predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app

MakeImage = Callable[..., bytes]
STATIC = Path(__file__).parents[2] / "src" / "shopwindow" / "web" / "static"


@pytest.fixture
def client(predictor: Predictor) -> FlaskClient:
    return create_app(predictor, Settings(max_upload_bytes=200_000)).test_client()


def post(client: FlaskClient, content: bytes, name: str = "photo.png") -> TestResponse:
    return client.post("/", data={"image-file": (io.BytesIO(content), name)})


def preview_in(html: str) -> Image.Image:
    found = re.search(r'src="data:image/jpeg;base64,([^"]+)"', html)
    assert found, "no preview on the page"
    return Image.open(io.BytesIO(base64.b64decode(found[1])))


def test_page_asks_and_has_a_real_form(client: FlaskClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert "What is this?" in answer.text
    assert 'method="post" action="/" enctype="multipart/form-data"' in answer.text
    assert 'type="file" id="image-file" name="image-file"' in answer.text


def test_posted_photo_is_answered_on_the_same_page(
    client: FlaskClient, image_bytes: MakeImage
) -> None:
    html = post(client, image_bytes("red")).text
    assert '<h1 id="label" class="sure">red</h1>' in html
    assert "Almost certain" in html
    labels = re.findall(r'<span class="of">(\w+)</span>', html)[:5]
    assert labels[0] == "red"
    assert sorted(labels) == ["black", "blue", "green", "red", "white"]
    assert "<dt>brightness</dt>" in html


def test_page_is_honest_about_a_guess(client: FlaskClient, image_bytes: MakeImage) -> None:
    html = post(client, image_bytes((128, 130, 0))).text
    assert '<h1 id="label" class="unsure">' in html
    assert "Not sure" in html
    assert "take this as a guess" in html
    assert "ikely" not in html.split('id="verdict"')[1].split("</p>")[0]


def test_preview_is_upright_and_carries_no_metadata(client: FlaskClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to show
    exif[0x010E] = "where I live"
    out = io.BytesIO()
    Image.new("RGB", (60, 30), "red").save(out, "JPEG", exif=exif)
    preview = preview_in(post(client, out.getvalue()).text)
    assert preview.size == (30, 60)
    assert not preview.getexif()


def test_preview_is_scaled_down(client: FlaskClient, image_bytes: MakeImage) -> None:
    preview = preview_in(post(client, image_bytes("red", (2000, 1000))).text)
    assert preview.size == (512, 256)


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b"", 400, "Choose a photo first."),
        (b"not an image", 415, "expected"),
        (b"x" * 300_000, 413, "That is more than 200 kB. Please send a smaller picture."),
    ],
)
def test_error_stands_next_to_the_control_of_the_same_page(
    client: FlaskClient, content: bytes, status: int, sentence: str
) -> None:
    answer = post(client, content, name="photo.png" if content else "")
    assert answer.status_code == status
    error = re.search(r'<p id="image-error"[^>]*>(.*?)</p>', answer.text)
    assert error
    assert sentence in error[1]
    assert "What is this?" in answer.text
    assert 'aria-invalid="true"' in answer.text


def test_unknown_address_is_a_page_with_the_way_back(client: FlaskClient) -> None:
    answer = client.get("/nowhere")
    assert answer.status_code == 404
    assert "There is nothing at this address." in answer.text
    assert "Back to the window" in answer.text


def test_about_shows_the_card_and_the_figures(client: FlaskClient) -> None:
    html = client.get("/about").text
    for text in ("93\u202f%", "Knows five colours.", "None: the five colours are written down.",
                 "MIT", "grouped, seed 42", "800", "brightness", "green"):  # fmt: skip
        assert text in html


def test_model_without_a_card_still_has_a_page(tmp_path: Path) -> None:
    info = replace(
        colour_info(), card={}, quality={}, data={}, training={},
        threshold=Threshold(min_confidence=1.0, precision=0.0, coverage=0.0),
    )  # fmt: skip
    client = client_of(tmp_path, info)
    assert "<title>colours</title>" in client.get("/").text
    assert "picks the best of 5 answers" in client.get("/").text
    about = client.get("/about")
    assert about.status_code == 200
    assert "Macro F1" not in about.text
    # What nobody measured, as for an imported model, is not claimed.
    assert "Nobody has measured how often it is right. It never calls itself sure." in about.text
    assert "of photos it was sure about" not in about.text
    assert "of those it got right" not in about.text


def test_label_cannot_smuggle_markup_into_the_page(tmp_path: Path, image_bytes: MakeImage) -> None:
    info = colour_info()
    evil = '<img src=x onerror="alert(1)">'
    colour = LabelColumn("colour", (evil, *info.columns[0].labels[1:]))
    client = client_of(tmp_path, replace(info, columns=(colour, *info.columns[1:])))
    for html in (client.get("/").text, post(client, image_bytes("red")).text,
                 client.get("/about").text):  # fmt: skip
        assert evil not in html
        assert "&lt;img src=x" in html


def test_every_answer_has_the_security_headers(client: FlaskClient) -> None:
    for path in ("/", "/about", "/nowhere", "/static/app.css", "/api/v1/model", "/api/nowhere"):
        headers = client.get(path, buffered=True).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_page_is_light_and_needs_nothing_inline_or_from_elsewhere(client: FlaskClient) -> None:
    html = client.get("/").text
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src)", html)
    assert "//" not in re.sub(r"<!--.*?-->", "", html)
    sizes = {name: (STATIC / name).stat().st_size for name in ("app.css", "app.js", "favicon.svg")}
    assert sizes["app.css"] < 12_000
    assert sizes["app.js"] < 8_000
    assert sum(sizes.values()) + len(html) < 60_000


def client_of(tmp_path: Path, info: BundleInfo) -> FlaskClient:
    path = write_colour_bundle(tmp_path / "other.onnx", metadata=json.dumps(info.as_json()))
    return create_app(load_predictor(path, threads=1)).test_client()
