"""A bundle with a sample of its training photos, and photos like or unlike those."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from colour_bundle import colour_info, write_colour_bundle
from shopwindow.bundle.training_sample import sample_record
from shopwindow.feedback.feedback import Embedding, Photo
from shopwindow.feedback.store import FeedbackStore
from some_feedback import some_feedback

_MEANS = {"reddish": (0.8, 0.3, 0.3), "bluish": (0.3, 0.3, 0.8)}


def colours(kind: str, count: int, seed: int) -> NDArray[np.float32]:
    """Return (count, 3) mean colours at unit length: what the embedding of the bundle is."""
    found = np.random.default_rng(seed).normal(_MEANS[kind], 0.08, (count, 3)).clip(0.01, 1)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def sampled_bundle(folder: Path) -> Path:
    """Write a bundle that was trained on reddish photos."""
    info = replace(colour_info(), data={"source": "x"} | sample_record(colours("reddish", 60, 0)))
    return write_colour_bundle(folder / "sampled.onnx", info=info, embedding=True)


def add_photos(
    store: FeedbackStore, model_sha256: str, kind: str, count: int, *, days_ago: float = 1
) -> list[str]:
    """Keep photos with their embeddings, and return their ids."""
    ids = []
    for place, colour in enumerate(colours(kind, count, 1)):
        feedback = some_feedback(
            created_at=datetime.now(UTC) - timedelta(days=days_ago, seconds=place), given="blue"
        )
        out = BytesIO()
        Image.new("RGB", (30, 40), tuple(int(255 * part) for part in colour)).save(out, "JPEG")
        store.add(feedback, Photo(out.getvalue()), None, Embedding(model_sha256, colour))
        ids.append(feedback.id)
    return ids
