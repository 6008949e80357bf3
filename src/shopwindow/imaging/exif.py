"""Which way up a photo was taken: the one EXIF tag that matters here.

Pillow reads all of a file's EXIF to give this one number, and warns about (or fails on) whatever
else is broken in there. Twenty lines that read only the orientation neither warn nor fail.
"""

from __future__ import annotations

import struct

from PIL import Image

ORIENTATION_TAG = 0x0112
MAX_ENTRIES = 1000  # real photos have a few dozen; a broken count must not cost time

# What undoes each orientation (EXIF 2.32, table "Orientation"); 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_orientation(exif: bytes) -> int:
    """Return the orientation (1 to 8) that a block of EXIF states; 1 where it states none.

    Args:
        exif: A TIFF header and directory, with or without its `Exif` prefix. May be damaged.
    """
    tiff = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, directory)
        for number in range(min(count, MAX_ENTRIES)):
            tag, kind, _ = struct.unpack_from(order + "HHI", tiff, directory + 2 + 12 * number)
            if tag == ORIENTATION_TAG:
                size = {1: "B", 3: "H", 4: "I"}.get(kind, "H")
                (value,) = struct.unpack_from(order + size, tiff, directory + 10 + 12 * number)
                return int(value) if value in _UPRIGHT else 1
    except struct.error:  # the directory runs out of the block
        pass
    return 1


def is_turned(orientation: int) -> bool:
    """Say whether width and height change places when the image is turned upright."""
    return orientation >= 5


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return `image` turned or mirrored so that it stands as the photographer saw it."""
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)
