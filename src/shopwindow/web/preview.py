"""The small picture that the page shows back, made anew from the decoded pixels."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Catalogue thumbnails of some 60 px look broken when they are blown up to fill the window.
_SMALL_PX = 200
PREVIEW_SIDE_PX = 512


@dataclass(frozen=True, slots=True)
class Preview:
    """A JPEG file, and its size in pixels."""

    jpeg: bytes
    width_px: int
    height_px: int

    @property
    def base64(self) -> str:
        """The file as text."""
        return base64.b64encode(self.jpeg).decode("ascii")

    @property
    def uri(self) -> str:
        """The file as a `data:` URI."""
        return f"data:image/jpeg;base64,{self.base64}"

    @property
    def small(self) -> bool:
        """Whether it should not be stretched over the whole window."""
        return max(self.width_px, self.height_px) < _SMALL_PX


def make_preview(image_hwc: NDArray[np.uint8], *, side_px: int = PREVIEW_SIDE_PX) -> Preview:
    """Return a preview of at most `side_px` on its longer side.

    Never the bytes that were uploaded: re-encoded pixels carry no metadata (such as where a photo
    was taken) and nothing that a browser could take for something else.

    Args:
        image_hwc: (H, W, 3) RGB, upright; smaller pictures keep their size.
        side_px: The longest side of the preview.
    """
    picture = Image.fromarray(image_hwc)
    picture.thumbnail((side_px, side_px))
    out = BytesIO()
    picture.save(out, "JPEG", quality=82)
    return Preview(out.getvalue(), *picture.size)
