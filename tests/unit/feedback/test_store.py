"""What goes into the store comes out again, from SQLite and from a real PostgreSQL server."""

from __future__ import annotations

import os
import resource
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import psycopg
import pytest

from shopwindow.errors import FeedbackError, ReviewedError, UsageError
from shopwindow.feedback import opening
from shopwindow.feedback.feedback import Feedback, Photo
from shopwindow.feedback.opening import open_store
from shopwindow.feedback.retention import delete_old_photos
from shopwindow.feedback.store import FeedbackStore

Make = Callable[..., Feedback]
PHOTO = Photo(bytes(range(256)) * 40, "image/jpeg")


def test_feedback_is_read_as_it_was_written(store: FeedbackStore, make_feedback: Make) -> None:
    plain = make_feedback(given=None)
    with_photo = make_feedback(given="blå 'quoted' \"中\"")
    store.add(plain)
    store.add(with_photo, PHOTO)
    assert store.find(plain.id) == plain
    assert store.find(with_photo.id) == replace(with_photo, has_photo=True)
    assert store.photo(with_photo.id) == PHOTO
    assert store.photo(plain.id) is None
    assert store.find("0" * 32) is None


def test_another_process_sees_it_and_has_the_same_key(
    store: FeedbackStore, where: str, make_feedback: Make
) -> None:
    feedback = make_feedback()
    store.add(feedback, PHOTO)
    other = open_store(where)
    assert other.key == store.key
    assert len(store.key) == 32
    assert other.photo(feedback.id) == PHOTO
    other.close()


def test_feedback_sent_again_replaces_the_earlier_one(
    store: FeedbackStore, make_feedback: Make
) -> None:
    first = make_feedback(given="blue")
    second = replace(first, given="green")
    store.add(first, PHOTO)
    store.add(second)
    assert list(store.items()) == [second]
    assert store.photo(first.id) is None


def test_same_picture_has_one_photo_to_review_that_of_its_last_sender(
    store: FeedbackStore, make_feedback: Make
) -> None:
    reviewed = make_feedback()
    first, last = (make_feedback(photo_sha256=reviewed.photo_sha256) for _ in range(2))
    other = make_feedback()
    store.add(reviewed, PHOTO)
    store.review(reviewed.id, "accepted", "red")
    for one in (other, first, last):
        store.add(one, PHOTO)
    store.add(make_feedback(photo_sha256=reviewed.photo_sha256))  # without a photo
    kept = {one.id for one in store.items(with_photo=True)}
    assert kept == {reviewed.id, other.id, last.id}
    assert store.count() == 5
    assert store.photo_count() == 3
    assert store.photo_count(besides=reviewed.photo_sha256) == 2
    store.add(first, PHOTO)  # says it once more
    assert store.photo(last.id) is None
    assert store.photo(first.id) == PHOTO


def test_what_was_reviewed_is_not_replaced(store: FeedbackStore, make_feedback: Make) -> None:
    feedback = make_feedback(given="blue")
    store.add(feedback, PHOTO)
    store.review(feedback.id, "accepted", "blue")
    with pytest.raises(ReviewedError, match="reviewed already"):
        store.add(replace(feedback, given="green"))
    assert store.photo(feedback.id) == PHOTO


def test_concurrent_feedback_is_all_kept_and_duplicates_once(
    store: FeedbackStore, make_feedback: Make
) -> None:
    same = make_feedback()
    mine = [[make_feedback() for _ in range(10)] for _ in range(8)]
    failures: list[BaseException] = []

    def add(items: list[Feedback]) -> None:
        try:
            for one in items:
                store.add(one, PHOTO)
                store.add(same, PHOTO)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(items,)) for items in mine]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    kept = {one.id for one in store.items(with_photo=True)}
    assert kept == {same.id} | {one.id for items in mine for one in items}


def test_review_is_recorded_and_can_be_undone(store: FeedbackStore, make_feedback: Make) -> None:
    feedback = make_feedback(given="blue")
    store.add(feedback, PHOTO)
    at = datetime(2026, 12, 1, tzinfo=UTC)
    assert store.review(feedback.id, "changed", "green", at)
    changed = store.find(feedback.id)
    assert changed is not None
    assert (changed.status, changed.label, changed.reviewed_at) == ("changed", "green", at)
    store.review(feedback.id, "discarded", "green")
    discarded = store.find(feedback.id)
    assert discarded is not None
    assert (discarded.status, discarded.reviewed) == ("discarded", None)
    store.review(feedback.id, "pending", None)
    assert store.find(feedback.id) == replace(feedback, has_photo=True)
    assert not store.review("0" * 32, "accepted", "blue")


def test_items_are_chosen_by_status_and_photo_and_come_oldest_first(
    store: FeedbackStore, make_feedback: Make
) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    items = [make_feedback(created_at=start + timedelta(days=day)) for day in (3, 1, 2, 0)]
    for index, one in enumerate(items):
        store.add(one, PHOTO if index < 3 else None)
    store.review(items[0].id, "accepted", "red")
    store.review(items[3].id, "changed", None)
    ids = [one.id for one in store.items(("accepted", "changed"))]
    assert ids == [items[3].id, items[0].id]
    assert [one.id for one in store.items(("accepted", "changed"), with_photo=True)] == ids[1:]
    assert [one.id for one in store.items(with_photo=True)] == [items[i].id for i in (1, 2, 0)]


def test_most_informative_come_first_in_the_queue(
    store: FeedbackStore, make_feedback: Make
) -> None:
    added = {
        "sure and contradicted": make_feedback(given="blue", margin=0.9),
        "unsure and contradicted": make_feedback(given=None, margin=0.1),
        "unsure and confirmed": make_feedback(margin=0.05),
        "sure and confirmed": make_feedback(margin=0.95),
    }
    for one in reversed(added.values()):
        store.add(one, PHOTO)
    store.add(make_feedback(given="blue", margin=1.0))  # nobody can judge it without a photo
    reviewed = make_feedback(given="blue", margin=1.0)
    store.add(reviewed, PHOTO)
    store.review(reviewed.id, "discarded", None)
    order = [store.queue(skip=skip) for skip in range(5)]
    assert [one and one.id for one in order] == [*(one.id for one in added.values()), None]
    assert store.waiting() == 4


def test_withdrawn_feedback_is_gone_with_its_photo_reviewed_or_not(
    store: FeedbackStore, make_feedback: Make
) -> None:
    pending, reviewed = make_feedback(), make_feedback()
    for one in (pending, reviewed):
        store.add(one, PHOTO)
    store.review(reviewed.id, "accepted", "red")
    for one in (pending, reviewed):
        assert store.delete(one.id)
        assert store.photo(one.id) is None
        assert not store.delete(one.id)
    assert list(store.items()) == []


def test_photos_are_deleted_when_their_time_is_over_and_rows_stay(
    store: FeedbackStore, make_feedback: Make
) -> None:
    now = datetime.now(UTC)
    old, young, discarded, reconsidered = (make_feedback() for _ in range(4))
    store.add(old, PHOTO, now - timedelta(minutes=1))
    store.add(young, PHOTO, now + timedelta(hours=1))
    for one, hours in ((discarded, 25), (reconsidered, 23)):
        store.add(one, PHOTO, now + timedelta(days=30))
        store.review(one.id, "discarded", None, now - timedelta(hours=hours))
    delete_old_photos(store)
    assert store.find(old.id) == old
    kept = {one.id for one in store.items(with_photo=True)}
    assert kept == {young.id, reconsidered.id}
    assert store.photo(young.id) == PHOTO


def test_times_keep_their_moment_whatever_the_zone_of_the_machine(
    store: FeedbackStore, make_feedback: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    feedback = make_feedback()
    store.add(feedback)
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    found = store.find(feedback.id)
    assert found is not None
    assert found.created_at == feedback.created_at
    with pytest.raises(ValueError, match="created_at: expected a time in UTC"):
        make_feedback(created_at=datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))))


def test_store_of_a_newer_shopwindow_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite3"
    open_store(str(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE shopwindow SET value = '2' WHERE name = 'schema_version'")
    connection.close()
    with pytest.raises(UsageError, match="has schema 2, from a newer shopwindow"):
        open_store(str(path))


def test_sqlite_is_as_safe_as_it_can_be(tmp_path: Path, make_feedback: Make) -> None:
    path = tmp_path / "new" / "folder" / "feedback.sqlite3"
    store = open_store(str(path))
    store.add(make_feedback())
    with store._writing() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    full = 2
    assert pragmas == {
        "journal_mode": "wal", "synchronous": full, "foreign_keys": 1, "secure_delete": 1
    }  # fmt: skip
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    store.close()


@pytest.mark.parametrize("replaced", [True, False])
def test_withdrawn_photo_is_nowhere_on_the_disk(
    tmp_path: Path, make_feedback: Make, replaced: bool
) -> None:
    store = open_store(str(tmp_path / "feedback.sqlite3"))
    secret = os.urandom(50_000)
    feedback = make_feedback()
    store.add(feedback, Photo(secret))

    def on_disk() -> bool:
        return any(secret[20_000:20_500] in file.read_bytes() for file in tmp_path.iterdir())

    assert on_disk()
    if replaced:
        store.add(feedback)
    else:
        store.delete(feedback.id)
    assert not on_disk()
    store.close()


def test_photo_withdrawn_during_an_export_is_gone_after_the_next_deletion(
    tmp_path: Path, make_feedback: Make
) -> None:
    store = open_store(str(tmp_path / "feedback.sqlite3"))
    secret = os.urandom(50_000)
    feedback = make_feedback()
    store.add(feedback, Photo(secret))

    def on_disk() -> bool:
        return any(secret[20_000:20_500] in file.read_bytes() for file in tmp_path.iterdir())

    reader = sqlite3.connect(tmp_path / "feedback.sqlite3", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM feedback").fetchone()
    start = time.monotonic()
    store.delete(feedback.id)  # what is being read cannot be taken from under the reader
    assert time.monotonic() - start < 3, "the visitor waits for the reader"
    assert on_disk()
    reader.execute("COMMIT")
    reader.close()
    delete_old_photos(store)
    assert not on_disk()
    store.close()


def test_journal_that_cannot_be_emptied_is_one_sentence(
    tmp_path: Path, make_feedback: Make
) -> None:
    store = open_store(str(tmp_path / "feedback.sqlite3"))
    gone, last = make_feedback(), make_feedback()
    store.add(make_feedback(), Photo(os.urandom(500_000)))
    store.add(gone)
    store.add(last, Photo(os.urandom(50_000)))
    store.delete(gone.id)  # all is in the file now, the last photo behind the first
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a full disk: the deletion fits into the journal, its way into the file does not.
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(FeedbackError, match=r"cannot be used \(.+\)\.$"):
            store.delete(last.id)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    store.close()


def test_file_that_is_not_a_database_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite3"
    path.write_bytes(b"something else " * 1000)
    with pytest.raises(FeedbackError, match=r"cannot be used \(file is not a database\)\.$"):
        open_store(str(path))
    folder = tmp_path / "a-file" / "feedback.sqlite3"
    folder.parent.touch()
    with pytest.raises(FeedbackError, match=r"cannot be written \(.+\)\.$"):
        open_store(str(folder))


@pytest.mark.parametrize("url", ["mysql://me:pa55word@x/y", "sqlite://", "postgres-ql://x", "://"])
def test_url_of_another_database_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(UsageError, match="expected a path, off, or a URL that begins") as caught:
        open_store(url)
    assert "pa55word" not in str(caught.value)


def test_statement_that_waits_for_somebodys_lock_is_given_up(
    postgresql: str, make_feedback: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_TIMEOUT_S", 1)
    store = open_store(postgresql)
    with psycopg.connect(postgresql) as other:
        other.execute("LOCK TABLE feedback IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(FeedbackError, match="canceling statement due to statement timeout"):
            store.add(make_feedback())
    store.add(make_feedback())
    store.close()


def test_server_that_cannot_be_reached_is_one_sentence_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(FeedbackError, match="cannot be used") as caught:
        open_store(f"postgresql://me:pa55word@/db?host={tmp_path}")
    assert "pa55word" not in str(caught.value)
    assert "\n" not in str(caught.value)
