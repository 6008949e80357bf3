"""The site of docs/ is whole, and needs no server and no network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect


@pytest.fixture(scope="module")
def site(repository_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the site as `make docs` builds it, built elsewhere from the same files."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(repository_root / "docs", folder / "docs")
    shutil.copy(repository_root / "zensical.toml", folder)
    command = [Path(sys.executable).parent / "zensical", "build", "--clean", "--strict"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "site"


def test_each_page_is_in_the_navigation_and_in_the_site(repository_root: Path, site: Path) -> None:
    listed = set(re.findall(r'"([\w/-]+\.md)"', (repository_root / "zensical.toml").read_text()))
    docs = repository_root / "docs"
    assert listed == {path.relative_to(docs).as_posix() for path in docs.glob("**/*.md")}
    pages = {path.relative_to(site).as_posix() for path in site.glob("**/*.html")}
    assert pages >= {re.sub(r"README\.md$|\.md$", _as_page, name) for name in listed}


def _as_page(ending: re.Match[str]) -> str:
    return "index.html" if ending[0] == "README.md" else ".html"


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.glob("**/*.html"))
    assert len(pages) > 25
    for page in pages:
        text = page.read_text("utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="([^"]+)"', text)
        loaded += re.findall(r'<link\b[^>]*rel="(?:stylesheet|icon)"[^>]*href="([^"]+)"', text)
        assert len(loaded) >= 3, page
        assert [address for address in loaded if re.match(r"(?:\w+:)?//", address)] == [], page


def test_the_search_works_on_pages_opened_from_a_disk(browser: Browser, site: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("/")
    page.keyboard.type("group-column")
    expect(page.locator("body")).to_contain_text("suspiciously high")
    assert [url for url in asked if url.startswith("http")] == []
    page.close()
