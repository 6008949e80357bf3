"""A small evaluation with everything in it, for the tests of how it is shown."""

from __future__ import annotations

from typing import Any

import numpy as np

from shopwindow.evaluation.metrics import grade, sure_answers
from shopwindow.evaluation.report import Evaluation, hardest_images
from shopwindow.evaluation.set_grades import SetGrades

# The first label is what a hostile CSV could hold.
LABELS = ["<script>alert(1)</script>", "Sports Shoes", "Watches"]
REFERENCES = [f"images/{i}.jpg" for i in range(6)]


def small_evaluation(**changes: Any) -> Evaluation:
    """Six images, three right, two columns."""
    probabilities = np.array(
        [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]] * 2, dtype=np.float32
    )
    targets = np.array([0, 1, 2, 1, 0, 1])
    images = np.random.default_rng(0).integers(0, 255, (6, 80, 60, 3), dtype=np.uint8)
    fields: dict[str, Any] = {
        "model_name": "tiny",
        "model_version": "1.2.3",
        "model_sha256": "ab" * 32,
        "created": "2025-03-01T12:00:00+00:00",
        "data": "six images",
        "split": "all of them",
        "images": 6,
        "column": "articleType",
        "grades": grade(probabilities, targets, LABELS),
        "sure": sure_answers(probabilities, targets, 0.5),
        "seconds": 0.5,
        "engine": "onnxruntime int8",
        "attributes": {
            "gender": grade(np.array([[0.9, 0.1]] * 6), [0, 0, 0, 1, -1, -1], ["Men", "Women"])
        },
        "hardest": hardest_images(
            probabilities, targets, LABELS, REFERENCES, lambda indices: images[indices], count=2
        ),
        "notes": ("One image was left out.",),
        "set_level": 0.95,
        "sets": (SetGrades("all", 6, 5, 1.5), SetGrades("not sure", 3, 2, 2.0)),
    }
    return Evaluation(**fields | changes)
