"""PPM, PGM and PBM, which older data sets are made of.

Pillow reads a file with other than 255 levels, or with its numbers as text, number by number in
Python: a minute for a photo. NumPy takes no more code than keeping Pillow from that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from shopwindow.imaging.limits import MAX_PNM_TEXT_BYTES

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_BITS = re.compile(rb"P([14])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})\s")
_LEVELS = re.compile(
    rb"P([2356])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,5})\s"
)
_MAX_HEADER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class PnmHeader:
    """What stands before the pixels.

    Attributes:
        kind: 1 to 6, the digit behind its P.
        size: Width and height in pixels.
        white: The highest level, 1 to 65535.
        end: Where the pixels begin, in bytes.
    """

    kind: int
    size: tuple[int, int]
    white: int
    end: int

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colours."""
        return 3 if self.kind in {3, 6} else 1


def read_header(data: bytes) -> PnmHeader:
    """Return the header of a file.

    Raises:
        ValueError: It has none that makes sense.
    """
    head = data[:_MAX_HEADER_BYTES]
    found = _BITS.match(head) or _LEVELS.match(head)
    if found is None:
        raise ValueError("expected width, height and levels")
    kind, width, height, *levels = map(int, found.groups())
    white = levels[0] if levels else 1
    if not 1 <= white <= 65535:
        raise ValueError(f"expected 1 to 65535 levels, got {white}")
    return PnmHeader(kind, (width, height), white, found.end())


def read_pixels(data: bytes, header: PnmHeader) -> Image.Image:
    """Return the image of a file, in mode L or RGB.

    Raises:
        ValueError: There are fewer pixels than its header says.
    """
    width, height = header.size
    count = width * height * header.channels
    if header.kind == 4:
        row_bytes = -(-width // 8)
        packed = np.frombuffer(data, np.uint8, row_bytes * height, header.end)
        bits = np.unpackbits(packed.reshape(height, row_bytes), axis=1, count=width)
        return Image.fromarray((1 - bits) * np.uint8(255))
    if header.kind <= 3:
        values = _numbers_in(data[header.end :], count, bits=header.kind == 1)
        if header.kind == 1:
            values = 1 - values  # 1 is black
    else:
        values = np.frombuffer(data, ">u2" if header.white > 255 else "u1", count, header.end)
    if header.white != 255:
        levels = np.arange(header.white + 1, dtype=np.uint32)
        scaled = ((levels * 255 + header.white // 2) // header.white).astype(np.uint8)
        values = scaled[np.minimum(values, header.white)]
    shape = (height, width, 3) if header.channels == 3 else (height, width)
    return Image.fromarray(values.astype(np.uint8, copy=False).reshape(shape))


def _numbers_in(text: bytes, count: int, *, bits: bool) -> np.ndarray:
    if len(text) > MAX_PNM_TEXT_BYTES:
        raise ValueError("too many numbers as text")
    text = re.sub(rb"#[^\r\n]*", b"", text)
    if bits:  # which need nothing between them
        digits = np.frombuffer(b"".join(text.split()), np.uint8)[:count]
        values = digits.astype(np.int64) - ord("0")
    else:
        values = np.array([int(number) for number in text.split(None, count)[:count]], np.int64)
    highest = 1 if bits else 65535
    if len(values) < count or not 0 <= values.min() <= values.max() <= highest:
        raise ValueError("expected a level for each pixel")
    return values
