from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heic_files import PLAIN
from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError, UsageError
from shopwindow.settings import ACCEPTED_FORMATS


def test_each_folder_is_a_label(tmp_path: Path, write_pictures: Callable[..., None]) -> None:
    write_pictures(tmp_path, "Heels/b.jpg", "Heels/deep/a.PNG", "Shirts/a.webp")
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.label_columns == ("label",)
    assert catalogue.references == ["Heels/b.jpg", "Heels/deep/a.PNG", "Shirts/a.webp"]
    assert catalogue.labels == {"label": ["Heels", "Heels", "Shirts"]}
    assert catalogue.where == ["file"] * 3
    assert catalogue.dropped == []


def test_image_outside_of_the_class_folders_is_listed(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(tmp_path, "Heels/a.jpg", "stray.jpg")
    (dropped,) = read_catalogue(DataSpec(tmp_path)).dropped
    assert (dropped.reference, dropped.reason) == ("stray.jpg", "not in the folder of a label")


def test_hidden_files_are_passed_over_and_others_are_named(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(
        tmp_path, "Heels/a.jpg", "Heels/._a.jpg", ".thumbs/a.jpg", "__MACOSX/Heels/a.jpg"
    )
    (tmp_path / "Heels" / "notes.txt").write_text("BMW bought in May, P6 too")
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.references == ["Heels/a.jpg"]
    assert catalogue.dropped == []
    assert catalogue.unused == ("Heels/notes.txt",)
    assert catalogue.notes[-1] == "1 file is not an image, and is not used: Heels/notes.txt"


@pytest.mark.parametrize("format_", ACCEPTED_FORMATS)
def test_content_makes_an_image_whatever_it_is_called(
    tmp_path: Path, image_bytes: Callable[..., bytes], format_: str
) -> None:
    blob = PLAIN if format_ == "HEIC" else image_bytes("red", (40, 40), format_)
    (tmp_path / "cat").mkdir()
    names = ["b", "c.jpg_large", "d.jpg:orig", "f.jpg?w=100", "g.ppm", "h.txt"]
    for name in names:
        (tmp_path / "cat" / name).write_bytes(blob)
    assert read_catalogue(DataSpec(tmp_path)).references == [f"cat/{name}" for name in names]


def test_folder_without_images_is_a_label_all_the_same(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "owl").mkdir()
    (tmp_path / "owl" / "1.xyz").write_bytes(b"what is this?")
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.named_labels == {"cat", "dog", "owl"}
    assert catalogue.unused == ("owl/1.xyz",)


def test_class_folder_that_is_a_link_outside_is_refused(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(tmp_path, "data/Heels/a.jpg", "outside/b.jpg")
    (tmp_path / "data" / "Shirts").symlink_to(tmp_path / "outside")
    catalogue = read_catalogue(DataSpec(tmp_path / "data"))
    assert catalogue.references == ["Heels/a.jpg"]
    assert [row.kind for row in catalogue.dropped] == ["path leaves the folder"]


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"label_column": "kind"}, "--label-column"),
        ({"image_column": "id"}, "--image-column"),
        ({"also": ["colour"]}, "--also"),
        ({"group_column": "sender"}, "--group-column"),
    ],
)
def test_column_options_have_no_effect_and_are_refused(
    tmp_path: Path, write_pictures: Callable[..., None], options: dict[str, Any], option: str
) -> None:
    write_pictures(tmp_path, "Heels/a.jpg")
    with pytest.raises(UsageError, match=f"{option} has no effect"):
        read_catalogue(DataSpec(tmp_path, **options))


def test_parts_without_folders_of_labels_are_refused(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(tmp_path, "train/a.jpg", "Valid/b.jpg")
    with pytest.raises(UsageError, match=r"parts of a data set \(Valid, train\), not labels"):
        read_catalogue(DataSpec(tmp_path))


def test_parts_are_named_and_their_folders_are_the_labels(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(
        tmp_path,
        *(
            f"{part}_set/{label}/{part}.jpg"
            for part in ("training", "test")
            for label in ("cat", "dog")
        ),
    )
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.labels == {"label": ["cat", "dog"] * 2}
    assert catalogue.roles == ("test", "test", "train", "train")
    assert catalogue.notes == (
        "Labels: the folders of each part: test_set (2 images), training_set (2 images)",
        "Held out to grade the training: test_set (2 images)",
    )


def test_test_part_beside_a_validation_part_is_kept_for_later(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(
        tmp_path,
        *(
            f"{part}/{label}/1.jpg"
            for part in ("train", "valid", "test")
            for label in ("cat", "dog")
        ),
    )
    assert read_catalogue(DataSpec(tmp_path)).notes[1] == (
        "Held out to grade the training: valid (2 images); "
        "kept for shopwindow evaluate: test (2 images)"
    )


def test_wrapping_around_class_folders_is_passed_through(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(tmp_path, "archive/shapes/cat/1.jpg", "archive/shapes/dog/2.jpg")
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.labels == {"label": ["cat", "dog"]}
    assert catalogue.references == ["archive/shapes/cat/1.jpg", "archive/shapes/dog/2.jpg"]
    assert catalogue.notes == ("Labels: the folders of archive/shapes",)


def test_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it holds no rows and no image files"):
        read_catalogue(DataSpec(tmp_path))


def test_folder_whose_name_no_model_could_carry_is_left_out(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(tmp_path, "Heels/a.jpg", "caf\udce9/b.jpg")
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.references == ["Heels/a.jpg"]
    (dropped,) = catalogue.dropped
    assert dropped.reason == "the name of its folder is not UTF-8"


def test_parts_below_the_labels_are_parts_too(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(tmp_path, *(f"{a}/{b}/1.jpg" for a in ("cat", "dog") for b in ("test", "train")))
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.labels["label"] == ["cat", "cat", "dog", "dog"]
    assert catalogue.roles == ("test", "train", "test", "train")
    assert "Held out to grade the training: test (2 images)" in catalogue.notes


def test_folders_below_the_labels_are_named_where_they_are_not_told_apart(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(
        tmp_path, "animals/cat/1.jpg", "animals/dog/1.jpg", "cars/bus/1.jpg", "cars/2.jpg"
    )
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.labels["label"] == ["animals", "animals", "cars", "cars"]
    (note,) = (one for one in catalogue.notes if "below" in one)
    assert note.startswith("3 images in folders below those of the labels, such as animals/cat: ")
