"""The embedding of a photo is kept with it, never without it, and gone when it is gone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from shopwindow.feedback.feedback import Embedding, Feedback, Photo
from shopwindow.feedback.opening import open_store
from shopwindow.feedback.retention import delete_old_photos
from shopwindow.feedback.store import FeedbackStore

Make = Callable[..., Feedback]
PHOTO = Photo(b"a photo", "image/jpeg")
MODEL, OTHER = "ab" * 32, "cd" * 32
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def embedding(*values: float, model: str = MODEL) -> Embedding:
    return Embedding(model, np.array(values, np.float32))


def kept(store: FeedbackStore, model: str = MODEL) -> set[str]:
    return set(store.embeddings_since(model, LONG_AGO, 100)[0])


def test_embedding_is_read_as_it_was_written_in_half_precision(
    store: FeedbackStore, make_feedback: Make
) -> None:
    older, newer = make_feedback(created_at=LONG_AGO), make_feedback()
    store.add(newer, PHOTO, None, embedding(0.6, 0.8))
    store.add(older, PHOTO, None, embedding(0.8, -0.6))
    store.add(make_feedback(), PHOTO, None, embedding(1, 0, model=OTHER))
    store.add(make_feedback(), PHOTO)
    ids, values = store.embeddings_since(MODEL, LONG_AGO, 100)
    assert ids == [newer.id, older.id]
    np.testing.assert_allclose(values, [[0.6, 0.8], [0.8, -0.6]], atol=1e-3)
    assert store.embeddings_since(MODEL, LONG_AGO, 1)[0] == [newer.id]
    assert store.embeddings_since(MODEL, LONG_AGO + timedelta(days=1), 100)[0] == [newer.id]


def test_embedding_is_gone_with_its_photo(store: FeedbackStore, make_feedback: Make) -> None:
    now = datetime.now(UTC)
    withdrawn, replaced, expired, stays = (make_feedback() for _ in range(4))
    for one in (withdrawn, replaced, stays):
        store.add(one, PHOTO, now + timedelta(days=1), embedding(1, 0))
    store.add(expired, PHOTO, now - timedelta(days=1), embedding(1, 0))
    assert kept(store) == {withdrawn.id, replaced.id, expired.id, stays.id}
    mark = store.embeddings_mark(MODEL)
    store.delete(withdrawn.id)
    store.add(replaced)
    delete_old_photos(store)
    assert kept(store) == {stays.id}
    assert store.embeddings_mark(MODEL) != mark


def test_without_a_photo_no_embedding_is_kept(store: FeedbackStore, make_feedback: Make) -> None:
    store.add(make_feedback(), None, None, embedding(1, 0))
    assert kept(store) == set()


def test_discarded_photos_do_not_count(store: FeedbackStore, make_feedback: Make) -> None:
    one = make_feedback()
    store.add(one, PHOTO, None, embedding(1, 0))
    mark = store.embeddings_mark(MODEL)
    store.review(one.id, "discarded", None)
    assert kept(store) == set()
    assert store.embeddings_mark(MODEL) != mark


def test_deleted_embedding_is_nowhere_on_the_disk(tmp_path: Path, make_feedback: Make) -> None:
    store = open_store(str(tmp_path / "feedback.sqlite3"))
    secret = np.frombuffer(os.urandom(4000), np.uint8).astype(np.float16)
    feedback = make_feedback()
    store.add(feedback, PHOTO, None, Embedding(MODEL, secret))
    wanted = secret.astype("<f2").tobytes()[100:200]

    def on_disk() -> bool:
        return any(wanted in file.read_bytes() for file in tmp_path.iterdir())

    assert on_disk()
    store.delete(feedback.id)
    assert not on_disk()
    store.close()


def test_store_from_before_embeddings_gets_them_and_keeps_what_it_has(
    tmp_path: Path, make_feedback: Make
) -> None:
    path = tmp_path / "feedback.sqlite3"
    store = open_store(str(path))
    old, new = make_feedback(), make_feedback()
    store.add(old, PHOTO)
    key = store.key
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE embedding")
    connection.close()
    store = open_store(str(path))
    assert store.key == key
    assert store.photo(old.id) == PHOTO
    store.add(new, PHOTO, None, embedding(1, 0))
    assert kept(store) == {new.id}
    assert store.queue(model_sha256=MODEL) is not None
    store.close()


def test_queue_is_by_doubt_and_variety_where_photos_have_embeddings(
    store: FeedbackStore, make_feedback: Make
) -> None:
    alike = [make_feedback(given="blue", margin=0.1 + 0.001 * place) for place in range(10)]
    other, without = make_feedback(margin=0.5), make_feedback(margin=0.9)
    for place, one in enumerate(alike):
        store.add(one, PHOTO, None, embedding(1, 0.001 * place))
    store.add(other, PHOTO, None, embedding(0, 1))
    store.add(without, PHOTO)
    found = [store.queue(skip=skip, model_sha256=MODEL) for skip in range(13)]
    ids = [one.id for one in found if one is not None]
    assert sorted(ids) == sorted([*(one.id for one in alike), other.id, without.id])
    assert ids[:2] == [alike[0].id, other.id]
    assert found[-1] is None


def test_queue_leaves_what_is_like_a_labelled_photo_for_later(
    store: FeedbackStore, make_feedback: Make
) -> None:
    judged, like_it, other = make_feedback(), make_feedback(margin=0.1), make_feedback(margin=0.6)
    for one, values in ((judged, (1, 0)), (like_it, (1, 0.001)), (other, (0, 1))):
        store.add(one, PHOTO, None, embedding(*values))
    store.review(judged.id, "accepted", "red")
    first = store.queue(model_sha256=MODEL)
    assert first is not None
    assert first.id == other.id
    by_other_model = store.queue(model_sha256=OTHER)
    assert by_other_model is not None
    assert by_other_model.id == like_it.id
