"""`kill -9` in the middle of it, again and again: what was answered 201 is in the store."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from queue import SimpleQueue

import httpx
import pytest

from feedback_server import serving
from shopwindow.feedback.opening import open_store

pytestmark = pytest.mark.slow

ROUNDS = 6
CLIENTS = 4


def test_killed_server_has_lost_nothing_that_it_acknowledged(
    colour_bundle: Path, image_bytes: Callable[..., bytes], tmp_path: Path
) -> None:
    """Every 201 and every 204 holds, whenever the process is killed, and the file stays sound."""
    path = tmp_path / "feedback.sqlite3"
    numbers = count()
    kept: dict[str, str] = {}  # id: label
    undone: set[str] = set()
    lock = threading.Lock()

    def give(url: str, told: SimpleQueue[None]) -> None:
        """Give feedback with a photo until the server is gone; take each third one back."""
        with httpx.Client(base_url=url, timeout=30) as client:
            for number in count():
                try:
                    drawn = next(numbers)  # another picture each time: the same has one photo
                    blob = image_bytes((200, drawn % 256, drawn // 256), (300, 300))
                    entry = client.post(
                        "/api/v1/predict", content=blob, headers={"Content-Type": "image/png"}
                    ).json()["predictions"][0]
                    label = ("red", "blue", "")[number % 3]
                    taken = client.post(
                        "/api/v1/feedback",
                        data={"receipt": entry["receipt"], "label": label},
                        files={"image": ("x.png", blob)},
                    )
                    assert taken.status_code == 201, taken.text
                    with lock:
                        kept[taken.json()["id"]] = label
                    told.put(None)
                    if number % 3 == 2:
                        with lock:
                            del kept[taken.json()["id"]]  # unknown until it is acknowledged
                        gone = client.delete(
                            f"/api/v1/feedback/{taken.json()['id']}",
                            headers={"X-Undo-Token": taken.json()["undo"]},
                        )
                        assert gone.status_code == 204, gone.text
                        with lock:
                            undone.add(taken.json()["id"])
                except httpx.TransportError:
                    return

    for round_ in range(ROUNDS):
        with serving(colour_bundle, str(path)) as (url, process):
            told: SimpleQueue[None] = SimpleQueue()
            clients = [threading.Thread(target=give, args=(url, told)) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            for _ in range(5 + 3 * round_):  # in the middle of the work, at another place each time
                told.get(timeout=60)
            process.kill()
            for client in clients:
                client.join()

        store = open_store(str(path))
        found = {one.id: one.given or "" for one in store.items(with_photo=True)}
        store.close()
        assert kept.items() <= found.items()
        assert not undone & found.keys()
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
    assert len(kept) >= ROUNDS * 5
    assert len(undone) >= ROUNDS
