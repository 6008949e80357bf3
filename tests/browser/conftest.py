"""A real browser on the real server.

Every test also checks what none should have to name: no message on the console, no exception
in the script, and no request to another machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from chromium import HOW_TO_HAVE_IT, find_chromium
from feedback_server import serving
from live_server import running_server
from shopwindow.bundle import bundled_model_path
from shopwindow.feedback.opening import open_store
from shopwindow.feedback.store import FeedbackStore

# A browser that phones nobody, and that runs as root in a container.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip(f"no chromium here: {HOW_TO_HAVE_IT}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def url(colour_bundle: Path) -> Iterator[str]:
    """A server that takes no feedback, and can write to no file."""
    with running_server(colour_bundle) as url:
        yield url


@pytest.fixture(scope="session")
def feedback_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback") / "feedback.sqlite3"


@pytest.fixture(scope="session")
def feedback_url(colour_bundle: Path, feedback_place: Path) -> Iterator[str]:
    """A server that takes feedback, as all do by default."""
    with serving(colour_bundle, str(feedback_place), feedback_keep_days="30") as (url, _):
        yield url


@pytest.fixture
def store(feedback_url: str, feedback_place: Path) -> Iterator[FeedbackStore]:
    """What that server keeps; nothing of the tests before."""
    store = open_store(str(feedback_place))
    for item in store.items():
        store.delete(item.id)
    yield store
    store.close()


@pytest.fixture(scope="session")
def bundled_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bundled model, and its examples; with feedback, as `shopwindow serve` has it."""
    if not bundled_model_path().is_file():
        pytest.skip("this clone came without the bundled model")
    place = tmp_path_factory.mktemp("bundled") / "feedback.sqlite3"
    with serving(bundled_model_path(), str(place)) as (url, _):
        yield url


OpenPage = Callable[..., Page]
# Long enough for a machine that is busy with other things too.
TIMEOUT_MS = 30_000
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture
def open_page(browser: Browser, url: str) -> Iterator[OpenPage]:
    """Open an address of the app in a fresh browser window; the keywords are Playwright's."""
    complaints: list[str] = []
    requests: list[str] = []
    contexts = []

    def on_console(message: ConsoleMessage) -> None:
        # Chromium itself notes every failed request, and those are part of what is tested.
        if not message.text.startswith("Failed to load resource:"):
            complaints.append(message.text)

    def open_page(path: str = "/", *, js: bool = True, size: tuple[int, int] = (1280, 800),
                  base: str = url, **options: object) -> Page:  # fmt: skip
        context = browser.new_context(
            java_script_enabled=js,
            viewport={"width": size[0], "height": size[1]},
            **options,  # type: ignore[arg-type]
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", on_console)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(base + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [address for address in requests if not address.startswith(
        ("http://127.0.0.1:", "data:", "blob:http://127.0.0.1:"))] == []  # fmt: skip


@pytest.fixture
def photo(tmp_path: Path, image_bytes: Callable[..., bytes]) -> Callable[..., Path]:
    """Return a function that writes an image file of one colour."""

    def write(color: str | tuple[int, int, int], size: tuple[int, int] = (150, 200)) -> Path:
        path = tmp_path / f"{color}.png"
        path.write_bytes(image_bytes(color, size))
        return path

    return write
