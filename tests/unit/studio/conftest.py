"""Projects in folders of their own, and pictures to put into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shopwindow.studio.project import Project

OpenProject = Callable[[], Project]


@pytest.fixture
def open_project(tmp_path: Path) -> Iterator[OpenProject]:
    """Open the same folder again and again; the project before is closed."""
    opened: list[Project] = []

    def open_() -> Project:
        for before in opened:
            before.close()
        opened.append(Project(tmp_path / "hats"))
        return opened[-1]

    yield open_
    for project in opened:
        project.close()


@pytest.fixture
def project(open_project: OpenProject) -> Project:
    """A project with the photos a.jpg, b.jpg and c.jpg, all without a label."""
    project = open_project()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        project.photo(name).write_bytes(name.encode())
    return open_project()
