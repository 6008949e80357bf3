"""The page and /about as HTML, without a browser: what someone without JavaScript gets."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from colour_bundle import colour_info, write_colour_bundle
from shopwindow.bundle import BundleInfo, LabelColumn, Threshold
from shopwindow.bundle.out_of_fold import OutOfFoldAnswers
from shopwindow.bundle.seen import SeenImages
from shopwindow.imaging.formats import digest_of
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
    assert "<dt>Brightness</dt>" in html


def test_page_says_how_often_answers_like_this_were_right(
    client: FlaskClient, image_bytes: MakeImage, tmp_path: Path
) -> None:
    blue = image_bytes((40, 30, 150))
    assert "In tests, 92 in 100 answers like this were right." in post(client, blue).text
    red = post(client, image_bytes("red")).text
    assert "In tests, more than 99 in 100 answers like this were right." in red
    info = colour_info()
    rows = [row | {"images": 29} for row in info.quality["reliability"]]  # too few to promise by
    other = client_of(tmp_path, replace(info, quality=info.quality | {"reliability": rows}))
    assert "it was right 95 times in 100 when it was this sure" in post(other, blue).text


def test_several_photos_are_listed_least_sure_first_and_failures_last(
    client: FlaskClient, image_bytes: MakeImage
) -> None:
    files = [
        (io.BytesIO(blob), name)
        for blob, name in (
            (image_bytes("red"), "sure.png"),
            (b"no image", "letter.txt"),
            (image_bytes((128, 130, 0)), "guess.png"),
        )
    ]
    answer = client.post("/", data={"image-file": files})
    assert answer.status_code == 200
    names = re.findall(r'<span class="file">(\S+)</span>', answer.text)
    assert names == ["guess.png", "sure.png", "letter.txt"]
    assert ">3 photos</h1>" in answer.text
    assert "expected JPEG" in answer.text


def test_more_files_than_allowed_are_refused_on_the_page(
    predictor: Predictor, image_bytes: MakeImage
) -> None:
    client = create_app(predictor, Settings(max_files=2)).test_client()
    files = [(io.BytesIO(image_bytes("red")), f"{number}.png") for number in range(3)]
    answer = client.post("/", data={"image-file": files})
    assert answer.status_code == 413
    assert "This request has 3 images, and at most 2 are allowed." in answer.text


def test_example_is_a_link_and_its_picture_is_served() -> None:
    client = create_app(load_predictor(threads=1)).test_client()
    names = re.findall(r'href="/\?example=([\w-]+)"', client.get("/").text)
    assert len(names) == 6
    # Of one drawing the model is sure only what kind of thing it shows; another is unlike all that
    # it has learned from.
    headings = {"backpack": 'sure">Backpacks', "sneaker": 'family">Footwear',
                "sunglasses": 'unknown">Hard to tell', "t-shirt": 'sure">Tshirts',
                "tie": 'likely">Ties', "watch": 'sure">Watches'}  # fmt: skip
    guesses = {"sneaker": "Casual Shoes", "sunglasses": "Sunglasses"}
    for name in names:
        page = client.get(f"/?example={name}").text
        assert f'class="{headings[name]}</h1>' in page
        if name in guesses:
            assert f"best guess is {guesses[name]}," in page
        picture = client.get(f"/examples/{name}")
        assert picture.mimetype == "image/webp"
        assert Image.open(io.BytesIO(picture.data)).size == (240, 320)
    assert "What is this?" in client.get("/?example=../../etc/passwd").text
    assert client.get("/examples/fashion.toml").status_code == 404


def test_model_without_examples_shows_none(client: FlaskClient) -> None:
    assert "No photo at hand" not in client.get("/").text


def test_page_names_the_family_where_only_that_is_sure(
    client: FlaskClient, image_bytes: MakeImage
) -> None:
    html = post(client, image_bytes((128, 130, 0))).text
    assert '<h1 id="label" class="family">hue</h1>' in html
    assert "Not sure which kind." in html
    assert re.search(r"Its best guess is green, with 49\s%", html)


def test_page_says_so_when_it_has_no_idea(client: FlaskClient, image_bytes: MakeImage) -> None:
    html = unescape(post(client, image_bytes((128, 128, 128), (60, 80))).text)
    assert '<h1 id="label" class="unknown">Hard to tell</h1>' in html
    assert "No answer stands out" in html
    assert "It may be none of the labels" in html
    assert "In tests, 54 in 100 answers like this were right." in html


def test_guess_of_a_model_without_families_is_a_question(
    image_bytes: MakeImage, tmp_path: Path
) -> None:
    client = client_of(tmp_path, replace(colour_info(), families=()))
    html = post(client, image_bytes((128, 0, 0), (60, 80))).text
    assert '<h1 id="label" class="unsure">red</h1>' in html
    assert ">Not sure</p>" in html
    assert "In tests, 54 in 100 answers like this were right." in html
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
        (b"x" * 300_000, 413, "That is larger than 200 kB. Please send a smaller picture."),
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
                 "MIT", "grouped, seed 42", "800", "Brightness", "green"):  # fmt: skip
        assert text in html


def test_about_has_figures_for_each_kind_of_photo(client: FlaskClient) -> None:
    text = unescape(re.sub(r"[ \n]+", " ", re.sub(r"<[^>]+>", " ", client.get("/about").text)))
    assert "Right on phone photos, another kind of photo 73.4" in text
    assert "Right on those where it was sure 88.4" in text


def test_about_shows_each_label_what_is_mixed_up_and_what_confidence_means(
    client: FlaskClient,
) -> None:
    text = unescape(re.sub(r"[ \n]+", " ", re.sub(r"<[^>]+>", " ", client.get("/about").text)))
    for row in (
        "99 % to 100 % >99 % 100",
        "black blue 9 23 %",
        "black 70 % 87.5 % 40",
        "white – 0 % 0",
    ):
        assert row.replace(" %", "\u202f%") in text, row
    assert text.index("black 70") < text.index("green 80") < text.index("blue 97.5")


def test_model_without_a_card_still_has_a_page(tmp_path: Path) -> None:
    info = replace(
        colour_info(), card={}, quality={}, data={}, training={},
        threshold=Threshold(min_confidence=1.0, precision=0.0, coverage=0.0),
    )  # fmt: skip
    client = client_of(tmp_path, info)
    assert "<title>colours</title>" in client.get("/").text
    assert "picks the best of 5 labels" in client.get("/").text
    about = client.get("/about")
    assert about.status_code == 200
    assert "Macro F1" not in about.text
    # What nobody measured, as for an imported model, is not claimed.
    assert "Nobody has measured how often it is right. No answer counts as sure." in about.text
    assert "of photos got a sure answer" not in about.text
    assert "of these were right" not in about.text


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
    # Examples come on top; tests/browser/test_speed.py adds up what a browser really loads.
    sizes = {name: (STATIC / name).stat().st_size for name in ("app.css", "app.js", "favicon.svg")}
    assert sum(sizes.values()) + len(html) < 42_000


def client_of(tmp_path: Path, info: BundleInfo) -> FlaskClient:
    path = write_colour_bundle(tmp_path / "other.onnx", metadata=json.dumps(info.as_json()))
    return create_app(load_predictor(path, threads=1)).test_client()


def test_answers_to_training_photos_are_not_published(tmp_path: Path) -> None:
    info = colour_info().as_json()
    sizes = [len(column["labels"]) for column in info["columns"]]
    names = [column["name"] for column in info["columns"]]
    known = OutOfFoldAnswers(
        np.array([digest_of(b"photo")], np.uint64),
        {n: np.full((1, s), 1 / s, np.float32) for n, s in zip(names, sizes, strict=True)},
        5,
    )
    seen = SeenImages(known.digests, known.digests)
    info["data"] |= known.as_json() | seen.as_json()
    info["quality"]["folds"] = 5
    path = write_colour_bundle(tmp_path / "model.onnx", metadata=json.dumps(info))
    client = create_app(load_predictor(path, threads=1)).test_client()
    described = client.get("/api/v1/model").json
    assert described is not None
    assert described["data"]["out_of_fold"] == {"folds": 5}
    assert "seen" not in described["data"]
    assert "by cross-validation in 5 parts" in client.get("/about").text
