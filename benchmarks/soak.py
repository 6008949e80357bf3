"""Keep the app at saturation, and check each answer against the offline prediction."""

from __future__ import annotations

import http.client
import io
import json
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from served import Served
from shopwindow.inference.predictor import load_predictor


@dataclass(slots=True)
class Soak:
    """What became of the questions of many clients.

    Attributes:
        answered: Right answers.
        crossed: Answers other than the offline prediction of the same image.
        lost: Questions without an answer, or with an error other than "busy".
        busy: 503, which a client is asked to repeat.
        resident_bytes: Memory of the server over time, evenly spaced.
        seconds: How long it went on.
    """

    answered: int = 0
    crossed: int = 0
    lost: int = 0
    busy: int = 0
    resident_bytes: list[int] = field(default_factory=list)
    seconds: float = 0

    @property
    def growth_bytes(self) -> int:
        """Memory at the end less memory after the first quarter, each as a median of a tenth."""
        memory = self.resident_bytes
        tenth = max(1, len(memory) // 10)
        first = len(memory) // 4
        return int(
            statistics.median(memory[-tenth:]) - statistics.median(memory[first : first + tenth])
        )


def soak(served: Served, *, model: Path | None = None, seconds: float, clients: int = 32) -> Soak:
    """Keep a server busy, and check each answer against the offline prediction."""
    pictures = [_noise(seed) for seed in range(64)]
    predictor = load_predictor(model)
    expected = [
        [_rounded(prediction.as_json())]  # type: ignore[union-attr]
        for prediction in predictor.predict_bytes(pictures)
    ]
    found = Soak()
    lock = threading.Lock()
    start = time.monotonic()

    def ask(client_number: int) -> None:
        counts: Counter[str] = Counter()
        # The leanest client there is, since it takes its time from the same processor.
        connection = http.client.HTTPConnection(*served.address, timeout=60)
        number = client_number
        while time.monotonic() < start + seconds:
            number = (number * 29 + 7) % len(pictures)
            counts[_ask_once(connection, pictures[number], expected[number])] += 1
        connection.close()
        with lock:
            for name, count in counts.items():
                setattr(found, name, getattr(found, name) + count)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found.resident_bytes.append(served.resident_bytes)
        threads[0].join(timeout=seconds / 200)
        if not threads[0].is_alive():
            for thread in threads:
                thread.join()
    found.seconds = time.monotonic() - start
    return found


def _ask_once(connection: http.client.HTTPConnection, picture: bytes, expected: list[Any]) -> str:
    try:
        headers = {"Content-Type": "image/jpeg"}
        connection.request("POST", "/api/v1/predict", picture, headers)
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return "lost"
    if answer.status != 200:
        return "busy" if answer.status == 503 else "lost"
    same = [_rounded(entry) for entry in json.loads(content)["predictions"]] == expected
    return "answered" if same else "crossed"


def _rounded(prediction: dict[str, Any]) -> dict[str, Any]:
    """Return what is the same alone and in a batch, where floats differ in their last digits."""
    return {
        "label": prediction["label"],
        "confidence": round(prediction["confidence"], 3),
        "labels": [score["label"] for score in prediction["top"][:2]],
    }


def _noise(seed: int) -> bytes:
    """Return a JPEG that looks like no other: coarse noise of 60 x 80."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (8, 6, 3), np.uint8))
    buffer = io.BytesIO()
    coarse.resize((60, 80)).save(buffer, "JPEG")
    return buffer.getvalue()
