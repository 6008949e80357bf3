from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError, OversizedImageError


@pytest.fixture
def shop(tmp_path: Path, write_pictures: Callable[..., None]) -> Path:
    """Folder with 1.jpg, beside a folder with secret.jpg."""
    write_pictures(tmp_path, "shop/1.jpg", "outside/secret.jpg")
    return tmp_path / "shop"


def reason_for(shop: Path, name: str) -> str:
    (shop / "labels.csv").write_text(f'id,label\n1,Shirts\n"{name}",Heels\n')
    catalogue = read_catalogue(DataSpec(shop))
    assert catalogue.references == ["1.jpg"]
    return next(row.reason for row in catalogue.dropped if row.where == "row 3")


@pytest.mark.parametrize(
    "name",
    [
        "../outside/secret.jpg",
        "images/../../outside/secret.jpg",
        r"..\outside\secret.jpg",
        "/etc/passwd",
        r"C:\photos\secret.jpg",
        r"\\server\share\secret.jpg",
    ],
)
def test_path_that_leaves_the_folder_is_refused(shop: Path, name: str) -> None:
    assert reason_for(shop, name).startswith("path leaves the folder: ")


def test_absolute_path_is_refused_even_into_the_folder(shop: Path) -> None:
    reason = reason_for(shop, str(shop / "1.jpg"))
    assert reason == "path leaves the folder: it is absolute"


@pytest.mark.parametrize("name", ["link.jpg", "link"])
def test_link_to_a_file_outside_is_refused(shop: Path, name: str) -> None:
    (shop / "link.jpg").symlink_to(shop.parent / "outside" / "secret.jpg")
    reason = "path leaves the folder: it is a link that leads outside"
    assert reason_for(shop, name) == reason


def test_link_to_a_folder_outside_is_refused(shop: Path) -> None:
    (shop / "images").symlink_to(shop.parent / "outside")
    reason = "path leaves the folder: it is a link that leads outside"
    assert reason_for(shop, "images/secret.jpg") == reason
    assert reason_for(shop, "images/deep/er/secret.jpg") == reason


def test_refused_link_that_no_row_names_is_listed(shop: Path) -> None:
    (shop / "link.jpg").symlink_to(shop.parent / "outside" / "secret.jpg")
    (shop / "labels.csv").write_text("id,label\n1,Shirts\n")
    (dropped,) = read_catalogue(DataSpec(shop)).dropped
    assert (dropped.where, dropped.reference) == ("file", "link.jpg")
    assert dropped.kind == "path leaves the folder"


def test_link_to_a_file_inside_is_an_image_like_any_other(shop: Path) -> None:
    (shop / "again.jpg").symlink_to(shop / "1.jpg")
    (shop / "labels.csv").write_text("id,label\nagain,Shirts\n1,Shirts\n")
    assert read_catalogue(DataSpec(shop)).references == ["1.jpg", "again.jpg"]


def test_folder_that_contains_itself_is_read_once(shop: Path) -> None:
    (shop / "loop").symlink_to(shop)
    (shop / "labels.csv").write_text("id,label\n1,Shirts\n")
    assert read_catalogue(DataSpec(shop)).references == ["1.jpg"]


@pytest.mark.parametrize("name", ["x" * 5_000, "", "   "])
def test_cell_that_is_no_file_name_is_dropped(shop: Path, name: str) -> None:
    assert reason_for(shop, name).startswith("no image: ")


def test_label_as_long_as_a_page_is_dropped(shop: Path) -> None:
    (shop / "labels.csv").write_text(f"id,label\n1,{'x' * 5_000}\n")
    with pytest.raises(DataError, match=r"label too long: 5,000 characters in column label"):
        read_catalogue(DataSpec(shop))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"id,label\n1,Shi\0rts\n", "not a CSV or TSV file: it holds binary data"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a CSV or TSV file: it holds binary data"),
        ("id,label\n1,Shirts\n".encode("utf-16")[:-1], "damaged: it begins like utf-16 text"),
        (b"id,label\n1," + b"x" * 200_000 + b"\n", "label too long: 200,000 characters"),
        (b"id,label\n1," + b"x" * 11_000_000 + b"\n", "field larger than field limit"),
        (b'id,label\n1,"Shirts\n2,Heels\n', "opened in line 2 is never closed"),
        (b"", "is empty: expected a first line that names the columns"),
        (b"\n\r\n\n", "is empty: expected a first line that names the columns"),
        (b"id,label\n", "No image is left"),
    ],
)
def test_table_that_cannot_be_read_is_answered_with_a_sentence(
    shop: Path, content: bytes, sentence: str
) -> None:
    (shop / "labels.csv").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        read_catalogue(DataSpec(shop))


def test_data_without_a_usable_row_says_what_was_found(shop: Path) -> None:
    (shop / "labels.csv").write_text("id,label\n7,Shirts\n8,Heels\n1,\n")
    with pytest.raises(DataError) as caught:
        read_catalogue(DataSpec(shop))
    assert str(caught.value) == (
        f"No image is left in {shop}: 3 rows and image files were left out (2 × no image file; "
        "1 × no label). The first, row 2 ('7'): no image file."
    )


def test_file_name_that_is_not_utf8_is_read(shop: Path, picture_bytes: Callable) -> None:
    folder = shop / "kinds" / "Heels"
    folder.mkdir(parents=True)
    path = bytes(folder) + b"/\xff.png"
    try:
        with open(path, "wb") as file:  # noqa: PTH123 (Path takes no bytes)
            file.write(picture_bytes(0))
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    catalogue = read_catalogue(DataSpec(shop / "kinds"))
    assert catalogue.read_bytes(0) == picture_bytes(0)


def test_file_that_outgrew_the_limit_is_not_read(shop: Path) -> None:
    with (shop / "1.jpg").open("r+b") as file:
        file.truncate(100_000_001)  # sparse: takes no room
    (shop / "labels.csv").write_text("id,label\n1,Shirts\n")
    with pytest.raises(OversizedImageError, match="100,000,001 bytes"):
        read_catalogue(DataSpec(shop)).read_bytes(0)


def test_link_to_itself_is_left_out_and_the_rest_is_read(shop: Path) -> None:
    (shop / "loop.jpg").symlink_to("loop.jpg")
    (shop / "labels.csv").write_text("image,label\n1,Shirts\nloop.jpg,Heels\n")
    catalogue = read_catalogue(DataSpec(shop))
    assert catalogue.labels["label"] == ["Shirts"]
    (dropped,) = [row for row in catalogue.dropped if row.reference == "loop.jpg"]
    assert dropped.reason.startswith("cannot be read")


def test_link_to_nothing_is_counted(shop: Path) -> None:
    (shop / "cat").mkdir()
    (shop / "cat" / "2.jpg").symlink_to(shop / "gone.jpg")
    (shop / "1.jpg").rename(shop / "cat" / "1.jpg")
    (dropped,) = read_catalogue(DataSpec(shop)).dropped
    assert (dropped.reference, dropped.kind) == ("cat/2.jpg", "not a regular file")


def test_table_without_a_header_is_refused_with_a_sentence(shop: Path) -> None:
    (shop / "labels.csv").write_text("1.jpg,Shirts\n2.jpg,Heels\n")
    with pytest.raises(DataError, match="expected a first line that names the columns"):
        read_catalogue(DataSpec(shop))
