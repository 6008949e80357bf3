from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.spec import DataSpec
from shopwindow.errors import UsageError


@pytest.fixture
def shop(tmp_path: Path, write_pictures: Callable[..., None]) -> Path:
    write_pictures(tmp_path / "shop", "1.jpg", "2.jpg")
    return tmp_path / "shop"


def test_labels_file_is_looked_for_here_and_then_in_data(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (shop / "labels.txt").write_text("id,label\n1,In data\n")
    assert read_catalogue(DataSpec(shop, labels_file=Path("labels.txt"))).labels["label"] == [
        "In data"
    ]
    (tmp_path / "labels.txt").write_text("id,label\n1,Here\n")
    assert read_catalogue(DataSpec(shop, labels_file=Path("labels.txt"))).labels["label"] == [
        "Here"
    ]


def test_labels_file_that_is_nowhere_is_named(shop: Path) -> None:
    with pytest.raises(UsageError, match=r"no file gone\.csv, neither here nor in"):
        read_catalogue(DataSpec(shop, labels_file=Path("gone.csv")))


def test_table_as_data_means_the_images_beside_it(shop: Path) -> None:
    (shop / "a.csv").write_text("id,label\n1,Shirts\n")
    (shop / "b.csv").write_text("id,label\n2,Heels\n")
    assert read_catalogue(DataSpec(shop / "b.csv")).labels["label"] == ["Heels"]


def test_several_tables_have_to_be_chosen_from(shop: Path) -> None:
    (shop / "a.csv").write_text("id,label\n1,Shirts\n")
    (shop / "b.tsv").write_text("id\tlabel\n2\tHeels\n")
    with pytest.raises(UsageError, match=r"2 tables \(a\.csv, b\.tsv\).*--labels"):
        read_catalogue(DataSpec(shop))


def test_table_as_data_and_a_labels_file_exclude_each_other(shop: Path) -> None:
    (shop / "a.csv").write_text("id,label\n1,Shirts\n")
    with pytest.raises(UsageError, match="DATA is the folder"):
        read_catalogue(DataSpec(shop / "a.csv", labels_file=shop / "a.csv"))


def test_hidden_tables_of_macos_are_passed_over(shop: Path) -> None:
    (shop / "a.csv").write_text("id,label\n1,Shirts\n")
    (shop / "._a.csv").write_bytes(b"\0\5\x16\7")
    assert len(read_catalogue(DataSpec(shop))) == 1


def test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no folder .*gone"):
        read_catalogue(DataSpec(tmp_path / "gone"))


def test_data_that_is_another_kind_of_file_is_refused(shop: Path) -> None:
    with pytest.raises(UsageError, match="expected a folder of images, or a table"):
        read_catalogue(DataSpec(shop / "1.jpg"))
