"""The last step of every way in: a source becomes a bundle, if the bundle predicts the same."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shopwindow.bundle import BundleInfo, LabelColumn, Threshold
from shopwindow.bundle.embedding_output import append_embedding
from shopwindow.errors import ImageError, UsageError
from shopwindow.evaluation.asking import Probs
from shopwindow.evaluation.verify import Draft, write_verified_bundle
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.formats import IMAGE_SUFFIXES
from shopwindow.importing.source import Source
from shopwindow.inference.predictor import Predictor

PREVIEW_IMAGES = 10
_PREVIEW_PX = (1024, 1024)  # more would only take longer
# (height, width): both orientations, a strip, small and large beside the inputs of most networks.
_PROOF_SIZES = ((240, 180), (180, 240), (97, 500), (64, 64), (801, 600), (333, 333))


def proof_images() -> list[bytes]:
    """Return PNG files of several shapes that look a little like photos; always the same."""
    images = []
    for number, (height, width) in enumerate(_PROOF_SIZES):
        random = np.random.default_rng(number)
        coarse = random.integers(0, 256, (6, 5, 3), np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        grain = random.integers(-20, 21, (height, width, 3))
        images.append(as_png(np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)))
    return images


def read_preview(folder: Path) -> tuple[list[Path], list[bytes]]:
    """Return up to ten images from all over a folder (or one image), upright and as PNG.

    Raises:
        UsageError: There is no image in it that can be read.
    """
    paths = [folder]
    if folder.is_dir():
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if len(paths) > PREVIEW_IMAGES:
        paths = [paths[i * len(paths) // PREVIEW_IMAGES] for i in range(PREVIEW_IMAGES)]
    shown, images = [], []
    for path in paths:
        try:
            images.append(as_png(decode_image(path.read_bytes(), least_px=_PREVIEW_PX)))
            shown.append(path)
        except (ImageError, OSError):
            continue  # one damaged file of ten does not matter here
    if not images:
        raise UsageError(f"--preview {folder}: expected images, found none that can be read")
    return shown, images


def as_png(image_hwc: np.ndarray) -> bytes:
    """Return pixels, uint8 (H, W, 3), as a file that every library reads alike."""
    buffer = io.BytesIO()
    Image.fromarray(image_hwc).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def write_import(
    source: Source,
    images: Sequence[bytes],
    out: Path,
    *,
    name: str,
    card: dict[str, Any],
    approve: Callable[[Draft], None],
) -> BundleInfo:
    """Write a source as a bundle, once its answers are proven and approved of.

    Args:
        source: What to write; where its graph has an embedding, it becomes an output.
        images: The image files that `source.expected` is about.
        out: Where the bundle goes.
        name: Name of the model.
        card: Texts for people.
        approve: Called with the draft before the bundle is written; what it raises stops that.

    Raises:
        TrainingError: The bundle would answer otherwise than its source.
    """
    now = datetime.now(UTC)
    info = BundleInfo(
        name=name,
        version=f"{now:%Y.%m.%d}",
        created=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        rule=source.rule,
        columns=(LabelColumn(source.column, source.labels),),
        # Nobody has measured from where on its answers can be relied on: none of them is sure.
        threshold=Threshold(min_confidence=1.0, precision=0.0, coverage=0.0),
        training={
            "recipe": "imported",
            **source.facts,
            "versions": source.facts.get("versions", {}) | {"shopwindow": version("shopwindow")},
        },
        card=card,
        # Its features are those behind the probabilities, which are compared below.
        embedding=append_embedding(source.graph, source.column),
    )

    def ask(predictor: Predictor) -> Probs:
        return predictor.probabilities(np.stack([predictor.prepare(image) for image in images]))

    def finish(draft: Draft) -> BundleInfo:
        approve(draft)
        compared = {"images": len(images), "largest_difference": round(draft.difference, 6)}
        return replace(info, training=info.training | {"compared_with_source": compared})

    expected = {source.column: source.expected}
    return write_verified_bundle(
        out, [source.graph], info, expected, ask, finish, allowed=source.allowed
    )
