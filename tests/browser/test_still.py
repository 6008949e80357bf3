"""Nothing on the page moves under a pointer, and a click twice says one thing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from shopwindow.feedback.store import FeedbackStore

OpenPage = Callable[..., Page]
Photo = Callable[..., Path]

SIZES = pytest.mark.parametrize(
    "size",
    [
        (390, 844),
        (1280, 720),
        pytest.param((768, 1024), marks=pytest.mark.slow),
        pytest.param((1920, 1080), marks=pytest.mark.slow),
    ],
)
# What a visitor looks at or presses in the window.
PARTS = ("#photo", "#preview", ".ledge", "#shown", ".sill", "#choose", "#bars")


def place(part: Locator) -> dict[str, float]:
    """Where a part is on the page, however far that has been scrolled."""
    box = part.bounding_box()
    assert box, part
    return {**box, "y": box["y"] + part.page.evaluate("scrollY")}


def places(page: Page, *more: str) -> dict[str, dict[str, float]]:
    return {part: place(page.locator(part)) for part in (*PARTS, *more)}


def middle(part: Locator) -> tuple[float, float]:
    part.scroll_into_view_if_needed()
    box = part.bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def open_answered(open_page: OpenPage, url: str, path: Path, size: tuple[int, int]) -> Page:
    page = open_page(base=url, size=size, reduced_motion="reduce")
    page.set_input_files("#image-file", path)
    expect(page.get_by_role("button", name="Wrong?")).to_be_visible()
    expect(page.locator(".fresh")).to_have_count(0)
    return page


@SIZES
def test_why_clicked_twice_shows_the_map_and_hides_it_and_moves_nothing(
    open_page: OpenPage, feedback_url: str, photo: Photo, store: FeedbackStore,
    size: tuple[int, int],
) -> None:  # fmt: skip
    page = open_answered(open_page, feedback_url, photo("red"), size)
    before = places(page, ".right", ".wrong")
    point = middle(page.locator("#shown"))
    page.mouse.click(*point)
    expect(page.locator("#heat")).to_have_css("opacity", "1")
    assert places(page, ".right", ".wrong") == before
    page.mouse.click(*point)
    expect(page.locator("#heat")).to_have_css("opacity", "0")
    assert places(page, ".right", ".wrong") == before
    expect(page.get_by_role("button", name="Right?")).to_be_visible()
    assert list(store.items()) == []


@SIZES
@pytest.mark.parametrize("name", ["Right?", "Wrong?"])
def test_opinion_clicked_twice_is_given_once_and_moves_nothing(
    open_page: OpenPage, feedback_url: str, photo: Photo, store: FeedbackStore,
    size: tuple[int, int], name: str,
) -> None:  # fmt: skip
    page = open_answered(open_page, feedback_url, photo("red"), size)
    before = places(page)
    page.mouse.dblclick(*middle(page.get_by_role("button", name=name)))
    if name == "Wrong?":
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("option").first).to_be_visible()
        expect(page.locator(".fresh")).to_have_count(0)
        expect(dialog).to_be_visible()  # and neither an option nor a button of it was pressed
        assert list(store.items()) == []
        dialog.get_by_role("option", name="blue").click()
    noted = page.locator("#opinion .noted")
    expect(noted).to_be_visible()
    expect(page.locator(".fresh")).to_have_count(0)
    assert [item.given for item in store.items()] == ["red" if name == "Right?" else "blue"]
    assert places(page) == before
    # What is said about the photo may get longer, and then grows away from what is pressed.
    undo = middle(page.get_by_role("button", name="Undo"))
    page.get_by_label("Keep the photo too").check()
    expect(noted).to_contain_text("the photo itself until ")
    assert middle(page.get_by_role("button", name="Undo")) == undo
    expect(page.locator(".fresh")).to_have_count(0)
    page.mouse.dblclick(*undo)
    expect(page.locator("#opinion")).to_contain_text("Withdrawn.")
    expect(page.locator(".fresh")).to_have_count(0)
    assert list(store.items()) == []
    assert places(page) == before


@SIZES
def test_window_stays_where_it_is_from_photo_to_answer_to_error(
    open_page: OpenPage, feedback_url: str, photo: Photo, size: tuple[int, int]
) -> None:
    parts = (".ledge", ".sill", "#choose", ".glass")
    page = open_page(base=feedback_url, size=size, reduced_motion="reduce")
    held: list[Route] = []
    page.route("**/api/v1/predict?*", lambda route: held.append(route))

    def where() -> list[dict[str, float]]:
        return [place(page.locator(part)) for part in parts]

    before = where()
    page.set_input_files("#image-file", photo("red"))
    expect(page.locator("main")).to_have_attribute("data-state", "busy")
    while not held:
        page.evaluate("0")  # lets its request come here
    assert where() == before
    held.pop().continue_()
    expect(page.locator("h1.sure")).to_be_visible()
    assert where() == before
    page.unroute_all()
    page.set_input_files("#image-file", Path(__file__))
    expect(page.get_by_role("alert")).to_be_visible()
    assert where() == before


def test_photo_of_the_grid_clicked_twice_is_opened_without_feedback(
    open_page: OpenPage, feedback_url: str, photo: Photo, store: FeedbackStore
) -> None:
    page = open_page(base=feedback_url, size=(1280, 720))
    page.set_input_files("#image-file", [photo("red"), photo("blue")])
    expect(page.locator("#status")).to_contain_text("All 2 photos are answered.")
    expect(page.locator(".fresh")).to_have_count(0)
    choosers: list[object] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    page.mouse.dblclick(*middle(page.locator(".tile .pane").first))
    expect(page.locator("main")).to_have_attribute("data-state", "done")
    expect(page.locator(".fresh")).to_have_count(0)
    page.mouse.dblclick(*middle(page.get_by_role("button", name="Back to all photos")))
    expect(page.locator("main")).to_have_attribute("data-state", "many")
    expect(page.locator(".fresh")).to_have_count(0)
    expect(page.locator("main")).to_have_attribute("data-state", "many")
    assert list(store.items()) == []
    assert choosers == []


def test_tiles_stay_while_the_pointer_is_over_them(
    open_page: OpenPage, feedback_url: str, photo: Photo
) -> None:
    page = open_page(base=feedback_url)
    sure, unsure = photo("red"), photo((128, 130, 0))
    held: list[Route] = []

    def hold_back(route: Route) -> None:
        doubtful = route.request.post_data_buffer == unsure.read_bytes()
        held.append(route) if doubtful else route.continue_()

    page.route("**/api/v1/predict?*", hold_back)
    page.set_input_files("#image-file", [sure, unsure, Path(__file__)])
    expect(page.locator(".tile.sure")).to_have_count(1)
    expect(page.locator(".tile.bad")).to_have_count(1)
    files = page.locator(".tile .file")
    expect(files).to_have_text([sure.name, Path(__file__).name, unsure.name])
    boxes = [place(tile) for tile in page.locator(".tile").all()]
    page.mouse.move(*middle(page.locator(".tile").first))
    while not held:
        page.evaluate("0")  # lets its request come here
    held[0].continue_()
    expect(page.locator("#status")).to_contain_text("All 3 photos are answered.")
    assert files.all_inner_texts() == [sure.name, Path(__file__).name, unsure.name]
    assert [place(tile) for tile in page.locator(".tile").all()] == boxes
    page.locator(".tile").first.get_by_role("button", name="Right?").click()
    expect(page.locator(".tile").first).to_contain_text("Noted")
    assert [place(tile) for tile in page.locator(".tile").all()] == boxes
    page.mouse.move(1, 1)
    expect(files).to_have_text([unsure.name, sure.name, Path(__file__).name])


def test_labels_that_come_late_are_not_pressed_by_a_click_that_was_meant_for_the_page(
    open_page: OpenPage, feedback_url: str, photo: Photo, store: FeedbackStore
) -> None:
    page = open_page(base=feedback_url, size=(1280, 720))
    held: list[Route] = []
    page.route("**/api/v1/model", lambda route: held.append(route))
    page.set_input_files("#image-file", photo("red"))
    page.get_by_role("button", name="Wrong?").click()
    while not held:
        page.evaluate("0")
    # The very click that the list comes under, at each place that it will cover.
    page.evaluate("""() => {
      const dialog = document.getElementById('correct');
      new MutationObserver(() => {
        for (let y = 20; y < innerHeight; y += 20)
          [document.elementFromPoint(innerWidth / 2, y)].filter((part) => dialog.contains(part))
            .forEach((part) => part.click());
      }).observe(dialog, {attributes: true, attributeFilter: ['open']});
    }""")
    held[0].continue_()
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.locator(".fresh")).to_have_count(0)
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    assert list(store.items()) == []


def test_key_held_down_counts_once(
    open_page: OpenPage, feedback_url: str, photo: Photo, store: FeedbackStore
) -> None:
    page = open_answered(open_page, feedback_url, photo("red"), (1280, 720))
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    page.get_by_role("button", name="Right?").focus()
    page.keyboard.down("Enter")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    page.keyboard.down("Enter")  # what a keyboard sends again and again
    page.keyboard.up("Enter")
    page.get_by_label("Keep the photo too").check()
    expect(page.locator("#opinion .noted")).to_contain_text("the photo itself until ")
    assert [request.method for request in asked] == ["POST", "POST"]
    assert len(list(store.items())) == 1
