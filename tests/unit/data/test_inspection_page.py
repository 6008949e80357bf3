from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from shopwindow.data.dataset import Dataset, load_dataset
from shopwindow.data.inspection import summarise_dataset, write_inspection
from shopwindow.errors import UsageError
from shopwindow.imaging.preprocess import ResizeRule

EVIL = '<script>alert("x")</script>'


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def dataset(tmp_path: Path, write_pictures: Callable[..., None], rule: ResizeRule) -> Dataset:
    """Images 00 to 29, with an evil label, duplicates, a contradiction and rows left out."""
    folder = tmp_path / "shop & sons"
    write_pictures(folder, *(f"{number:02}.png" for number in range(30)))
    for copy, original in ((1, 0), (2, 0), (29, 15)):
        (folder / f"{copy:02}.png").write_bytes((folder / f"{original:02}.png").read_bytes())
    labels = ["Shirts"] * 15 + [EVIL] * 12 + ["Heels"] * 3
    lines = [f"{number:02},{label},red" for number, label in enumerate(labels)]
    lines += [f"gone-{number},Shirts,red" for number in range(12)]
    lines += ["../secret,Shirts,red", "00,,red"]
    (folder / "labels.csv").write_text("\n".join(["id,label,colour", *lines]))
    return load_dataset(
        folder,
        rule=rule,
        also=["colour"],
        min_images=3,
        cache_dir=tmp_path / "cache",
        progress=False,
    )


@pytest.fixture
def page(dataset: Dataset, tmp_path: Path) -> Page:
    return Page(write_inspection(dataset, tmp_path / "out" / "inspect.html"))


def test_page_loads_nothing(page: Page) -> None:
    sources = [
        attributes[name] or ""
        for _, attributes in page.tags
        for name in ("src", "href", "srcset", "action", "data", "poster")
        if name in attributes
    ]
    assert sources
    assert all(source.startswith(("data:image/jpeg;base64,", "#")) for source in sources)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed"}


def test_labels_are_escaped(page: Page) -> None:
    assert "script" not in {tag for tag, _ in page.tags}
    assert EVIL in page.text, "as text it is there"


def test_contact_sheet_shows_every_label(page: Page, dataset: Dataset) -> None:
    sheet = page.text.partition("Contact sheet")[2].partition("Images per label")[0]
    assert all(label in sheet for label in dataset.vocabularies["label"])
    sources = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    image = Image.open(io.BytesIO(base64.b64decode(sources[0].partition(",")[2])))
    assert (image.format, image.size) == ("JPEG", (12, 16))


def test_sizes_of_labels_are_shown_as_bars(page: Page) -> None:
    widths = [
        attributes["style"]
        for tag, attributes in page.tags
        if tag == "i" and "width" in (attributes.get("style") or "")
    ]
    assert widths == ["width:100.0%", "width:80.0%", "width:20.0%", "width:100.0%"]


def test_duplicates_and_contradictions_are_shown(page: Page) -> None:
    contradictions = page.text.partition("Same picture, different labels")[2]
    contradictions, _, duplicates = contradictions.partition("Duplicates")
    assert "15.png" in contradictions
    assert "29.png" in contradictions
    assert "00.png" not in contradictions
    assert all(name in duplicates for name in ("00.png", "01.png", "02.png"))
    assert "Same pixels, Shirts" in duplicates


def test_every_row_that_was_left_out_is_listed(page: Page, dataset: Dataset) -> None:
    left_out = page.text.partition("Left out")[2]
    assert len(dataset.dropped) == 14
    for row in dataset.dropped:
        line = rf"{row.where}\s*{re.escape(row.reference)}"
        assert re.search(line, left_out), row
    assert "All 12" in left_out
    assert "it goes above it" in left_out


def test_writing_again_gives_the_same_page_and_no_other_file(
    dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "pages" / "inspect.html"
    first = write_inspection(dataset, path).read_bytes()
    assert write_inspection(dataset, path).read_bytes() == first
    assert list(path.parent.iterdir()) == [path]


def test_page_that_cannot_be_written_is_a_sentence(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UsageError, match=r"cannot be written to .*folder\.html"):
        write_inspection(dataset, tmp_path / "folder.html")
    assert list(tmp_path.glob("*.tmp")) == []


def test_summary_counts_everything(dataset: Dataset) -> None:
    summary = summarise_dataset(dataset)
    assert summary.startswith("30 images by id with 3 labels in label, 12 x 16 px\n")
    assert f"3 labels: Shirts 15, {EVIL} 12, Heels 3" in summary
    assert "2 groups of duplicates, 5 images (2 exact, 0 near; largest 3)" in summary
    assert f"1 of them with different labels, such as {EVIL} / Heels" in summary
    assert "14 rows and image files left out" in summary
    assert re.search(r" 12  no image file \(row 32, gone-0\)", summary)
    assert re.search(r" 1  no label \(row 45, 00\)", summary)


def test_summary_of_clean_data_says_so(
    tmp_path: Path, write_pictures: Callable[..., None], rule: ResizeRule
) -> None:
    write_pictures(tmp_path / "shop", "a/1.png", "b/2.png")
    dataset = load_dataset(
        tmp_path / "shop", rule=rule, min_images=1, cache_dir=tmp_path / "cache", progress=False
    )
    summary = summarise_dataset(dataset)
    assert "No duplicates" in summary
    assert "Nothing left out" in summary
    text = Page(write_inspection(dataset, tmp_path / "page.html")).text
    assert "Nothing: every row and every image file is used." in text


def test_label_cannot_move_the_cursor_of_the_terminal(
    tmp_path: Path, write_pictures: Callable[..., None], rule: ResizeRule
) -> None:
    write_pictures(tmp_path / "shop", "1.png")
    (tmp_path / "shop" / "labels.csv").write_text("id,label\n1,\x1b[2Jgone\n")
    dataset = load_dataset(
        tmp_path / "shop", rule=rule, min_images=1, cache_dir=tmp_path / "cache", progress=False
    )
    summary = summarise_dataset(dataset)
    assert "\x1b" not in summary
    assert r"\x1b[2Jgone" in summary
