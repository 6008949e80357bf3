from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.labelled_images import LabelledImages
from shopwindow.data.spec import DataSpec
from shopwindow.errors import UsageError


def reasons(catalogue: LabelledImages) -> dict[tuple[str, str], str]:
    return {(row.where, row.reference): row.reason for row in catalogue.dropped}


@pytest.fixture
def shop(tmp_path: Path, write_pictures: Callable[..., None]) -> Path:
    """Folder with images/1.jpg to images/4.jpg and no table."""
    write_pictures(tmp_path / "shop" / "images", "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    return tmp_path / "shop"


def test_kaggle_table_is_read(shop: Path) -> None:
    (shop / "styles.csv").write_text(
        "id,gender,articleType\n3,Men,Shirts\n1,Women,Heels\n9,Men,Belts\n"
    )
    catalogue = read_catalogue(DataSpec(shop, label_column="articleType", also=["gender"]))
    assert catalogue.references == ["images/1.jpg", "images/3.jpg"]
    assert catalogue.label_columns == ("articleType", "gender")
    assert catalogue.labels == {"articleType": ["Heels", "Shirts"], "gender": ["Women", "Men"]}
    assert catalogue.where == ["row 3", "row 2"]
    assert catalogue.read_bytes(0) == (shop / "images" / "1.jpg").read_bytes()
    assert reasons(catalogue) == {
        ("row 4", "9"): "no image file",
        ("file", "images/2.jpg"): "no row names this image file",
        ("file", "images/4.jpg"): "no row names this image file",
    }


def test_unquoted_commas_behind_the_wanted_columns_do_no_harm(shop: Path) -> None:
    (shop / "styles.csv").write_text(
        "id,label,name\n1,Shirts,Blue, checked, large\n2,Heels,Plain\n3,Shirts,Plain\n"
    )
    assert read_catalogue(DataSpec(shop)).labels["label"] == ["Shirts", "Heels", "Shirts"]
    catalogue = read_catalogue(DataSpec(shop, also=["name"]))
    assert catalogue.references == ["images/2.jpg", "images/3.jpg"]
    assert reasons(catalogue)["row 2", "1"].startswith("too many cells: 5 where the header has 3")


def test_piece_of_another_cell_is_taken_for_no_label(shop: Path) -> None:
    (shop / "styles.csv").write_text(
        "id,name,label,price\n1,Blue, large,Shirts,9\n2,Plain,Heels,9\n3,Plain,Shirts,9\n"
    )
    catalogue = read_catalogue(DataSpec(shop))
    assert catalogue.labels["label"] == ["Heels", "Shirts"]
    assert reasons(catalogue)["row 2", "1"] == (
        "too many cells: 5 where the header has 4; put cells that hold a comma in quotation marks"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "id;label\n1;Shirts, long\n2;Heels\n"),
        ("labels.csv", "\ufeffsep=;\r\nid;label\r\n1;Shirts, long\r\n2;Heels\r\n"),
        ("labels.csv", "id\tlabel\n1\tShirts, long\n2\tHeels\n"),
        ("labels.tsv", 'id,label\n1,"Shirts, long"\n2,Heels\n'),
    ],
)
def test_separator_is_found_in_the_header(shop: Path, name: str, text: str) -> None:
    (shop / name).write_text(text)
    catalogue = read_catalogue(DataSpec(shop))
    assert catalogue.labels["label"] == ["Shirts, long", "Heels"]
    assert catalogue.where == [f"row {2 + text.count('sep=')}", f"row {3 + text.count('sep=')}"]


def test_column_that_finds_more_images_is_taken_for_theirs(shop: Path) -> None:
    (shop / "metadata.csv").write_text("id,file_name,label\n0,3.jpg,Shirts\n1,2.jpg,Heels\n")
    catalogue = read_catalogue(DataSpec(shop))
    assert catalogue.image_column == "file_name"
    assert catalogue.references == ["images/2.jpg", "images/3.jpg"]
    assert read_catalogue(DataSpec(shop, image_column="id")).references == ["images/1.jpg"]


def test_one_label_written_in_two_ways_of_unicode_is_one(shop: Path) -> None:
    (shop / "labels.csv").write_text("id,label\n1,Caf\u00e9\n2,Cafe\u0301\n", encoding="utf-8")
    assert set(read_catalogue(DataSpec(shop)).labels["label"]) == {"Caf\u00e9"}


def test_trailing_commas_are_no_part_of_the_last_column(shop: Path) -> None:
    (shop / "styles.csv").write_text("id,label\n1,Shirts,,\n2,Heels\n")
    assert read_catalogue(DataSpec(shop)).labels["label"] == ["Shirts", "Heels"]


def test_byte_order_mark_crlf_and_quotes_are_read(shop: Path) -> None:
    content = '\ufeffid,label\r\n1,"Shirts, long"\r\n\r\n2,"say ""hi""\nthere"\r\n'
    (shop / "labels.csv").write_bytes(content.encode())
    catalogue = read_catalogue(DataSpec(shop))
    assert catalogue.labels["label"] == ["Shirts, long", 'say "hi"\nthere']
    assert catalogue.where == ["row 2", "row 4"]


def test_tsv_is_told_by_its_extension(shop: Path) -> None:
    (shop / "labels.tsv").write_text("id\tlabel\n1\tShirts, long\n2\tHeels\n")
    assert read_catalogue(DataSpec(shop)).labels["label"] == ["Shirts, long", "Heels"]


@pytest.mark.parametrize(
    "name", ["images/1.jpg", "images/1", "1.jpg", "1", "./images/1.jpg", r"images\1.jpg", " 1 "]
)
def test_image_is_found_by_path_or_name_with_or_without_extension(shop: Path, name: str) -> None:
    (shop / "labels.csv").write_text(f"path,label\n{name},Shirts\n")
    assert read_catalogue(DataSpec(shop)).references == ["images/1.jpg"]


def test_image_beside_the_table_comes_before_one_in_images(
    shop: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(shop, "1.jpg")
    (shop / "labels.csv").write_text("file,label\n1,Shirts\n")
    assert read_catalogue(DataSpec(shop)).references == ["1.jpg"]


def test_name_that_fits_two_files_is_dropped(
    shop: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(shop / "images", "1.png")
    (shop / "labels.csv").write_text("id,label\n1,Shirts\n1.jpg,Shirts\n")
    catalogue = read_catalogue(DataSpec(shop))
    assert catalogue.references == ["images/1.jpg"]
    reason = reasons(catalogue)["row 2", "1"]
    assert reason == "more than one image file: images/1.jpg, images/1.png"


@pytest.mark.parametrize("column", ["image", "path", "file", "filename", "file_name", "id"])
def test_usual_names_of_the_image_column_need_no_option(shop: Path, column: str) -> None:
    (shop / "labels.csv").write_text(f"year,{column},label\n2011,1,Shirts\n")
    assert len(read_catalogue(DataSpec(shop))) == 1


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"label_column": "artikel"}, "--label-column"),
        ({"image_column": "artikel"}, "--image-column"),
        ({"label_column": "kind", "also": ["artikel"]}, "--also"),
        ({}, "--label-column"),
    ],
)
def test_wrong_column_is_answered_with_the_columns_there_are(
    shop: Path, options: dict[str, object], option: str
) -> None:
    (shop / "labels.csv").write_text("id,kind,colour\n1,Shirts,red\n")
    with pytest.raises(UsageError, match="id, kind, colour") as caught:
        read_catalogue(DataSpec(shop, **options))  # type: ignore[arg-type]
    assert option in str(caught.value)


def test_no_usual_image_column_is_answered_with_the_columns_there_are(shop: Path) -> None:
    (shop / "labels.csv").write_text("photo,label\ngone,Shirts\n")
    with pytest.raises(UsageError, match=r"photo, label.*--image-column"):
        read_catalogue(DataSpec(shop))


def test_column_that_is_there_twice_cannot_be_chosen(shop: Path) -> None:
    (shop / "labels.csv").write_text("id,label,label\n1,Shirts,Heels\n")
    with pytest.raises(UsageError, match="2 columns 'label'"):
        read_catalogue(DataSpec(shop))


def test_one_column_cannot_have_two_roles(shop: Path) -> None:
    (shop / "labels.csv").write_text("id,label\n1,Shirts\n")
    with pytest.raises(UsageError, match="one role"):
        read_catalogue(DataSpec(shop, also=["label"]))


def test_empty_main_label_drops_the_row_and_an_empty_attribute_does_not(shop: Path) -> None:
    (shop / "labels.csv").write_text("id,label,colour\n1,Shirts,\n2,,red\n3,\t ,red\n4,NA,NA\n")
    catalogue = read_catalogue(DataSpec(shop, also=["colour"]))
    assert catalogue.labels == {"label": ["Shirts", "NA"], "colour": [None, "NA"]}
    assert reasons(catalogue) == {("row 3", "2"): "no label", ("row 4", "3"): "no label"}


def test_row_with_too_few_cells_is_dropped(shop: Path) -> None:
    (shop / "labels.csv").write_text("id,label,colour\n1,Shirts\n2,Heels,red\n")
    catalogue = read_catalogue(DataSpec(shop))
    assert catalogue.references == ["images/2.jpg"]
    assert reasons(catalogue)["row 2", "1"] == "too few cells: 2 where the header has 3"


def test_repeated_image_with_the_same_label_is_kept_once(shop: Path) -> None:
    (shop / "labels.csv").write_text("id,label\n1,Shirts\n2,Heels\n1.jpg,Shirts\n")
    catalogue = read_catalogue(DataSpec(shop))
    assert catalogue.references == ["images/1.jpg", "images/2.jpg"]
    reason = reasons(catalogue)["row 4", "images/1.jpg"]
    assert reason == "repeated: same image and label as row 2"


def test_image_with_two_labels_is_dropped_and_both_are_named(shop: Path) -> None:
    (shop / "labels.csv").write_text("id,label\n1,Shirts\n2,Heels\n1,Tops\n1,Shirts\n")
    catalogue = read_catalogue(DataSpec(shop))
    assert catalogue.references == ["images/2.jpg"]
    of_image = [row for row in catalogue.dropped if row.reference == "images/1.jpg"]
    assert [row.where for row in of_image] == ["row 2", "row 4", "row 5"]
    assert {row.reason for row in of_image} == {
        "different labels for one image: 'Shirts', 'Tops'",
    }
    assert {row.kind for row in of_image} == {"different labels for one image"}


def test_order_of_the_rows_plays_no_part(shop: Path) -> None:
    rows = ["1,Shirts\n", "2,Heels\n", "3,Belts\n"]
    (shop / "labels.csv").write_text("id,label\n" + "".join(rows))
    forwards = read_catalogue(DataSpec(shop))
    (shop / "labels.csv").write_text("id,label\n" + "".join(reversed(rows)))
    backwards = read_catalogue(DataSpec(shop))
    assert forwards.references == backwards.references
    assert forwards.labels == backwards.labels


def test_column_of_groups_that_is_not_there_is_named_by_its_own_option(shop: Path) -> None:
    (shop / "styles.csv").write_text("id,articleType\n1,Heels\n")
    with pytest.raises(UsageError, match="no column 'sender' for --group-column"):
        read_catalogue(DataSpec(shop, label_column="articleType", group_column="sender"))


@pytest.mark.parametrize(
    ("cells", "roles", "note"),
    [
        (("train", "test", "train"), ("train", "test", "train"), "Parts: column Split"),
        (("TRAIN", "", "Validation"), ("train", "train", "valid"), "Parts: column Split"),
        (("1", "2", "3"), (), "Column Split is not used: its cells do not say train"),
        (("train", "train", "train"), (), "Column Split is not used"),
    ],
)
def test_column_that_says_which_rows_judge_is_followed(
    tmp_path: Path,
    write_pictures: Callable[..., None],
    cells: tuple[str, ...],
    roles: tuple[str, ...],
    note: str,
) -> None:
    write_pictures(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    rows = [f"{number}.jpg,cat,{cell}\n" for number, cell in enumerate(cells, 1)]
    (tmp_path / "labels.csv").write_text("image,label,Split\n" + "".join(rows))
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.roles == roles
    assert any(one.startswith(note) for one in catalogue.notes)


def test_two_columns_that_name_other_images_each_are_refused(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    (tmp_path / "labels.csv").write_text("id,sku,label\n1,3,cat\n2,1,dog\n3,2,owl\n")
    with pytest.raises(UsageError, match=r"id and sku both name 3 of them, and not the same"):
        read_catalogue(DataSpec(tmp_path))
    assert read_catalogue(DataSpec(tmp_path, image_column="sku")).labels["label"] == [
        "dog",
        "owl",
        "cat",
    ]


def test_column_of_whole_names_is_that_of_the_images_whatever_it_is_called(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    (tmp_path / "labels.csv").write_text(
        "image,picture,label,year\n1,3.jpg,cat,1\n2,1.jpg,dog,1\n3,2.jpg,owl,1\n"
    )
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.image_column == "picture"
    assert catalogue.labels["label"] == ["dog", "owl", "cat"]
