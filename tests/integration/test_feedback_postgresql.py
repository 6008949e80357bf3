"""Two servers with one PostgreSQL database: what one of them said, the other believes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from feedback_server import serving
from postgres_server import running_postgresql
from shopwindow.feedback.opening import open_store

pytestmark = pytest.mark.slow


def test_servers_that_share_a_database_accept_one_anothers_receipts(
    colour_bundle: Path, image_bytes: Callable[..., bytes]
) -> None:
    blob = image_bytes("red", (300, 300))
    with (
        running_postgresql() as database,
        serving(colour_bundle, database) as (one, _),
        serving(colour_bundle, database) as (other, _),
    ):
        entry = httpx.post(
            f"{one}/api/v1/predict", content=blob, headers={"Content-Type": "image/png"}
        ).json()["predictions"][0]
        taken = httpx.post(
            f"{other}/api/v1/feedback",
            data={"receipt": entry["receipt"], "label": "blue"},
            files={"image": ("x.png", blob)},
        )
        assert taken.status_code == 201, taken.text
        store = open_store(database)
        (kept,) = store.items(with_photo=True)
        assert (kept.id, kept.given, kept.predicted) == (taken.json()["id"], "blue", "red")
        gone = httpx.delete(
            f"{one}/api/v1/feedback/{kept.id}", headers={"X-Undo-Token": taken.json()["undo"]}
        )
        assert gone.status_code == 204
        assert list(store.items()) == []
        store.close()
