"""A gallery file: what comes back out of it, and what is refused."""

from __future__ import annotations

import io
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shopwindow.bundle import EMBEDDING_OUTPUT, read_bundle
from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError, GalleryError
from shopwindow.gallery import building, gallery_draft
from shopwindow.gallery.building import build_gallery
from shopwindow.gallery.gallery_file import Gallery, is_link
from shopwindow.gallery.items import Items, read_items
from shopwindow.inference.predictor import Predictor, load_predictor
from some_gallery import COLUMNS, PRODUCTS, write_gallery, write_shop


@pytest.fixture(scope="module")
def predictor(embedding_bundle: Path) -> Predictor:
    return load_predictor(embedding_bundle, threads=1)


@pytest.fixture(scope="module")
def path(embedding_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gallery(tmp_path_factory.mktemp("gallery"), embedding_bundle)


@pytest.fixture
def gallery(path: Path) -> Iterator[Gallery]:
    gallery = Gallery(path)
    yield gallery
    gallery.close()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "shop")


def items_of(shop: Path) -> Items:
    return read_items(DataSpec(shop, image_column="photo"), COLUMNS)


def embedding_of(predictor: Predictor, image: bytes) -> np.ndarray:
    pixels = predictor.prepare(image)
    return predictor.probabilities(pixels[None], with_embedding=True)[EMBEDDING_OUTPUT][0]


def test_the_most_similar_items_come_first(
    gallery: Gallery, predictor: Predictor, image_bytes: Callable[..., bytes]
) -> None:
    found = gallery.similar(embedding_of(predictor, image_bytes((20, 40, 220), (30, 40))), 3)
    assert [item.title for item in found] == ["Blue jeans", "Navy suit", "Sky <b>shirt</b>"]
    assert found[0].link == "https://shop.example/6"
    assert (found[0].id, found[0].label) == ("SKU-6", "jeans")
    similarities = [item.similarity for item in found]
    assert similarities == sorted(similarities, reverse=True)
    assert similarities[0] == pytest.approx(1, abs=0.01)


def test_more_items_than_there_are_means_all(
    gallery: Gallery, predictor: Predictor, image_bytes: Callable[..., bytes]
) -> None:
    found = gallery.similar(embedding_of(predictor, image_bytes("red")), 100)
    assert sorted(item.number for item in found) == list(range(len(PRODUCTS)))
    assert len(gallery) == len(PRODUCTS)


def test_thumbnails_are_small_pictures_of_the_items(gallery: Gallery) -> None:
    thumbnail = Image.open(io.BytesIO(gallery.thumbnail(0) or b""))
    assert (thumbnail.format, thumbnail.size) == ("JPEG", (150, 200))
    assert np.abs(np.asarray(thumbnail)[50, 50].astype(int) - PRODUCTS[0][1]).max() < 8
    assert gallery.thumbnail(len(PRODUCTS)) is None
    assert gallery.thumbnail(-1) is None


def test_a_name_is_the_title_or_the_label_or_the_id(
    tmp_path: Path, predictor: Predictor, shop: Path
) -> None:
    (shop / "products.csv").write_text("photo,label\n1.jpg,Dress\n")
    build_gallery(items_of_photos(shop), predictor, tmp_path / "g")
    gallery = Gallery(tmp_path / "g")
    (item,) = gallery.similar(np.array([1, 0, 0], np.float32), 6)
    assert (item.title, item.name) == ("", "Dress")
    gallery.close()


def items_of_photos(shop: Path) -> Items:
    from shopwindow.gallery.items import ItemColumns

    return read_items(DataSpec(shop, image_column="photo"), ItemColumns())


def test_only_the_model_that_made_it_fits(
    gallery: Gallery, embedding_bundle: Path, colour_bundle: Path
) -> None:
    gallery.require(read_bundle(embedding_bundle))
    other = read_bundle(colour_bundle)
    assert not gallery.fits(other)
    assert not gallery.fits(replace(other, sha256=gallery.model["sha256"]))  # a file that lies
    with pytest.raises(
        GalleryError, match=r"was made with the model colours 1.0 \(SHA-256 .*again"
    ):
        gallery.require(other)


def test_a_model_without_embeddings_makes_no_gallery(
    colour_bundle: Path, shop: Path, tmp_path: Path
) -> None:
    with pytest.raises(GalleryError, match="Expected a model that gives embeddings"):
        build_gallery(items_of(shop), load_predictor(colour_bundle, threads=1), tmp_path / "g")
    assert not list(tmp_path.glob("g*"))


def test_a_photo_that_cannot_be_read_is_left_out_and_named(
    predictor: Predictor, shop: Path, tmp_path: Path
) -> None:
    (shop / "2.jpg").write_bytes(b"no photo")
    totals = build_gallery(items_of(shop), predictor, tmp_path / "g")
    assert totals.items == len(PRODUCTS) - 1
    assert [name for name, _ in totals.failed] == ["2.jpg"]
    gallery = Gallery(tmp_path / "g")
    found = gallery.similar(np.array([1, 0, 0], np.float32), 100)
    assert {item.id for item in found} == {f"SKU-{n}" for n in (1, 3, 4, 5, 6, 7, 8)}
    gallery.close()


def test_a_gallery_of_no_readable_photo_is_refused(
    predictor: Predictor, shop: Path, tmp_path: Path
) -> None:
    for photo in shop.glob("*.jpg"):
        photo.write_bytes(b"no photo")
    with pytest.raises(DataError, match=r"None of 8 photos can be read. The first, 1.jpg"):
        build_gallery(items_of(shop), predictor, tmp_path / "g")
    assert not (tmp_path / "g").exists()


class StoppedError(Exception):
    """What stops a run in these tests."""


@pytest.fixture
def stop_after_three(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the next run stop after three items, as a killed one would; then let runs go on."""
    monkeypatch.setattr(building, "_BATCH", 1)
    add = gallery_draft.GalleryDraft.add

    def stop(self: gallery_draft.GalleryDraft, *arguments: object) -> None:
        if self.done == 3:
            raise StoppedError
        add(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(gallery_draft.GalleryDraft, "add", stop)
    return lambda: monkeypatch.setattr(gallery_draft.GalleryDraft, "add", add)


def test_a_stopped_run_goes_on_and_makes_the_same_gallery(
    predictor: Predictor, shop: Path, tmp_path: Path, stop_after_three: Callable[[], None]
) -> None:
    out = tmp_path / "g"
    with pytest.raises(StoppedError):
        build_gallery(items_of(shop), predictor, out)
    assert not out.exists()
    stop_after_three()
    totals = build_gallery(items_of(shop), predictor, out)
    assert (totals.items, totals.resumed, totals.begun_anew) == (len(PRODUCTS), 3, False)
    assert not list(tmp_path.glob("g.partial*"))
    build_gallery(items_of(shop), predictor, tmp_path / "whole")
    resumed, whole = Gallery(out), Gallery(tmp_path / "whole")
    assert resumed.version == whole.version
    assert resumed.thumbnail(5) == whole.thumbnail(5)
    resumed.close()
    whole.close()


def test_a_stopped_run_of_other_photos_is_begun_anew(
    predictor: Predictor, shop: Path, tmp_path: Path, stop_after_three: Callable[[], None]
) -> None:
    with pytest.raises(StoppedError):
        build_gallery(items_of(shop), predictor, tmp_path / "g")
    stop_after_three()
    Image.new("RGB", (99, 99), "white").save(shop / "1.jpg")
    totals = build_gallery(items_of(shop), predictor, tmp_path / "g")
    assert (totals.items, totals.resumed, totals.begun_anew) == (len(PRODUCTS), 0, True)


def test_two_runs_do_not_write_one_gallery(
    predictor: Predictor, shop: Path, tmp_path: Path
) -> None:
    draft = gallery_draft.GalleryDraft(tmp_path / "g", "anything")
    with pytest.raises(GalleryError, match="another run is writing it"):
        build_gallery(items_of(shop), predictor, tmp_path / "g")
    draft.close()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    path.write_bytes(b"PK\3\4" + bytes(100))


def another_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE item (number INTEGER)")
    database.close()


def sql(statement: str, *values: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        database = sqlite3.connect(path)
        database.execute(statement, values)
        database.commit()
        database.close()

    return change


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "make it again with shopwindow gallery"),
        (empty, "is not a gallery"),
        (foreign, "is not a gallery"),
        (another_database, "is not a gallery"),
        (sql("PRAGMA user_version = 2"), "of format 2, but this shopwindow reads format 1"),
        (sql("CREATE VIEW x AS SELECT 1"), "damaged or unfinished (its tables)"),
        (
            sql("CREATE TRIGGER x AFTER INSERT ON item BEGIN SELECT 1; END"),
            "damaged or unfinished (its tables)",
        ),
        (sql("DELETE FROM about WHERE key = 'gallery'"), "what it says about itself"),
        (sql("UPDATE about SET value = '[]' WHERE key = 'gallery'"), "what it says about itself"),
        (sql("UPDATE about SET value = '{' WHERE key = 'gallery'"), "what it says about itself"),
        (sql("DELETE FROM item WHERE number = 7"), "what it says about itself"),
        (sql("UPDATE about SET value = x'00' WHERE key = 'mean'"), "(its mean)"),
        (sql("DELETE FROM code"), "(its compressed embeddings)"),
        (sql("UPDATE code SET int8 = zeroblob(3)"), "(its compressed embeddings)"),
    ],
)
def test_a_foreign_cut_or_changed_file_is_refused_in_one_sentence(
    path: Path, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    copy = tmp_path / "copy.gallery"
    shutil.copyfile(path, copy)
    damage(copy)
    with pytest.raises(GalleryError) as caught:
        Gallery(copy)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_draft_is_no_gallery(
    predictor: Predictor, shop: Path, tmp_path: Path, stop_after_three: Callable[[], None]
) -> None:
    with pytest.raises(StoppedError):
        build_gallery(items_of(shop), predictor, tmp_path / "g")
    with pytest.raises(GalleryError, match="is not a gallery"):
        Gallery(tmp_path / "g.partial")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match=r"cannot be opened \(No such file or directory\)"):
        Gallery(tmp_path / "nothing")


def test_what_was_put_into_a_file_by_hand_is_not_believed(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gallery"
    shutil.copyfile(path, copy)
    sql("UPDATE item SET link = 'javascript:alert(1)' WHERE number = 0")(copy)
    sql("UPDATE item SET title = ? WHERE number = 0", "x" * 5000)(copy)
    sql("UPDATE thumbnail SET jpeg = zeroblob(200000) WHERE number = 0")(copy)
    sql("UPDATE embedding SET float16 = zeroblob(4) WHERE number = 1")(copy)
    gallery = Gallery(copy)
    found = {item.number: item for item in gallery.similar(np.array([1, 0, 0], np.float32), 100)}
    assert set(found) == {0, *range(2, len(PRODUCTS))}
    assert (found[0].link, len(found[0].title)) == ("", 300)
    assert gallery.thumbnail(0) is None
    gallery.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://shop.example/a?b=c#d", True),
        ("http://localhost:8000/x", True),
        ("HTTPS://shop.example", True),
        ("javascript:alert(1)", False),
        ("java\nscript:alert(1)", False),
        ("data:text/html,x", False),
        ("//shop.example/x", False),
        ("/x", False),
        ("https://", False),
        ("https://shop.example/a b", False),
        ("https://[", False),
        ("https://shop.example/" + "x" * 2000, False),
        ("", False),
    ],
)
def test_only_http_addresses_are_links(text: str, expected: bool) -> None:
    assert is_link(text) is expected
