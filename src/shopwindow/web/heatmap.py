"""The activation map as a picture to lay over the photo."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shopwindow.imaging.preprocess import ResizeRule

# By resize rule, the `preserveAspectRatio` (SVG) that brings the frame back over the photo: a frame
# that the photo was fitted into covers it, and a frame that was cut out of the photo lies inside.
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


def heatmap_uri(activation: NDArray[np.float32], rule: ResizeRule) -> str | None:
    """Return a transparent picture of what spoke for the answer, as a `data:` URI.

    It has the size of the rule's frame. To lie on the photo it must be fitted as `FIT` says, which
    undoes what the rule does.

    Args:
        activation: (rows, columns) float, see `Prediction.activation`.
        rule: The bundle's resize rule.

    Returns:
        None where nothing spoke for the answer.
    """
    evidence = np.nan_to_num(np.maximum(activation, 0), posinf=0.0).astype(np.float32)
    peak = evidence.max(initial=0)
    if peak <= 0:
        return None
    size = (rule.width_px, rule.height_px)
    smooth = Image.fromarray(evidence / peak).resize(size, Image.Resampling.BICUBIC)
    height_px, width_px = rule.scaled
    top, left = (height_px - rule.height_px) // 2, (width_px - rule.width_px) // 2
    share = np.zeros((height_px, width_px, 1), np.float32)
    share[top : top + rule.height_px, left : left + rule.width_px, 0] = np.clip(
        np.asarray(smooth), 0, 1
    )
    colours = _COOL + (_WARM - _COOL) * share
    picture = np.concatenate([colours, 255 * _MOST_OPAQUE * share**1.3], axis=2).astype(np.uint8)
    out = BytesIO()
    # The quickest of its methods: a third of the time of the usual one, for 0.4 kB more.
    Image.fromarray(picture).save(out, "WEBP", quality=80, alpha_quality=100, method=0)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")
