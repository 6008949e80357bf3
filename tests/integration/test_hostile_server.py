"""benchmarks/hostile.py as a test: every odd file by every way into the real server."""

from __future__ import annotations

from pathlib import Path

import pytest

import hostile
from served import running_app

pytestmark = pytest.mark.slow


def test_every_hostile_file_gets_its_answer_everywhere(
    hostile_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 2 s on a quiet machine, as the benchmark demands; here other tests may be running.
    monkeypatch.setattr(hostile, "MAX_SECONDS", 30)
    folder, pictures = hostile.read_corpus(hostile_images, tmp_path)
    ways = [hostile.by_command_line(folder, pictures)]
    with running_app(log_level="error") as served:
        for name, send, at_once in (
            ("form", hostile.send_form, 1),
            ("page", hostile.send_page, 1),
            ("body, 64 at a time", hostile.send_body, 64),
        ):
            ways.append(hostile.by_http(name, served, pictures, send, at_once=at_once))
    assert len(pictures) > 190
    assert all(way.peak_resident_bytes for way in ways[1:])
    assert [line for way in ways for line in way.broken(pictures)] == []
    assert hostile.differences(pictures, ways) == []
