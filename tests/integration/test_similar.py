"""Similar items on the page without a script, in the API, and as files."""

from __future__ import annotations

import io
import logging
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from shopwindow.errors import GalleryError
from shopwindow.gallery.gallery_file import Gallery
from shopwindow.inference.predictor import Predictor, load_predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app
from shopwindow.web.state import app_state
from some_gallery import PRODUCTS, write_gallery

MakeImage = Callable[..., bytes]
SIZE = (30, 40)  # of the shape that the model sees, so that nothing is padded


@pytest.fixture(scope="module")
def served(embedding_bundle: Path) -> Predictor:
    return load_predictor(embedding_bundle, threads=1)


@pytest.fixture(scope="module")
def path(embedding_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gallery(tmp_path_factory.mktemp("gallery"), embedding_bundle)


@pytest.fixture
def app(served: Predictor, path: Path) -> Iterator[Flask]:
    gallery = Gallery(path)
    yield create_app(served, Settings(max_files=3), gallery=gallery)
    gallery.close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def post(client: FlaskClient, *contents: bytes) -> str:
    files = [(io.BytesIO(content), f"{n}.png") for n, content in enumerate(contents)]
    return client.post("/", data={"image-file": files}).text


def names_on(html: str) -> list[str]:
    part = html.partition('<ul id="similar-items">')[2].partition("</ul>")[0]
    return [unescape(name) for name in re.findall(r'<span class="title">(.*?)</span>', part)]


def test_api_answers_a_photo_with_items(client: FlaskClient, image_bytes: MakeImage) -> None:
    answer = client.post("/api/v1/similar?top=2", data=image_bytes((20, 40, 220), SIZE),
                         content_type="image/png")  # fmt: skip
    assert answer.status_code == 200
    items = answer.json["items"]
    assert [item["title"] for item in items] == ["Blue jeans", "Navy suit"]
    assert items[0] | {"thumbnail": "", "similarity": 0} == {
        "id": "SKU-6", "title": "Blue jeans", "link": "https://shop.example/6", "label": "jeans",
        "thumbnail": "", "similarity": 0,
    }  # fmt: skip
    assert 0.98 < items[1]["similarity"] <= items[0]["similarity"] <= 1
    assert answer.json["model"] == {"name": "colours", "version": "1.0"}


def test_prediction_has_the_six_items_of_the_page_if_asked(
    client: FlaskClient, image_bytes: MakeImage
) -> None:
    def predict(query: str) -> dict[str, Any]:
        answer = client.post(f"/api/v1/predict{query}", data=image_bytes((20, 40, 220), SIZE),
                             content_type="image/png")  # fmt: skip
        return answer.json["predictions"][0]  # type: ignore[no-any-return]

    found = predict("?similar=true")
    assert len(found["similar"]) == 6
    assert found["similar"][0]["id"] == "SKU-6"
    assert found["similar"][0]["label"] == "jeans"
    assert "embedding" not in found  # which nobody asked for
    assert "similar" not in predict("")
    assert len(predict("?embedding=true")["embedding"]) == 3


def test_what_an_item_does_not_have_is_null(client: FlaskClient, image_bytes: MakeImage) -> None:
    answer = client.post("/api/v1/similar?top=1", data=image_bytes((110, 20, 160), SIZE),
                         content_type="image/png")  # fmt: skip
    (item,) = answer.json["items"]
    assert (item["title"], item["link"]) == ("Violet sock", None)


@pytest.mark.parametrize(
    ("query", "count", "status", "words"),
    [
        ("?top=0", 1, 400, "top: expected a whole number from 1 to 100, got '0'"),
        ("?top=101", 1, 400, "got '101'"),
        ("", 2, 400, "image: expected one image, found 2"),
        ("", 0, 415, "'image'"),
    ],
)
def test_a_bad_request_is_a_problem(
    client: FlaskClient, image_bytes: MakeImage, query: str, count: int, status: int, words: str
) -> None:
    files = [(io.BytesIO(image_bytes("red")), "x.png") for _ in range(count)]
    answer = client.post(f"/api/v1/similar{query}", data={"image": files})
    assert answer.status_code == status
    assert words in answer.get_json(force=True)["detail"]


def test_a_damaged_photo_is_its_problem(client: FlaskClient, image_bytes: MakeImage) -> None:
    half = image_bytes("red", (300, 300), "JPEG", quality=95)[:700]
    answer = client.post("/api/v1/similar", data=half, content_type="image/jpeg")
    assert answer.status_code == 422


def test_page_shows_six_items_without_a_script(client: FlaskClient, image_bytes: MakeImage) -> None:
    html = post(client, image_bytes((20, 40, 220), SIZE))
    names = names_on(html)
    assert len(names) == 6
    assert names[:2] == ["Blue jeans", "Navy suit"]
    assert "Sky <b>shirt</b>" in names
    assert "Sky &lt;b&gt;shirt" in html  # as text, not as markup
    assert '<a href="https://shop.example/6" target="_blank" rel="noopener">' in html
    assert "javascript:" not in html
    assert 'id="similar" aria-labelledby="similar-title">' in html


def test_page_shows_none_before_a_photo_nor_for_several(
    client: FlaskClient, image_bytes: MakeImage
) -> None:
    for html in (client.get("/").text, post(client, image_bytes("red"), image_bytes("blue"))):
        assert names_on(html) == []
        assert 'aria-labelledby="similar-title" hidden>' in html


def test_page_without_a_gallery_says_nothing_of_it(
    served: Predictor, image_bytes: MakeImage
) -> None:
    client = create_app(served).test_client()
    html = post(client, image_bytes("red"))
    assert "similar" not in html
    assert client.post("/api/v1/similar", data=b"x", content_type="image/png").status_code == 404
    assert client.get("/api/v1/model").json["gallery"] is None
    answer = client.post("/api/v1/predict?similar=true", data=image_bytes("red"),
                         content_type="image/png")  # fmt: skip
    assert answer.json["predictions"][0]["similar"] is None


def test_thumbnail_is_a_picture_that_may_be_kept(
    client: FlaskClient, image_bytes: MakeImage
) -> None:
    html = post(client, image_bytes((20, 40, 220), SIZE))
    (address, *more) = re.findall(r'loading="lazy" src="(/gallery/[^"]+)"', html)
    assert len(more) == 5
    answer = client.get(address)
    assert answer.mimetype == "image/jpeg"
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert Image.open(io.BytesIO(answer.data)).getpixel((9, 9))[2] > 200


@pytest.mark.parametrize(
    "address", ["{version}/8.jpg", "000000000000/0.jpg", "{version}/-1.jpg", "{version}/x.jpg",
                "{version}/99999999999999999999.jpg", "{version}/../0.jpg"]
)  # fmt: skip
def test_no_other_address_has_a_thumbnail(app: Flask, client: FlaskClient, address: str) -> None:
    gallery = app_state(app).gallery
    assert gallery is not None
    answer = client.get("/gallery/" + address.format(version=gallery.version))
    assert answer.status_code == 404


def test_another_model_is_refused_at_the_start(predictor: Predictor, path: Path) -> None:
    gallery = Gallery(path)
    with pytest.raises(GalleryError, match="make it again with shopwindow gallery"):
        create_app(predictor, gallery=gallery)
    gallery.close()


def test_once_the_model_is_replaced_similar_items_are_off_and_said_to_be(
    app: Flask,
    predictor: Predictor,
    served: Predictor,
    image_bytes: MakeImage,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client, photo = app.test_client(), image_bytes("red")
    assert client.get("/api/v1/model").json["gallery"] == {"items": len(PRODUCTS), "on": True}
    with caplog.at_level(logging.WARNING):
        app_state(app).replace_model(predictor)
    assert "Similar items are off" in caplog.text
    assert client.get("/api/v1/model").json["gallery"] == {"items": len(PRODUCTS), "on": False}
    answer = client.post("/api/v1/similar", data=photo, content_type="image/png")
    assert answer.status_code == 503
    assert "another model made the gallery" in answer.get_json(force=True)["detail"]
    answer = client.post("/api/v1/predict?similar=true", data=photo, content_type="image/png")
    assert answer.json["predictions"][0]["similar"] is None
    assert names_on(post(client, photo)) == []
    app_state(app).replace_model(served)  # rolled back
    assert len(names_on(post(client, photo))) == 6


def test_a_file_that_is_damaged_while_it_is_served_costs_no_answer(
    served: Predictor, path: Path, tmp_path: Path, image_bytes: MakeImage,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    copy = tmp_path / "copy.gallery"
    shutil.copyfile(path, copy)
    gallery = Gallery(copy)
    client = create_app(served, gallery=gallery).test_client()
    with copy.open("r+b") as file:
        file.seek(4096)  # the pages after the first, which are not read before they are needed
        file.write(b"\xff" * (copy.stat().st_size - 4096))
    # Nothing that was read before counts.
    gallery._database.execute("PRAGMA cache_size = 0")
    gallery._database.execute("PRAGMA shrink_memory")
    photo = image_bytes("red")
    html = post(client, photo)
    assert '<h1 id="label" class="sure">red</h1>' in html
    assert names_on(html) == []
    assert "Similar items could not be read" in caplog.text
    answer = client.post("/api/v1/similar", data=photo, content_type="image/png")
    assert answer.status_code == 503
    assert client.get(f"/gallery/{gallery.version}/0.jpg").status_code == 404
    gallery.close()


def test_nothing_of_a_visitors_photo_is_written(
    app: Flask, path: Path, image_bytes: MakeImage
) -> None:
    before = path.read_bytes()
    post(app.test_client(), image_bytes("red"))
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.glob("*gallery*")] == ["shop.gallery"]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        app_state(app).gallery._database.execute("DELETE FROM item")  # type: ignore[union-attr]
