"""What the studio has confirmed is on disk, whenever it is killed."""

from __future__ import annotations

import csv
import io
import random
import threading
from pathlib import Path

import httpx
import pytest
from PIL import Image

from studio_server import Page, studio

ROUNDS = 12


def photo(number: int) -> tuple[str, bytes]:
    out = io.BytesIO()
    colour = (number % 256, number // 256 % 256, 99)
    image = Image.new("RGB", (64, 48), colour)
    image.paste((number * 37 % 256, 0, 0), (number % 40, 5, number % 40 + 9, 30))
    image.save(out, "PNG")
    return f"{number}.png", out.getvalue()


class Person:
    """Adds, labels, deletes and undoes, and remembers what was confirmed.

    Attributes:
        labels: By photo, as the last confirmed change left it.
        touched: Photos of the change that was not confirmed, of which either state will do.
    """

    def __init__(self, rng: random.Random) -> None:
        self.labels: dict[str, str] = {}
        self.contents: dict[str, bytes] = {}
        self.touched: set[str] = set()
        self._rng = rng
        self._number = 0

    def act_on(self, page: Page) -> None:
        """Do one thing after another; raise httpx.HTTPError when the server is killed."""
        while True:
            self._act(page)

    def _act(self, page: Page) -> None:
        kind = self._rng.choice(["add", "label", "label", "delete"])
        if kind == "add" or len(self.labels) < 4:
            self._number += 3
            files = [photo(number) for number in range(self._number - 3, self._number)]
            self.touched = {name for name, _ in files}
            page.add(files, label="new")
            self.labels |= dict.fromkeys(self.touched, "new")
            self.contents |= dict(files)
        else:
            some = self._rng.sample(sorted(self.labels), 3)
            self.touched = {*some}
            if kind == "delete":
                page.post("photos/delete", ids=some[:1])
                del self.labels[some[0]]
            else:
                label = self._rng.choice("abc")
                page.post("labels", ids=some, label=label)
                self.labels |= dict.fromkeys(some, label)
        self.touched = set()


def on_disk(folder: Path) -> dict[str, str]:
    with (folder / "labels.csv").open(newline="") as table:
        return {row["image"].removeprefix("photos/"): row["label"] for row in csv.DictReader(table)}


@pytest.mark.slow
def test_what_was_confirmed_survives_kill_9_at_any_moment(tmp_path: Path) -> None:
    folder, rng = tmp_path / "project", random.Random(7)  # noqa: S311
    person = Person(rng)
    for _ in range(ROUNDS):
        with studio(folder) as page:
            killer = threading.Timer(rng.uniform(0.05, 1.0), page.process.kill)
            killer.start()
            with pytest.raises((httpx.HTTPError, OSError)):
                person.act_on(page)
            killer.join()
            page.process.wait()
        found = on_disk(folder)
        for name, label in person.labels.items():
            if name in person.touched:
                continue
            assert found[name] == label
            assert (folder / "photos" / name).read_bytes() == person.contents[name]
        deleted = set(person.contents) - set(person.labels) - person.touched
        assert not deleted & set(found)
        with studio(folder) as page:  # what was cut off is put right, and nothing is lost
            shown = {name: label for name, (label, _) in page.photos().items()}
        assert shown == on_disk(folder)
        assert {path.name for path in (folder / "photos").iterdir()} == set(shown)
        for name in person.touched & set(shown):
            person.labels[name] = shown[name]
            person.contents.setdefault(name, (folder / "photos" / name).read_bytes())
        for name in person.touched - set(shown):
            person.labels.pop(name, None)
        person.touched = set()
