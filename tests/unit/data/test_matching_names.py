"""Rows without a file and files without a row are compared."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.folder import ImageFolder
from shopwindow.data.matching import match_names
from shopwindow.data.spec import DataSpec


@pytest.fixture
def match(tmp_path: Path) -> Callable[..., tuple[list[str], list[str]]]:
    """Return a function that gives the file of each name, or its problem, and what is said."""

    def match(files: list[str], names: list[str]) -> tuple[list[str], list[str]]:
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
        found, notes = match_names(names, ImageFolder(tmp_path))
        return [problem or reference for reference, problem in found], notes

    return match


NFD = unicodedata.normalize("NFD", "höse")
FLAT = ["1.jpg", "2.jpg", "3.jpg"]


@pytest.mark.parametrize(
    ("files", "names", "sentence"),
    [
        (["höse1.jpg", "höse2.jpg"], [f"{NFD}1.jpg", f"{NFD}2"], "another Unicode form"),
        ([f"{NFD}1.jpg", f"{NFD}2.jpg"], ["höse1.jpg", "höse2.jpg"], "another Unicode form"),
        (["a.JPG", "B.jpg"], ["A.jpg", "b.jpg"], "by ignoring case"),
        (["a.JPG", "b.JPG", "c.jpg"], ["a.jpg", "b.jpg", "c.jpg"], "by ignoring case"),
        (["a.jpg", "b.jpg"], ["a.png", "b.png"], "with another extension: a.png is a.jpg"),
        (["1539.jpg", "1540.jpg"], ["1539.0", "1540.0"], "with another extension"),
        (["00000.jpg", "00012.jpg"], ["0", "12"], "with leading zeros"),
        (["images/007.jpg", "images/012.jpg"], ["7", "12"], "leading zeros"),
        (["img_0007.jpg", "img_0012.jpg"], ["img_7.jpg", "img_12.jpg"], "leading zeros"),
        (["7.jpg", "12.jpg"], ["007.jpg", "012.jpg"], "with leading zeros"),
        (FLAT, [f"data/{name}" for name in FLAT], "found without 'data/': data/1.jpg is 1.jpg"),
        (FLAT, [rf"C:\Users\ann\{name}" for name in FLAT], "found without 'C:/Users/ann/'"),
        (FLAT, [f"/home/ann/pets/{name}" for name in FLAT], "found without '/home/ann/pets/'"),
        (FLAT, [f"../pets/{name}" for name in FLAT], "found without '../pets/'"),
        (FLAT, [f"https://x.org/a/{name}?w=9" for name in FLAT], "found without '/a/'"),
        (["a/1.jpg", "a/2.jpg"], ["1.jpg", "2.jpg"], "found in 'a/': 1.jpg is a/1.jpg"),
        (["a/1.jpg", "b/2.jpg"], ["1.jpg", "2.jpg"], "in other folders: 1.jpg is a/1.jpg"),
        (["a/x/1.jpg", "b/x/1.jpg"], ["d/a/x/1.jpg", "d/b/x/1.jpg"], "found without 'd/'"),
        (["007.jpg", "012.jpg"], ["data/7", "data/12"], "leading zeros and without 'data/'"),
        ([f"{NFD}1.jpg", f"{NFD}2.jpg"], ["d/höse1.jpg", "d/höse2.jpg"], "found without 'd/'"),
    ],
)
def test_rule_that_most_rows_need_is_applied_and_said(
    match: Callable[..., tuple[list[str], list[str]]],
    files: list[str],
    names: list[str],
    sentence: str,
) -> None:
    found, notes = match(files, names)
    assert found == files
    (note,) = notes
    assert sentence in note


def test_names_that_fit_need_no_rule(match: Callable[..., tuple[list[str], list[str]]]) -> None:
    assert match(["1.jpg", "images/2.jpg"], ["./1.jpg", "2"]) == (["1.jpg", "images/2.jpg"], [])


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (FLAT, ["a/1.jpg", "b/1.jpg", "a/2.jpg", "b/2.jpg"]),  # two images of one name
        (["a/1.jpg", "b/1.jpg"], ["1.jpg"]),
        (["7.jpg", "07.jpg"], ["007.jpg", "0007.jpg"]),
        (FLAT, ["data/1.jpg"]),  # one row is no rule
        (FLAT, ["x.jpg", "y.jpg", "z.jpg"]),
    ],
)
def test_name_that_may_mean_two_things_finds_nothing(
    match: Callable[..., tuple[list[str], list[str]]], files: list[str], names: list[str]
) -> None:
    found, notes = match(files, names)
    assert not set(found) & set(files)
    assert notes == []


def test_few_odd_paths_among_rows_without_images_are_no_rule(
    match: Callable[..., tuple[list[str], list[str]]],
) -> None:
    names = [*(f"gone{number}.jpg" for number in range(20)), "data/1.jpg", "data/2.jpg"]
    files = [f"{number}.jpg" for number in range(1, 30)]
    found, notes = match(files, names)
    assert found == ["no image file"] * 22
    assert notes == []


def test_rule_is_told_with_the_catalogue_and_chooses_the_column(
    tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    write_pictures(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "labels.csv").write_text("id,file_name,label\n1,data/2.jpg,cat\n2,data/1.jpg,dog\n")
    catalogue = read_catalogue(DataSpec(tmp_path))
    assert catalogue.image_column == "file_name"
    assert catalogue.labels["label"] == ["dog", "cat"]
    assert catalogue.notes == ("2 images were found without 'data/': data/2.jpg is 2.jpg",)
