"""RGB pixels of any size -> the pixels that the model sees. The only copy, in training and serving.

The resize is Pillow's `BILINEAR`, which widens its filter when it shrinks (antialiasing). Other
libraries mean something else by the same word: torch's default `interpolate`, OpenCV's
`INTER_LINEAR` and ONNX's `Resize` sample four neighbours however far they shrink, and a 1200-pixel
photo then gives different pixels, and other answers, than the model was trained on. So the resize
is neither in the graph nor in the browser: it is here, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ResizeMethod = Literal["squish", "crop", "pad"]

MIN_SIDE_PX = 4
MAX_SIDE_PX = 2048


@dataclass(frozen=True, slots=True)
class ResizeRule:
    """How an image of any size becomes `height_px` x `width_px`.

    Attributes:
        height_px: Height that the model sees, 4 to 2048.
        width_px: Width that the model sees, 4 to 2048.
        method: fastai's terms. `squish` ignores the aspect ratio; `crop` fills the frame and cuts
            off, evenly, what sticks out; `pad` fits inside and fills up with white.
    """

    height_px: int
    width_px: int
    method: ResizeMethod = "pad"

    def __post_init__(self) -> None:
        for name in ("height_px", "width_px"):
            side = getattr(self, name)
            if type(side) is not int or not MIN_SIDE_PX <= side <= MAX_SIDE_PX:
                raise ValueError(
                    f"{name}: expected a whole number from {MIN_SIDE_PX} to {MAX_SIDE_PX}, "
                    f"got {side!r}"
                )
        if self.method not in get_args(ResizeMethod):
            raise ValueError(
                f"method: expected {', '.join(get_args(ResizeMethod))}, got {self.method!r}"
            )

    def as_json(self) -> dict[str, Any]:
        """Return `{"height_px": int, "width_px": int, "method": str}`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ResizeRule:
        """Read what `as_json` wrote.

        Raises:
            ValueError: A key is missing or unknown, or a value is out of range.
        """
        expected = {"height_px", "width_px", "method"}
        if not isinstance(data, Mapping) or set(data) != expected:
            found = sorted(data) if isinstance(data, Mapping) else type(data).__name__
            raise ValueError(f"resize rule: expected {sorted(expected)}, got {found}")
        return cls(data["height_px"], data["width_px"], cast(ResizeMethod, data["method"]))


def preprocess(image_hwc: NDArray[np.uint8], rule: ResizeRule) -> NDArray[np.uint8]:
    """Bring an image to the size that the model sees.

    Args:
        image_hwc: (H, W, 3) uint8, RGB, of any size.
        rule: The size, and what to do about another aspect ratio.

    Returns:
        (height_px, width_px, 3) uint8. An image that already has this size comes back unchanged.

    Raises:
        ValueError: `image_hwc` has another shape or dtype.
    """
    if image_hwc.dtype != np.uint8 or image_hwc.ndim != 3 or image_hwc.shape[2] != 3:
        raise ValueError(f"expected (H, W, 3) uint8, got {image_hwc.shape} {image_hwc.dtype}")
    height, width = image_hwc.shape[:2]
    if height == 0 or width == 0:
        raise ValueError(f"expected an image with pixels, got {image_hwc.shape}")
    if (height, width) == (rule.height_px, rule.width_px):
        return image_hwc.copy()
    image = Image.fromarray(image_hwc)
    if rule.method == "pad":
        return _pad(image, rule)
    box = _centred_crop(width, height, rule) if rule.method == "crop" else None
    size = (rule.width_px, rule.height_px)
    return np.array(image.resize(size, Image.Resampling.BILINEAR, box=box))


def _pad(image: Image.Image, rule: ResizeRule) -> NDArray[np.uint8]:
    scale = min(rule.width_px / image.width, rule.height_px / image.height)
    # At least one pixel: a 940 x 2 strip must not vanish.
    width = min(rule.width_px, max(1, round(image.width * scale)))
    height = min(rule.height_px, max(1, round(image.height * scale)))
    page = np.full((rule.height_px, rule.width_px, 3), 255, np.uint8)
    top, left = (rule.height_px - height) // 2, (rule.width_px - width) // 2
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    page[top : top + height, left : left + width] = np.asarray(image)
    return page


def _centred_crop(width: int, height: int, rule: ResizeRule) -> tuple[float, float, float, float]:
    """Return the largest centred (left, top, right, bottom) with the rule's aspect ratio."""
    scale = min(width / rule.width_px, height / rule.height_px)
    crop_width, crop_height = rule.width_px * scale, rule.height_px * scale
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    return (left, top, left + crop_width, top + crop_height)
