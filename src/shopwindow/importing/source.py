"""A model from elsewhere, and how photos are prepared for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from shopwindow.evaluation.verify import MAX_DIFFERENCE
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.preprocess import ResizeRule, preprocess


@dataclass(frozen=True)
class Preparation:
    """How pixels are prepared for a network, which a file of weights does not say.

    Attributes:
        rule: How a photo of any size becomes the input.
        mean: Subtracted from each channel (R, G, B), for pixels from 0 to 1.
        std: What each channel is then divided by, above 0.
        bgr: Whether the network sees blue first.
    """

    rule: ResizeRule
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool = False

    def normalise(self, images_nhwc: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (N, H, W, 3) uint8 RGB as the float32 that the network sees."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        normalised = (images_nhwc.astype(np.float32) / np.float32(255) - mean) / std
        return normalised[..., ::-1] if self.bgr else normalised

    def as_json(self) -> dict[str, Any]:
        """Return the normalisation as JSON-ready data; a bundle has the rule elsewhere."""
        return {"mean": list(self.mean), "std": list(self.std), "bgr": self.bgr}


@dataclass(frozen=True)
class Source:
    """A model from elsewhere, ready to become a bundle.

    Attributes:
        graph: From uint8 `images` (N, H, W, 3) to probabilities (N, C) under the name `column`.
        rule: How a photo becomes the input.
        labels: The C labels in the order of the output.
        column: What the bundle calls its label column.
        expected: (n, C) probabilities of the model itself for the images of the comparison.
        allowed: By how much the bundle may differ from them, 0 to 1.
        facts: Where the model came from, for the bundle's `training`.
        notes: What was done without being asked for, each a sentence for the user.
    """

    graph: onnx.ModelProto
    rule: ResizeRule
    labels: tuple[str, ...]
    column: str
    expected: NDArray[np.float32]
    allowed: float = MAX_DIFFERENCE
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def prepare(images: Sequence[bytes], rule: ResizeRule) -> NDArray[np.uint8]:
    """Return image files as (n, H, W, 3) uint8, as a predictor would prepare them."""
    return np.stack([preprocess(decode(image, rule), rule) for image in images])


def decode(image: bytes, rule: ResizeRule) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8, as a predictor with this rule decodes a file."""
    return decode_image(image, least_px=rule.enough_px)
