"""A camera, a folder, a zip, an example: every further way to hand in photos."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from visitor import check_answer, check_grid, drop_files

OpenPage = Callable[..., Page]
Photo = Callable[..., Path]
MakeImage = Callable[..., bytes]
PHONE = {"size": (390, 844), "has_touch": True, "is_mobile": True}


@pytest.fixture
def folder(tmp_path: Path, image_bytes: MakeImage) -> Path:
    """Two photos, one of them in a folder of its own, and what else lies in folders."""
    inner = tmp_path / "wardrobe" / "summer"
    inner.mkdir(parents=True)
    (inner.parent / "one.png").write_bytes(image_bytes("red"))
    (inner / "two.png").write_bytes(image_bytes("blue"))
    (inner / "notes.txt").write_text("linen")
    (inner / ".hidden.png").write_bytes(image_bytes("white"))
    return inner.parent


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("js", [True, False])
def test_phone_has_a_control_that_opens_the_camera(
    open_page: OpenPage, photo: Photo, js: bool
) -> None:
    page = open_page(js=js, **PHONE)
    camera = page.get_by_label("Take a photo")
    expect(camera).to_have_attribute("capture", "environment")
    box = page.locator(".touch").bounding_box()
    assert box is not None
    assert box["height"] >= 44
    camera.set_input_files(photo("red"))
    if not js:
        page.get_by_role("button", name="Find out").click()
    check_answer(page, "red")


def test_desktop_has_no_camera_control_but_one_for_folders(
    open_page: OpenPage, folder: Path
) -> None:
    page = open_page()
    expect(page.locator(".touch")).to_be_hidden()
    page.get_by_label("A folder").set_input_files(folder)
    check_grid(page, ["red", "blue"])
    expect(page.locator(".tile .file")).to_have_text(
        ["wardrobe/one.png", "wardrobe/summer/two.png"]
    )
    expect(page.locator("#note")).to_contain_text("1 file skipped, not a picture: wardrobe/")


def test_dropped_folder_is_searched_through(open_page: OpenPage, folder: Path) -> None:
    page = open_page()
    drop_files(page, folder)
    check_grid(page, ["red", "blue"])
    expect(page.locator(".tile .file")).to_have_text(
        ["wardrobe/one.png", "wardrobe/summer/two.png"]
    )


def test_several_dropped_photos_become_a_grid(open_page: OpenPage, photo: Photo) -> None:
    page = open_page()
    drop_files(page, photo("red"), photo((128, 130, 0)), photo("blue"))
    check_grid(page, ["Hard to tell", "red", "blue"])  # what is least sure comes first
    expect(page.locator(".tile").first).to_have_class("tile unknown")


def test_zip_is_unpacked_in_the_browser(
    open_page: OpenPage, tmp_path: Path, image_bytes: MakeImage
) -> None:
    path = zipped(
        tmp_path / "photos.zip",
        {
            "a/red.png": image_bytes("red"),
            "blue.png": image_bytes("blue"),
            "readme.txt": b"hello",
            "__MACOSX/a/._red.png": b"resource fork",
        },
    )
    page = open_page()
    page.set_input_files("#image-file", path)
    check_grid(page, ["red", "blue"])
    expect(page.locator("#note")).to_contain_text("1 file skipped")


def test_pictures_of_the_same_name_in_a_zip_are_numbered(
    open_page: OpenPage, tmp_path: Path, image_bytes: MakeImage
) -> None:
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile advises against it
        for colour in ("red", "blue"):
            archive.writestr("same.png", image_bytes(colour))
    page = open_page()
    page.set_input_files("#image-file", path)
    check_grid(page, ["red", "blue"])


def test_zip_with_one_photo_is_answered_large(
    open_page: OpenPage, tmp_path: Path, image_bytes: MakeImage
) -> None:
    page = open_page()
    page.set_input_files(
        "#image-file", zipped(tmp_path / "one.zip", {"red.png": image_bytes("red")})
    )
    check_answer(page, "red")


def test_skipped_files_of_a_zip_are_named_beside_a_single_answer_too(
    open_page: OpenPage, tmp_path: Path, image_bytes: MakeImage
) -> None:
    texts = {f"{name}.txt": b"text" for name in "abcde"}
    page = open_page()
    page.set_input_files(
        "#image-file", zipped(tmp_path / "one.zip", {"red.png": image_bytes("red"), **texts})
    )
    expect(page.locator("h1.sure")).to_have_text("red")
    expect(page.locator("#note")).to_contain_text(
        "5 files skipped, not pictures: a.txt, b.txt, c.txt and 2 more."
    )


def test_picture_of_any_kind_in_a_zip_is_left_to_the_server(
    open_page: OpenPage, tmp_path: Path, image_bytes: MakeImage
) -> None:
    names = ["a.avif", "a.heic", "a.HEIF", "a.jpe", "a.tif"]
    files = {"b.png": image_bytes("red"), **dict.fromkeys(names, b"what")}
    page = open_page()
    page.set_input_files("#image-file", zipped(tmp_path / "some.zip", files))
    check_grid(page, ["red"], failed=5)
    expect(page.locator(".tile.bad .file")).to_have_text(names)


def test_zip_bomb_is_not_inflated(
    open_page: OpenPage, tmp_path: Path, image_bytes: MakeImage
) -> None:
    honest = zipped(
        tmp_path / "bomb.zip", {"bomb.png": bytes(30_000_000), "red.png": image_bytes("red")}
    )
    # One that lies: it says 1,000 bytes and would inflate to 30 million.
    true_size, stated = (30_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    liar = tmp_path / "liar.zip"
    liar.write_bytes(honest.read_bytes().replace(true_size, stated))
    page = open_page()
    for path, words in ((honest, "larger than 10 MB"), (liar, "could not be unpacked")):
        page.set_input_files("#image-file", path)
        check_grid(page, ["red"], failed=1)
        expect(page.locator(".tile.bad .failed")).to_contain_text(words)


def test_damaged_zip_is_explained(open_page: OpenPage, tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    path.write_bytes(b"PK\x03\x04 and then nothing")
    page = open_page()
    page.set_input_files("#image-file", path)
    expect(page.get_by_role("alert")).to_contain_text("photos.zip could not be unpacked")


def test_zip_without_pictures_is_explained(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    page.set_input_files("#image-file", zipped(tmp_path / "texts.zip", {"a.txt": b"a"}))
    expect(page.get_by_role("alert")).to_have_text(
        "No pictures found. 1 file skipped, not a picture: a.txt."
    )


def test_several_photos_are_answered_without_javascript(
    open_page: OpenPage, photo: Photo, tmp_path: Path
) -> None:
    letter = tmp_path / "letter.jpg"
    letter.write_text("Dear shop")
    page = open_page(js=False)
    page.set_input_files("#image-file", [photo("red"), letter, photo((128, 130, 0))])
    page.get_by_role("button", name="Find out").click()
    check_grid(page, ["Hard to tell", "red"], failed=1)
    expect(page.locator(".tile.bad .failed")).to_contain_text("expected JPEG")
    expect(page.locator(".tile.bad .file")).to_have_text("letter.jpg")
    expect(page.locator(".tools")).to_be_hidden()


@pytest.mark.parametrize("js", [True, False])
def test_example_is_one_click_away(open_page: OpenPage, bundled_url: str, js: bool) -> None:
    page = open_page(js=js, base=bundled_url)
    expect(page.locator(".examples a")).to_have_count(6)
    page.get_by_role("link", name="Watch").click()
    expect(page.locator("h1.sure")).to_have_text("Watches")
    expect(page.locator("#preview")).to_be_visible()
