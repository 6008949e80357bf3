"""The activation map as a picture to lay over the photo."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shopwindow.imaging.preprocess import ResizeRule

# For each resize method, the `preserveAspectRatio` (SVG) that puts the model's frame back over the
# photo: a frame that the photo was fitted into covers it, one that was cut out of it lies inside.
FIT = {
    "pad": "xMidYMid slice",
    "pad-first": "xMidYMid slice",
    "crop": "xMidYMid meet",
    "crop-first": "xMidYMid meet",
    "shorter-side": "xMidYMid meet",
    "squish": "none",
}
_COOL, _WARM = np.array((255, 190, 0.0)), np.array((222, 18, 40.0))  # RGB
_MOST_OPAQUE = 0.78


def heatmap_uri(activation: NDArray[np.float32] | None, rule: ResizeRule) -> str | None:
    """Return a transparent picture of the evidence for the answer, as a `data:` URI.

    It has the size of the rule's frame. Fitted as `FIT` says, which undoes the rule, it lies on the
    photo.

    Args:
        activation: (rows, columns) float, see `Prediction.activation`; None where it has none.
        rule: The bundle's resize rule.

    Returns:
        None where there is no evidence for the answer.
    """
    if activation is None:
        return None
    evidence = np.nan_to_num(np.maximum(activation, 0), posinf=0.0).astype(np.float32)
    peak = evidence.max(initial=0)
    if peak <= 0:
        return None
    size = (rule.width_px, rule.height_px)
    smooth = Image.fromarray(evidence / peak).resize(size, Image.Resampling.BICUBIC)
    height_px, width_px = rule.scaled
    top, left = (height_px - rule.height_px) // 2, (width_px - rule.width_px) // 2
    strength = np.zeros((height_px, width_px, 1), np.float32)
    strength[top : top + rule.height_px, left : left + rule.width_px, 0] = np.clip(
        np.asarray(smooth), 0, 1
    )
    colours = _COOL + (_WARM - _COOL) * strength
    picture = np.concatenate([colours, 255 * _MOST_OPAQUE * strength**1.3], axis=2).astype(np.uint8)
    out = BytesIO()
    # The quickest method: a third of the default's time, for 0.4 kB more.
    Image.fromarray(picture).save(out, "WEBP", quality=80, alpha_quality=100, method=0)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")
