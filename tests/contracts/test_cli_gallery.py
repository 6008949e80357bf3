"""`shopwindow gallery` and `shopwindow serve --gallery`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from command_line import Run, assert_one_line

from feedback_server import serving
from shopwindow.gallery.gallery_file import Gallery
from some_gallery import PRODUCTS, write_gallery, write_shop

OPTIONS = (
    *("--image-column", "photo", "--id-column", "sku"),
    *("--title-column", "name", "--link-column", "url"),
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "shop")


def test_a_folder_with_a_table_becomes_one_file(
    run_shopwindow: Run, embedding_bundle: Path, shop: Path, tmp_path: Path
) -> None:
    completed = run_shopwindow("gallery", shop, *OPTIONS, "--model", embedding_bundle)
    assert completed.returncode == 0, completed.stderr
    assert "Gallery: shop.gallery, 8 items" in completed.stdout
    assert "1 links are left out" in completed.stdout
    assert [path.name for path in tmp_path.iterdir() if "gallery" in path.name] == ["shop.gallery"]
    gallery = Gallery(tmp_path / "shop.gallery")
    assert len(gallery) == len(PRODUCTS)
    gallery.close()


def test_columns_are_those_of_the_training_unless_named(
    run_shopwindow: Run, embedding_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    completed = run_shopwindow("gallery", colour_photos, "--model", embedding_bundle)
    assert completed.returncode == 0, completed.stderr
    assert "40 items" in completed.stdout


def test_photos_that_cannot_be_read_are_named_and_the_exit_code_says_so(
    run_shopwindow: Run, embedding_bundle: Path, shop: Path
) -> None:
    (shop / "3.jpg").write_bytes(b"no photo")
    completed = run_shopwindow("gallery", shop, *OPTIONS, "--model", embedding_bundle)
    said = assert_one_line(completed, 1)
    assert said.startswith("1 photo could not be read; the first, 3.jpg: ")
    assert "7 items" in completed.stdout


def test_a_model_without_embeddings_is_refused_before_anything_is_read(
    run_shopwindow: Run, colour_bundle: Path, tmp_path: Path
) -> None:
    completed = run_shopwindow("gallery", tmp_path, "--model", colour_bundle)
    assert "Expected a model that gives embeddings, but colours 1.0 does not" in assert_one_line(
        completed, 2
    )


def test_a_gallery_of_another_model_is_not_served(
    run_shopwindow: Run, embedding_bundle: Path, colour_bundle: Path, tmp_path: Path
) -> None:
    path = write_gallery(tmp_path / "g", embedding_bundle)
    completed = run_shopwindow("serve", "--model", colour_bundle, "--gallery", path, "--port", "0")
    said = assert_one_line(completed, 2)
    assert "was made with the model colours 1.0" in said
    assert said.endswith("make it again with shopwindow gallery and this --model.")


def test_a_file_that_is_no_gallery_is_not_served(
    run_shopwindow: Run, embedding_bundle: Path
) -> None:
    command = ("serve", "--model", embedding_bundle, "--port", "0")
    completed = run_shopwindow(*command, "--gallery", embedding_bundle)
    assert "is not a gallery: expected a file that" in assert_one_line(completed, 2)


def test_a_gallery_is_served_by_the_setting(
    embedding_bundle: Path, tmp_path: Path, image_bytes: Callable[..., bytes]
) -> None:
    path = write_gallery(tmp_path / "g", embedding_bundle)
    with serving(embedding_bundle, "off", gallery=str(path)) as (url, _):
        answer = httpx.post(
            f"{url}/api/v1/similar",
            content=image_bytes((20, 40, 220), (30, 40)),
            headers={"Content-Type": "image/png"},
        )
        assert answer.json()["items"][0]["title"] == "Blue jeans"
        assert httpx.get(url + answer.json()["items"][0]["thumbnail"]).status_code == 200
