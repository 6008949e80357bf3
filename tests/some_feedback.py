"""Feedback as a visitor might give it, for tests that need some."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from shopwindow.feedback.feedback import Feedback
from shopwindow.inference.prediction import LabelScore

NOON = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)


def some_feedback(**changes: Any) -> Feedback:
    """Return feedback on a new picture: red, as the model said with 0.7, unless told otherwise."""
    values: dict[str, Any] = {
        "id": secrets.token_hex(16),
        "created_at": NOON,
        "model_name": "colours",
        "model_version": "1.0",
        "model_sha256": "ab" * 32,
        "photo_sha256": secrets.token_hex(32),
        "column": "colour",
        "predicted": "red",
        "confidence": 0.7,
        "sure": False,
        "margin": 0.5,
        "top": (LabelScore("red", 0.7), LabelScore("blå 'quoted' \"中\"", 0.2)),
        "given": "red",
    }
    return Feedback(**values | changes)
