"""What a page is told, and when."""

from __future__ import annotations

import threading
import time

from shopwindow.studio.album import READ, Album
from shopwindow.studio.journal import Row


def test_page_is_told_only_what_it_has_not_seen() -> None:
    album = Album()
    album.put({"a": Row("hat"), "b": Row("shoe"), "c": Row()})
    seen = album.columns(None)
    assert (seen["all"], seen["ids"]) == (True, ["a", "b", "c"])
    album.put({"b": Row("hat"), "c": None})
    news = album.columns(seen["version"])
    assert (news["all"], news["ids"], news["removed"]) == (False, ["b"], ["c"])
    assert [news["labels"][code] for code in news["label"]] == ["hat"]
    assert album.columns(news["version"])["ids"] == []


def test_page_of_an_earlier_session_is_told_everything() -> None:
    before = Album()
    before.put({"a": Row()})
    after = Album()
    after.put({"a": Row()})
    assert after.columns(before.version)["all"]
    assert after.session != before.session


def test_only_edits_count_as_edits() -> None:
    album = Album()
    album.put({"a": Row("hat"), "b": Row()})
    revision = album.revision
    album.update({"a": {"guess": "shoe", "status": READ}})
    assert album.edited_since(["a", "b"], revision) == []
    album.put({"b": Row("cap")})
    assert album.edited_since(["a", "b"], revision) == [("b", "cap")]


def test_update_that_changes_nothing_is_no_news() -> None:
    album = Album()
    album.put({"a": Row()})
    album.update({"a": {"guess": "hat"}})
    version = album.version
    album.update({"a": {"guess": "hat"}, "gone": {"guess": "hat"}})
    assert album.version == version


def test_doubt_about_a_label_goes_with_the_label() -> None:
    album = Album()
    album.put({"a": Row("hat")})
    album.update({"a": {"doubt": True}})
    album.put({"a": Row("shoe")})
    assert album.columns(None)["doubt"] == [0]


def test_wait_ends_with_news_with_its_time_and_with_the_album() -> None:
    album = Album()
    threading.Timer(0.05, album.touch).start()
    began = time.monotonic()
    album.wait(album.version, 60, lambda: False)
    album.wait(album.version, 0.01, lambda: False)
    threading.Timer(0.05, album.close).start()
    album.wait(album.version, 60, lambda: False)
    album.wait(album.version, 60, lambda: False)
    assert time.monotonic() - began < 30
