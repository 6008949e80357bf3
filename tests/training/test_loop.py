"""Round the whole loop: a wrong answer, put right by a visitor, and right from then on.

Everything is real: the server in its own process, its store, the training, and the same commands
that people type.
"""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from feedback_server import serving
from shopwindow.bundle import read_bundle
from shopwindow.cli import main
from shopwindow.feedback.opening import open_store

LIMIT_S = 60
PAINTS = {"red": (220, 30, 30), "blue": (30, 30, 220)}
OTHER = {"red": "blue", "blue": "red"}


@dataclass
class Shop:
    """A folder with `photos`, the bundle in service and the store, and the server of both."""

    folder: Path
    url: str

    @property
    def photos(self) -> Path:
        return self.folder / "photos"

    @property
    def model(self) -> Path:
        return self.folder / "service" / "model.onnx"

    @property
    def store(self) -> Path:
        return self.folder / "feedback.sqlite3"

    def ask(self, photo: bytes) -> dict[str, Any]:
        answer = httpx.post(
            f"{self.url}/api/v1/predict", content=photo, headers={"Content-Type": "image/png"}
        )
        found: dict[str, Any] = answer.json()["predictions"][0]
        return found

    def served(self) -> str:
        name: str = httpx.get(f"{self.url}/api/v1/model").json()["name"]
        return name

    def wait_for(self, name: str) -> None:
        """Wait until the running server has taken the model of that name."""
        deadline = time.monotonic() + LIMIT_S
        while self.served() != name:
            assert time.monotonic() < deadline, "the server did not take the new model"

    def correct(self, photo: bytes, receipt: str, label: str) -> str:
        answer = httpx.post(
            f"{self.url}/api/v1/feedback",
            data={"receipt": receipt, "label": label},
            files={"image": ("photo.png", photo, "image/png")},
        )
        assert answer.status_code == 201, answer.text
        feedback_id: str = answer.json()["id"]
        return feedback_id

    def accept(self, feedback_id: str, label: str) -> None:
        store = open_store(str(self.store))
        assert store.review(feedback_id, "accepted", label)
        store.close()

    def train(self, name: str, *options: str) -> Path:
        out = self.folder / name
        cache = ("--cache-dir", str(self.folder / "cache"))
        arguments = ("train", str(self.photos), "--out", str(out), "--name", name, *cache)
        assert main([*arguments, *options]) == 0
        return out / "model.onnx"

    def promote(self, new: Path) -> int:
        data = ("--data", str(self.photos), "--cache-dir", str(self.folder / "cache"))
        return main(["promote", str(new), "--model", str(self.model), *data])


def picture(paint: tuple[int, int, int], number: int) -> Image.Image:
    """A white square that wanders over a plain ground, so that no two are duplicates."""
    image = Image.new("RGB", (60, 80), paint)
    image.paste((255, 255, 255), (2 * number, 3 * number, 2 * number + 15, 3 * number + 15))
    return image


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop whose model tells red from blue, and has never seen anything else."""
    shop = Shop(tmp_path_factory.mktemp("shop"), "")
    for label, paint in PAINTS.items():
        (shop.photos / label).mkdir(parents=True)
        for number in range(20):
            picture(paint, number).save(shop.photos / label / f"{number:02}.png")
    network = ("--arch", "test_efficientnet", "--weights", "none", "--size", "32")
    first = shop.train("first", "--recipe", "finetune", *network, "--epochs", "4")
    assert read_bundle(first).info.quality["accuracy"] == 1
    shop.model.parent.mkdir()
    shutil.copy(first, shop.model)
    with serving(shop.model, str(shop.store), model_check_s="1") as (url, process):
        shop.url = url
        yield shop
        assert process.poll() is None, "it was one and the same server all the time"


@pytest.fixture(autouse=True)
def _commands_find_the_store(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPWINDOW_FEEDBACK", str(shop.store))


def test_wrong_answer_that_a_visitor_puts_right_is_right_after_retraining(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    buffer = io.BytesIO()
    picture((40, 200, 60), 7).save(buffer, "PNG")
    green = buffer.getvalue()

    said = shop.ask(green)
    right = OTHER[said["label"]]  # the shop's own idea of green; the model cannot know it
    feedback_id = shop.correct(green, said["receipt"], right)

    start = ("--start-from", str(shop.model), "--epochs", "12", "--lr", "0.01")
    learning = (*start, "--with-feedback")
    arguments = ("train", str(shop.photos), "--out", str(shop.folder / "early"), *learning)
    assert main([*arguments]) == 1
    assert "expected feedback with photos, reviewed" in capsys.readouterr().err
    assert not (shop.folder / "early").exists()

    shop.accept(feedback_id, right)
    second = shop.train("second", *learning)
    assert "1 correction to learn from" in capsys.readouterr().out
    assert shop.ask(green)["label"] == said["label"], "nothing is in service before promote"
    assert shop.promote(second) == 0
    printed = capsys.readouterr().out
    assert "on 8 held-out images" in printed
    assert "on 1 correction" in printed
    assert "(McNemar, exact)" in printed
    shop.wait_for("second")
    assert shop.ask(green)["label"] == right


def test_worse_bundle_is_refused_and_the_old_one_goes_on(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    before, served = shop.model.read_bytes(), shop.served()
    # The first model is as good on the held-out images, but has not learned what green is.
    assert shop.promote(shop.folder / "first" / "model.onnx") == 1
    assert "it is right on 0 of 1 correction, and the one in service on 1" in (
        capsys.readouterr().err
    )
    assert shop.model.read_bytes() == before
    assert shop.served() == served == "second"
