"""HEIC through libheif, with as much of Pillow's interface as is needed here."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pi_heif
from PIL import Image


class HeicImage:
    """The picture of a HEIC file, upright, in 8 bits per channel.

    libheif hands over all pixels at once, and a photo of 48 megapixels would not fit into memory a
    second time: `crop` makes Pillow images of strips.

    Args:
        data: A file that was found sound, see `HeifContainer`.

    Attributes:
        format: Of the file.
        mode: Pillow's mode of the strips.
        size: Width and height in pixels, upright.
        info: Empty; Pillow's images have metadata there.
    """

    format = "HEIC"

    def __init__(self, data: BytesIO) -> None:
        file = pi_heif.open_heif(data, convert_hdr_to_8bit=True)
        self._picture = file[file.primary_index]
        self.mode: str = self._picture.mode
        self.size: tuple[int, int] = self._picture.size
        self.info: dict[str, Any] = {}

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.size[0]

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.size[1]

    def load(self) -> None:
        """Decode the pixels.

        Raises:
            ValueError: They are damaged, or there are more or fewer than the file said.
        """
        self._picture.load()
        if self._picture.size != self.size:
            raise ValueError(f"expected {self.size} pixels, got {self._picture.size}")

    def crop(self, box: tuple[int, int, int, int]) -> Image.Image:
        """Return a strip of the picture.

        Args:
            box: Left, upper, right and lower edge, of which the first is 0 and the third the width.
        """
        _, top, _, bottom = box
        stride = self._picture.stride
        rows = memoryview(self._picture.data)[top * stride : bottom * stride]
        size = self.width, bottom - top
        return Image.frombytes(self.mode, size, rows, "raw", self.mode, stride)
