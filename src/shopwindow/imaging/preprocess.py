"""RGB pixels of any size -> the pixels that the model sees. The only copy, in training and serving.

The resize is Pillow's, which widens its filter when it shrinks (antialiasing); `BILINEAR` unless
the rule says otherwise. Other libraries mean something else by the same word: torch's default
`interpolate`, OpenCV's `INTER_LINEAR` and ONNX's `Resize` sample four neighbours however far they
shrink, and a 1200-pixel photo then gives different pixels, and other answers, than the model was
trained on. So the resize is neither in the graph nor in the browser: it is here, once.

Models from elsewhere were trained on pixels that fastai, torchvision or timm prepared. The rule
speaks their languages too, to the pixel: see docs/importing.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ResizeMethod = Literal["squish", "crop", "pad", "shorter-side", "crop-first", "pad-first"]
ResizeFilter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
PadFill = Literal["white", "black", "edge", "mirror"]

MIN_SIDE_PX = 4
MAX_SIDE_PX = 2048
# A panorama that is filled up to a square, or scaled by its short side, is never larger than this.
MAX_CANVAS_PIXELS = 100_000_000
# How many pixels of the file, per side, there must be for one that the model sees. What is shrunk
# further by averaging before the resize moves answers: docs/decisions/images-in.md.
OVERSAMPLING = 3

_FILLS: dict[str, dict[str, Any]] = {
    "white": {"mode": "constant", "constant_values": 255},
    "black": {"mode": "constant", "constant_values": 0},
    "edge": {"mode": "edge"},
    "mirror": {"mode": "reflect"},
}
_SCALABLE = ("squish", "shorter-side", "crop-first", "pad-first")

_Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ResizeRule:
    """How an image of any size becomes `height_px` x `width_px`.

    Attributes:
        height_px: Height that the model sees, 4 to 2048.
        width_px: Width that the model sees, 4 to 2048.
        method: `squish` ignores the aspect ratio; `crop` fills the frame and cuts off, evenly, what
            sticks out; `pad` fits inside and fills up with white. What others do: `shorter-side`
            brings the shorter side to size and cuts the longer (torchvision and timm);
            `crop-first` and `pad-first` cut, or fill up with `fill`, at the image's own size and
            then scale (fastai's Crop and Pad).
        filter: Pillow's name of the resampling filter.
        scaled_px: (height, width) to which `method` brings the image before the centre of
            `height_px` x `width_px` is cut out of it; None for that size itself. Not for `crop`
            and `pad`. Both sides are the same for `shorter-side`.
        fill: What `pad-first` fills up with; `mirror` and `edge` continue the image.
    """

    height_px: int
    width_px: int
    method: ResizeMethod = "pad"
    filter: ResizeFilter = "bilinear"
    scaled_px: tuple[int, int] | None = None
    fill: PadFill = "white"

    def __post_init__(self) -> None:
        for name in ("height_px", "width_px"):
            _require_side(name, getattr(self, name), MIN_SIDE_PX)
        for name, choices in (
            ("method", ResizeMethod),
            ("filter", ResizeFilter),
            ("fill", PadFill),
        ):
            if getattr(self, name) not in get_args(choices):
                expected, found = ", ".join(get_args(choices)), getattr(self, name)
                raise ValueError(f"{name}: expected {expected}, got {found!r}")
        if self.fill != "white" and self.method != "pad-first":
            raise ValueError(f"fill: {self.fill} has no effect with {self.method}, only pad-first")
        self._check_scaled()

    def _check_scaled(self) -> None:
        if self.scaled_px is not None:
            if self.method not in _SCALABLE:
                raise ValueError(
                    f"scaled_px: has no effect with {self.method}, only {', '.join(_SCALABLE)}"
                )
            if type(self.scaled_px) is not tuple or len(self.scaled_px) != 2:
                raise ValueError(f"scaled_px: expected height and width, got {self.scaled_px!r}")
            for side, least in zip(self.scaled_px, (self.height_px, self.width_px), strict=True):
                _require_side("scaled_px", side, least)
        if self.method == "shorter-side" and len(set(self.scaled)) != 1:
            raise ValueError(f"scaled_px: expected one length for shorter-side, got {self.scaled}")

    @property
    def scaled(self) -> tuple[int, int]:
        """(height, width) in pixels before the centre is cut out."""
        return self.scaled_px or (self.height_px, self.width_px)

    @property
    def enough_px(self) -> tuple[int, int]:
        """(height, width) in pixels that an image needs; `decode_image` may leave out the rest."""
        return OVERSAMPLING * self.scaled[0], OVERSAMPLING * self.scaled[1]

    def as_json(self) -> dict[str, Any]:
        """Return `{"height_px": int, "width_px": int, "method": str}`, and what is not usual."""
        usual: dict[str, Any] = {"filter": "bilinear", "scaled_px": None, "fill": "white"}
        return {
            "height_px": self.height_px,
            "width_px": self.width_px,
            "method": self.method,
        } | {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in ((key, getattr(self, key)) for key in usual)
            if value != usual[key]
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ResizeRule:
        """Read what `as_json` wrote, in this version or an older one.

        Raises:
            ValueError: A key is missing or unknown, or a value is out of range.
        """
        required, optional = {"height_px", "width_px", "method"}, {"filter", "scaled_px", "fill"}
        if not isinstance(data, Mapping) or not required <= set(data) <= required | optional:
            found = sorted(map(str, data)) if isinstance(data, Mapping) else type(data).__name__
            raise ValueError(
                f"resize rule: expected {sorted(required)} and perhaps {sorted(optional)}, "
                f"got {found}"
            )
        scaled = data.get("scaled_px")
        return cls(**{**data, "scaled_px": tuple(scaled) if isinstance(scaled, list) else scaled})

    def __str__(self) -> str:
        extras: list[str] = [] if self.filter == "bilinear" else [self.filter]
        if self.method == "pad-first":
            extras.append(self.fill)
        if self.scaled_px is not None:
            extras.append(f"from {self.scaled_px[1]} × {self.scaled_px[0]}")
        return f"{self.width_px} × {self.height_px} pixels ({', '.join([self.method, *extras])})"


def preprocess(image_hwc: NDArray[np.uint8], rule: ResizeRule) -> NDArray[np.uint8]:
    """Bring an image to the size that the model sees.

    Args:
        image_hwc: (H, W, 3) uint8, RGB, of any size.
        rule: The size, and what to do about another aspect ratio.

    Returns:
        (height_px, width_px, 3) uint8. An image that already has this size comes back unchanged,
        unless the rule scales it to a larger one first.

    Raises:
        ValueError: `image_hwc` has another shape or dtype.
    """
    if image_hwc.dtype != np.uint8 or image_hwc.ndim != 3 or image_hwc.shape[2] != 3:
        raise ValueError(f"expected (H, W, 3) uint8, got {image_hwc.shape} {image_hwc.dtype}")
    height, width = image_hwc.shape[:2]
    if height == 0 or width == 0:
        raise ValueError(f"expected an image with pixels, got {image_hwc.shape}")
    if (height, width) == (rule.height_px, rule.width_px) == rule.scaled:
        return image_hwc.copy()
    if rule.method == "pad":
        return _pad(Image.fromarray(image_hwc), rule)
    if rule.method == "crop-first":
        image_hwc = _cut_whole_pixels(image_hwc, rule.scaled)
    elif rule.method == "pad-first":
        image_hwc = _fill_whole_pixels(image_hwc, rule)
    image = Image.fromarray(image_hwc)
    if rule.method == "crop":
        size, box = (rule.width_px, rule.height_px), _centred_crop(*image.size, rule)
        return np.array(image.resize(size, _filter_of(rule), box=box))
    return np.array(_scale_and_cut(image, rule))


def _pad(image: Image.Image, rule: ResizeRule) -> NDArray[np.uint8]:
    scale = min(rule.width_px / image.width, rule.height_px / image.height)
    # At least one pixel: a 940 x 2 strip must not vanish.
    width = min(rule.width_px, max(1, round(image.width * scale)))
    height = min(rule.height_px, max(1, round(image.height * scale)))
    page = np.full((rule.height_px, rule.width_px, 3), 255, np.uint8)
    top, left = (rule.height_px - height) // 2, (rule.width_px - width) // 2
    if image.size != (width, height):
        image = image.resize((width, height), _filter_of(rule))
    page[top : top + height, left : left + width] = np.asarray(image)
    return page


def _centred_crop(width: int, height: int, rule: ResizeRule) -> _Box:
    """Return the largest centred (left, top, right, bottom) with the rule's aspect ratio."""
    scale = min(width / rule.width_px, height / rule.height_px)
    crop_width, crop_height = rule.width_px * scale, rule.height_px * scale
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    return (left, top, left + crop_width, top + crop_height)


def _scale_and_cut(image: Image.Image, rule: ResizeRule) -> Image.Image:
    """Bring the image to the rule's `scaled` size and cut the centre out, in whole pixels."""
    height, width = rule.scaled
    if rule.method == "shorter-side":  # rounds down, as torchvision.transforms.Resize does
        width = max(width, int(width * image.width / image.height))
        height = max(height, int(height * image.height / image.width))
    # Rounds to even, as torchvision.transforms.CenterCrop does.
    left, top = round((width - rule.width_px) / 2), round((height - rule.height_px) / 2)
    right, bottom = left + rule.width_px, top + rule.height_px
    if height * width <= MAX_CANVAS_PIXELS:
        return image.resize((width, height), _filter_of(rule)).crop((left, top, right, bottom))
    # A panorama is not enlarged to its full length: the same pixels, but for rounding.
    across, down = image.width / width, image.height / height
    box = (left * across, top * down, right * across, bottom * down)
    return image.resize((rule.width_px, rule.height_px), _filter_of(rule), box=box)


def _cut_whole_pixels(image_hwc: NDArray[np.uint8], frame: tuple[int, int]) -> NDArray[np.uint8]:
    """Cut as `fastai.vision.augment.Resize` does for `ResizeMethod.Crop`."""
    height, width = image_hwc.shape[:2]
    scale = min(width / frame[1], height / frame[0])
    crop_height, crop_width = max(1, int(scale * frame[0])), max(1, int(scale * frame[1]))
    top, left = int((height - crop_height) / 2), int((width - crop_width) / 2)
    return image_hwc[top : top + crop_height, left : left + crop_width]


def _fill_whole_pixels(image_hwc: NDArray[np.uint8], rule: ResizeRule) -> NDArray[np.uint8]:
    """Fill up as `fastai.vision.augment.Resize` does for `ResizeMethod.Pad`."""
    height, width = image_hwc.shape[:2]
    scale = max(width / rule.scaled[1], height / rule.scaled[0])
    full_height, full_width = (max(1, int(scale * side)) for side in rule.scaled)
    if full_height * full_width > MAX_CANVAS_PIXELS:
        factor = math.ceil(math.sqrt(full_height * full_width / MAX_CANVAS_PIXELS))
        return _fill_whole_pixels(np.asarray(Image.fromarray(image_hwc).reduce(factor)), rule)
    # `int` cuts off towards zero also below it, and so does fastai.
    top, left = int((height - full_height) / 2), int((width - full_width) / 2)
    inner = image_hwc[
        max(top, 0) : min(top + full_height, height), max(left, 0) : min(left + full_width, width)
    ]
    above, before = max(-top, 0), max(-left, 0)
    below = max(full_height - height + top, 0)
    behind = max(full_width - width + left, 0)
    return np.pad(inner, ((above, below), (before, behind), (0, 0)), **_FILLS[rule.fill])


def _filter_of(rule: ResizeRule) -> Image.Resampling:
    return Image.Resampling[rule.filter.upper()]


def _require_side(name: str, side: object, least: int) -> None:
    if type(side) is not int or not least <= side <= MAX_SIDE_PX:
        raise ValueError(
            f"{name}: expected a whole number from {least} to {MAX_SIDE_PX}, got {side!r}"
        )
