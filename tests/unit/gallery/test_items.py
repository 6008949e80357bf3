"""Which items DATA has: a table with columns of its own, class folders, or a plain folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError, UsageError
from shopwindow.gallery.items import Item, ItemColumns, read_items
from shopwindow.gallery.schema import MAX_TEXT_CHARS
from some_gallery import COLUMNS, PRODUCTS, write_shop

PLAIN = ItemColumns()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "shop")


def read(data: Path, columns: ItemColumns = PLAIN, **fields: str):  # type: ignore[no-untyped-def]
    return read_items(DataSpec(data, **fields), columns)  # type: ignore[arg-type]


def test_a_table_says_what_an_item_is_called_and_where_its_page_is(shop: Path) -> None:
    found = read(shop, COLUMNS, image_column="photo")
    assert len(found.items) == len(PRODUCTS)
    assert found.items[0] == Item("1.jpg", "SKU-1", "Red dress", "https://shop.example/1", "dress")


def test_no_column_but_that_of_the_photos_is_needed(shop: Path) -> None:
    (shop / "products.csv").write_text("photo\n1.jpg\n2.jpg\n")
    found = read(shop)
    assert found.items == [Item("1.jpg", "1.jpg"), Item("2.jpg", "2.jpg")]


def test_a_column_can_have_several_roles(shop: Path) -> None:
    columns = ItemColumns(id="photo", title="label")
    item = read(shop, columns, image_column="photo", label_column="label").items[0]
    assert (item.id, item.title, item.label) == ("1.jpg", "dress", "dress")


def test_a_link_that_is_none_is_left_out_and_named(shop: Path) -> None:
    found = read(shop, COLUMNS, image_column="photo")
    assert found.items[3].link == ""
    assert found.items[3].title == "Violet sock"
    (note,) = [note for note in found.notes if "links" in note]
    assert note.startswith("1 links are left out")
    assert note.endswith("javascript:alert(1)")


def test_rows_without_a_photo_and_repeated_ones_are_left_out_with_a_reason(shop: Path) -> None:
    with (shop / "products.csv").open("a") as file:
        file.write("SKU-9,missing.jpg,Ghost,,x\nSKU-10,1.jpg,Again,,x\n")
    found = read(shop, COLUMNS, image_column="photo")
    assert len(found.items) == len(PRODUCTS)
    assert [(row.reference, row.kind) for row in found.dropped] == [
        ("missing.jpg", "no image file"),
        ("1.jpg", "repeated"),
    ]


def test_a_long_title_is_cut(shop: Path) -> None:
    (shop / "products.csv").write_text(f"photo,name\n1.jpg,{'x' * 999}\n")
    title = read(shop, ItemColumns(title="name"), image_column="photo").items[0].title
    assert len(title) == MAX_TEXT_CHARS
    assert title.endswith("x…")


def test_folders_are_labels_and_a_photo_outside_of_them_is_an_item_too(shop: Path) -> None:
    (shop / "products.csv").unlink()
    for label, number in (("warm", 1), ("warm", 2), ("cold", 5), ("cold", 6)):
        (shop / label).mkdir(exist_ok=True)
        (shop / f"{number}.jpg").rename(shop / label / f"{number}.jpg")
    labels = {item.id: item.label for item in read(shop).items}
    assert labels == {
        **{"warm/1.jpg": "warm", "warm/2.jpg": "warm", "cold/5.jpg": "cold", "cold/6.jpg": "cold"},
        **{"3.jpg": "", "4.jpg": "", "7.jpg": "", "8.jpg": ""},
    }


def test_a_plain_folder_of_photos_is_a_gallery(shop: Path) -> None:
    (shop / "products.csv").unlink()
    assert [item.id for item in read(shop).items] == [f"{n}.jpg" for n in range(1, 9)]


def test_a_column_that_is_not_there_is_refused(shop: Path) -> None:
    with pytest.raises(UsageError, match="no column 'titel' for --title-column"):
        read(shop, ItemColumns(title="titel"), image_column="photo")


def test_a_column_without_a_table_is_refused(shop: Path) -> None:
    (shop / "products.csv").unlink()
    with pytest.raises(UsageError, match=r"--link-column has no effect, since .* no table"):
        read(shop, ItemColumns(link="url"))
    with pytest.raises(UsageError, match=r"--label-column has no effect, since .* no table"):
        read(shop, label_column="kind")


def test_data_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No photo is left in .*: expected image files"):
        read(tmp_path)
