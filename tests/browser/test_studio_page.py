"""The parts of the studio's page: labelling by hand and by keys, undo; and for everybody."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from test_accessible import check

from chromium import find_chromium
from studio_server import Page as Server
from studio_server import studio

OpenPage = Callable[..., Page]


def picture(number: int, tint: tuple[int, int, int]) -> tuple[str, bytes]:
    """Return a name and a photo that looks like no other: blocks of shades of one colour."""
    shades = np.random.default_rng(number).integers(60, 256, (6, 6, 1)) / 255
    blocks = (shades * np.array(tint)).astype(np.uint8)
    image = Image.fromarray(blocks).resize((160, 160), Image.Resampling.NEAREST)
    out = io.BytesIO()
    image.save(out, "PNG")
    return f"photo-{number:02}.png", out.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with studio(tmp_path_factory.mktemp("studio") / "blocks") as server:
        yield server


@pytest.fixture
def blocks(server: Server) -> Server:
    """A project with six red photos and six blue ones, none with a label."""
    if there := list(server.photos()):
        server.post("labels", ids=there, label=None, force=True)
    else:
        red = [picture(number, (255, 30, 30)) for number in range(6)]
        blue = [picture(number, (30, 30, 255)) for number in range(6, 12)]
        server.add([*red, *blue])
    server.wait(
        lambda state: state["project"]["reading"] == 0 and state["model"]["status"] == "empty"
    )
    return server


def photo(page: Page, number: int) -> Locator:
    return page.locator(f'[data-id="photo-{number:02}.png"]')


def label_of(page: Page, label: str) -> Locator:
    return page.locator("#label-list li").filter(has_text=label)


def labels_of(server: Server) -> list[str]:
    return [label for _, (label, _) in sorted(server.photos().items())]


def test_photos_are_labelled_by_hand_then_by_keys_and_undone(
    open_page: OpenPage, blocks: Server
) -> None:
    page = open_page("/studio", base=blocks.url)
    photo(page, 0).click()
    photo(page, 2).click(modifiers=["Shift"])
    expect(page.locator("#how-many")).to_have_text("3 selected")
    page.get_by_label("What do they show?").fill("red")
    page.keyboard.press("Enter")
    expect(label_of(page, "red")).to_contain_text("3")

    photo(page, 6).click()
    photo(page, 7).click()
    page.keyboard.press("c")
    page.keyboard.type("blue")
    page.keyboard.press("Enter")
    expect(label_of(page, "blue")).to_contain_text("2")

    photo(page, 8).focus()
    page.keyboard.press("1")  # blue comes before red
    expect(label_of(page, "blue")).to_contain_text("3")
    page.keyboard.press("Control+z")
    expect(label_of(page, "blue")).to_contain_text("2")
    page.get_by_role("button", name="Redo").click()
    expect(label_of(page, "blue")).to_contain_text("3")
    assert labels_of(blocks) == ["red"] * 3 + [""] * 3 + ["blue"] * 3 + [""] * 3


def test_dragging_selects_from_the_first_photo_to_the_last(
    open_page: OpenPage, blocks: Server
) -> None:
    page = open_page("/studio", base=blocks.url)
    tiles = page.locator("[data-id]")
    expect(tiles).to_have_count(12)
    tiles.nth(1).hover()
    page.mouse.down()
    tiles.nth(3).hover()
    page.mouse.up()
    expect(page.locator("#how-many")).to_have_text("3 selected")
    expect(tiles.nth(2)).to_have_attribute("aria-pressed", "true")
    expect(tiles.nth(4)).to_have_attribute("aria-pressed", "false")


def test_double_click_opens_a_photo_also_where_the_bar_comes_over_it(
    open_page: OpenPage, blocks: Server
) -> None:
    page = open_page("/studio", base=blocks.url, size=(1280, 520))
    place = photo(page, 5).bounding_box()
    assert place is not None
    assert place["y"] < 420 < place["y"] + place["height"]  # at the foot, where the bar will be
    page.mouse.dblclick(place["x"] + 40, 450, delay=60)
    expect(page.locator("#look")).to_be_visible()
    expect(page.locator("#look-note")).to_contain_text("photo-05.png")
    assert labels_of(blocks) == [""] * 12


def test_guesses_are_accepted_a_row_at_a_time(open_page: OpenPage, blocks: Server) -> None:
    blocks.post("labels", ids=["photo-00.png", "photo-01.png", "photo-02.png"], label="red")
    blocks.post("labels", ids=["photo-06.png", "photo-07.png", "photo-08.png"], label="blue")
    blocks.wait_for_model()
    page = open_page("/studio", base=blocks.url)
    page.get_by_role("button", name="These 3 are red").click()
    expect(label_of(page, "red")).to_contain_text("6")
    assert labels_of(blocks)[:6] == ["red"] * 6


def test_label_is_renamed_and_merged_and_deleted(open_page: OpenPage, blocks: Server) -> None:
    blocks.post("labels", ids=["photo-00.png", "photo-01.png"], label="red")
    blocks.post("labels", ids=["photo-02.png"], label="crimson")
    page = open_page("/studio", base=blocks.url)
    page.get_by_role("button", name="Rename or delete crimson").click()
    page.get_by_label("New label").fill("red")
    expect(page.get_by_text("There is “red” already: the two become one.")).to_be_visible()
    page.get_by_role("button", name="Rename", exact=True).click()
    expect(label_of(page, "red")).to_contain_text("3")
    page.get_by_role("button", name="Rename or delete red").click()
    page.get_by_role("button", name="Delete this label").click()
    expect(page.locator("#label-list li")).to_have_count(0)
    assert set(labels_of(blocks)) == {""}


def test_change_by_somebody_else_is_told_and_not_lost(open_page: OpenPage, blocks: Server) -> None:
    page = open_page("/studio", base=blocks.url)
    photo(page, 0).click()
    news = re.compile(r"/studio/api/photos\?since=")
    page.route(news, lambda _: None)  # never answered: the page has not heard of it
    blocks.post("labels", ids=["photo-00.png"], label="theirs")
    page.get_by_label("What do they show?").fill("mine")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("Somebody else has changed")
    assert labels_of(blocks)[0] == "theirs"
    page.get_by_role("button", name="Do it all the same").click()
    page.unroute(news)
    expect(label_of(page, "mine")).to_contain_text("1")


def test_refused_label_can_be_mended(open_page: OpenPage, blocks: Server) -> None:
    page = open_page("/studio", base=blocks.url)
    photo(page, 0).click()
    photo(page, 1).click()
    page.get_by_label("What do they show?").fill("red|blue")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("vertical bar")
    expect(page.locator("#how-many")).to_have_text("2 selected")
    expect(page.get_by_label("What do they show?")).to_have_value("red|blue")


def test_search_shows_what_matches(open_page: OpenPage, blocks: Server) -> None:
    page = open_page("/studio", base=blocks.url)
    expect(page.locator("[data-id]")).to_have_count(12)
    page.get_by_label("Search labels and files").fill("photo-1")
    expect(page.locator("[data-id]")).to_have_count(2)
    page.get_by_label("Search labels and files").fill("nothing")
    expect(page.get_by_text("No photo matches.")).to_be_visible()


def test_file_that_is_no_picture_is_listed_with_its_reason(
    open_page: OpenPage, blocks: Server, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    page = open_page("/studio", base=blocks.url)
    page.get_by_label("Photos or a zip").first.set_input_files(broken)
    page.get_by_text("1 file left out").click()
    expect(page.locator("#refused-list")).to_contain_text("broken.png")


def test_without_javascript_it_says_that_it_needs_it(open_page: OpenPage, blocks: Server) -> None:
    page = open_page("/studio", base=blocks.url, js=False)
    expect(page.locator(".needs")).to_be_visible()


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("light", {"size": (1280, 800)}),
        ("dark", {"size": (390, 844), "has_touch": True, "is_mobile": True}),
        ("light", {"size": (320, 640), "has_touch": True, "is_mobile": True}),
    ],
    ids=["desktop", "phone", "narrow"],
)
def test_every_part_is_accessible_and_fits(
    open_page: OpenPage, blocks: Server, scheme: str, options: dict[str, tuple[int, int]]
) -> None:
    def look(state: str) -> None:
        check(page, state)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= options["size"][0], f"{state}: {wide} px wide"

    blocks.post("labels", ids=["photo-00.png", "photo-01.png", "photo-06.png"], label="red")
    blocks.post("labels", ids=["photo-07.png", "photo-08.png", "photo-09.png"], label="blue")
    blocks.wait_for_model()
    page = open_page(
        "/studio", base=blocks.url, color_scheme=scheme, reduced_motion="reduce", **options
    )
    expect(page.locator(".is-photo img").first).to_be_visible()
    look("photos")
    photo(page, 2).click()
    look("selected")
    page.get_by_role("button", name="Clear", exact=True).click()
    page.get_by_role("button", name="Rename or delete red").click()
    look("a label")
    page.get_by_role("button", name="Cancel").click()
    photo(page, 0).press("Enter")
    look("one photo")
    page.get_by_role("button", name="Close", exact=True).click()
    parts = page.get_by_role("navigation", name="Parts of the studio")
    parts.get_by_role("button", name="How good").click()
    expect(page.locator("#accuracy")).to_contain_text("%")
    look("how good")
    parts.get_by_role("button", name="Try it").click()
    name, content = picture(99, (255, 30, 30))
    file = {"name": name, "mimeType": "image/png", "buffer": content}
    page.get_by_label("Choose a photo").set_input_files(file)  # type: ignore[arg-type]
    expect(page.locator("#tried")).to_be_visible()
    look("tried")
    parts.get_by_role("button", name="Window").click()
    look("window")


def test_empty_project_is_accessible(open_page: OpenPage, tmp_path: Path) -> None:
    with studio(tmp_path / "empty") as empty:
        page = open_page("/studio", base=empty.url, size=(390, 844))
        expect(page.locator("#invite")).to_be_visible()
        check(page, "empty")


def test_held_button_records_photos_of_a_label(browser: Browser, blocks: Server) -> None:
    before = len(blocks.photos())
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    filmed = browser.browser_type.launch(
        executable_path=find_chromium(), args=["--no-sandbox", *camera]
    )
    page = filmed.new_page()
    page.goto(f"{blocks.url}/studio")
    page.get_by_role("button", name="Camera", exact=True).first.click()
    page.get_by_label("What does it see?").fill("filmed")
    expect(page.get_by_role("button", name="Hold to record")).to_be_enabled()
    page.get_by_role("button", name="Hold to record").hover()
    page.mouse.down()
    expect(page.locator("#burst-count")).to_have_text(re.compile(r"^([3-9]|\d\d+) photos$"))
    page.mouse.up()
    expect(page.locator("#burst-count")).to_contain_text("recorded")
    page.get_by_role("button", name="Done").click()
    expect(label_of(page, "filmed")).to_be_visible()
    filmed.close()
    names = [name for name, (label, _) in blocks.photos().items() if label == "filmed"]
    assert 3 <= len(names) == len(blocks.photos()) - before
    blocks.post("photos/delete", ids=names)
