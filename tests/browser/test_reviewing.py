"""/review in a real browser: by keys, without JavaScript, and for everybody."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect
from test_accessible import check

from feedback_server import serving
from shopwindow.feedback.opening import open_store
from shopwindow.feedback.store import FeedbackStore

OpenPage = Callable[..., Page]
PASSWORD = "correct-horse-battery-staple"  # noqa: S105


@pytest.fixture
def reviewed(
    colour_bundle: Path, image_bytes: Callable[..., bytes], tmp_path: Path
) -> Iterator[tuple[str, FeedbackStore]]:
    """A server with three photos that were called blue, white and none of these; and its store."""
    path = str(tmp_path / "feedback.sqlite3")
    with serving(colour_bundle, path, review_password=PASSWORD) as (url, _):
        for color, label in (("red", "blue"), ("green", "white"), ((90, 90, 90), "")):
            blob = image_bytes(color, (300, 400))
            raw = {"Content-Type": "image/png"}
            entry = httpx.post(f"{url}/api/v1/predict", content=blob, headers=raw).json()
            said = {"receipt": entry["predictions"][0]["receipt"], "label": label}
            files = {"image": ("x.png", io.BytesIO(blob))}
            answer = httpx.post(f"{url}/api/v1/feedback", data=said, files=files)
            assert answer.status_code == 201
        store = open_store(path)
        yield url, store
        store.close()


def log_in(page: Page) -> None:
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("3 to judge")).to_be_visible()


def judged(store: FeedbackStore) -> dict[str | None, tuple[str, str | None]]:
    """Return status and the reviewer's label by what was given."""
    return {one.given: (one.status, one.reviewed) for one in store.items()}


def test_whole_queue_is_judged_by_keys_alone(
    open_page: OpenPage, reviewed: tuple[str, FeedbackStore]
) -> None:
    url, store = reviewed
    page = open_page("/review", base=url)
    # The browser gives it with its first picture of the page; what is typed before gets lost.
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_text("3 to judge")).to_be_visible()
    heading = page.get_by_role("heading", level=1)

    def judge(*keys: str) -> str:
        given = heading.inner_text()
        for key in keys:
            page.keyboard.press(key)
        expect(heading).not_to_have_text(given)
        return given.rstrip("?")

    accepted = judge("a")
    page.keyboard.press("u")
    expect(heading).to_have_text(f"{accepted}?")
    assert {status for status, _ in judged(store).values()} == {"pending"}
    assert judge("a") == accepted
    page.keyboard.press("c")
    expect(page.get_by_label("Something else")).to_be_focused()
    changed = judge("b", "l", "a", "Enter")
    discarded = judge("d")
    expect(heading).to_have_text("All done")
    found = judged(store)
    as_given = {"None of these": None}
    label = as_given.get(accepted, accepted)
    assert found[label] == ("accepted", label)
    assert found[as_given.get(changed, changed)] == ("changed", "black")
    assert found[as_given.get(discarded, discarded)] == ("discarded", None)


def test_double_click_judges_one_photo(
    open_page: OpenPage, reviewed: tuple[str, FeedbackStore]
) -> None:
    url, store = reviewed
    page = open_page("/review", base=url)
    log_in(page)
    page.get_by_role("button", name="Accept").dblclick()
    expect(page.get_by_text("2 to judge")).to_be_visible()
    expect(page.locator(".fresh")).to_have_count(0)
    expect(page.get_by_text("2 to judge")).to_be_visible()
    assert [status for status, _ in judged(store).values()].count("accepted") == 1


def test_keys_can_be_turned_off_and_stay_off(
    open_page: OpenPage, reviewed: tuple[str, FeedbackStore]
) -> None:
    url, store = reviewed
    page = open_page("/review", base=url)
    log_in(page)
    page.get_by_label("Use the keys in boxes").uncheck()
    page.reload()
    expect(page.get_by_label("Use the keys in boxes")).not_to_be_checked()
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("d")
    page.keyboard.press("a")
    page.get_by_role("button", name="Later").click()
    expect(page.get_by_text("1 left for later")).to_be_visible()
    assert {status for status, _ in judged(store).values()} == {"pending"}


def test_everything_works_without_javascript(
    open_page: OpenPage, reviewed: tuple[str, FeedbackStore]
) -> None:
    url, store = reviewed
    page = open_page("/review", base=url, js=False)
    log_in(page)
    expect(page.locator("kbd:visible")).to_have_count(0)
    photo = page.get_by_role("img", name="The visitor's photo")
    assert photo.bounding_box()["height"] > 100  # type: ignore[index]
    page.get_by_role("button", name="Accept").click()
    expect(page.get_by_text("2 to judge")).to_be_visible()
    page.get_by_label("Something else").select_option("green")
    page.get_by_role("button", name="Change").click()
    expect(page.get_by_text("1 to judge")).to_be_visible()
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_role("heading", name="All done")).to_be_visible()
    statuses = sorted(status for status, _ in judged(store).values())
    assert statuses == ["accepted", "changed", "discarded"]
    page.get_by_role("link", name="Figures").click()
    expect(page.get_by_role("heading", name="Over time")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Password")).to_be_visible()


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", (1280, 800)), ("dark", (390, 844))], ids=["desktop", "phone"]
)
def test_every_state_is_accessible_and_fits(
    open_page: OpenPage,
    reviewed: tuple[str, FeedbackStore],
    scheme: str,
    size: tuple[int, int],
) -> None:
    url, store = reviewed
    page = open_page("/review", base=url, size=size, color_scheme=scheme)

    def look(state: str) -> None:
        check(page, state)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size[0], f"{state}: {wide} px wide"

    look("login")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("This password is wrong.")
    look("wrong password")
    log_in(page)
    look("a case")
    page.get_by_role("button", name="Accept").click()
    expect(page.get_by_text("2 to judge")).to_be_visible()
    look("the next case")
    page.goto(f"{url}/review/figures")
    look("figures")
    for one in store.items(["pending"]):
        store.review(one.id, "accepted", one.given)
    page.goto(f"{url}/review")
    look("all done")
