"""How many frames or pages an image file has, without decoding any of them.

Everything in here ends after as many steps as the file has bytes, and as soon as there are more
frames than matter. What looks wrong ends the count: whether the file can be read, the decoder says.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from shopwindow.imaging.containers import MAX_GIF_BLOCKS, TooManyPartsError
from shopwindow.imaging.heif import Heif

_GIF_BLOCK = re.compile(rb"[!,;]")  # an extension, a frame, or the end


def has_more_frames(format_: str, data: bytes, most: int) -> bool:
    """Say whether a file has more than `most` frames (GIF, PNG, WebP), pages or pictures.

    The pictures that phones append to a JPEG (a map of depth, say) are no frames.

    Args:
        format_: One of `ACCEPTED_FORMATS`.
        data: The whole file.
        most: At least 1.

    Raises:
        TooManyPartsError: More blocks in a GIF than are read.
        BrokenHeifError: A HEIC or AVIF file that is cut off or makes no sense.
    """
    count = _COUNTS.get(format_)
    return count is not None and count(data, most) > most


def _gif(data: bytes, most: int) -> int:
    frames = blocks = 0
    position = _behind_table(data, 10, 13)
    while frames <= most and (block := _GIF_BLOCK.search(data, position)):
        start = block.start()
        if data[start] == 0x3B:
            break
        if data[start] == 0x2C:
            frames += 1
            position = _behind_table(data, start + 9, start + 10) + 1  # and the size of a code
        else:
            position = start + 2
        while position < len(data) and data[position]:  # sub-blocks, up to an empty one
            if (blocks := blocks + 1) > MAX_GIF_BLOCKS:
                raise TooManyPartsError
            position += 1 + data[position]
        position += 1
    return frames


def _behind_table(data: bytes, flags_at: int, table_at: int) -> int:
    """Return where a colour table ends that may be there, as its flags say."""
    flags = data[flags_at] if flags_at < len(data) else 0
    return table_at + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)


def _png(data: bytes, most: int) -> int:
    """Return what the file says of itself: the chunk must stand before the pixels."""
    found = data.find(b"acTL", 0, max(0, data.find(b"IDAT")))
    return struct.unpack_from(">I", data, found + 4)[0] if 0 <= found < len(data) - 8 else 1


def _webp(data: bytes, most: int) -> int:
    frames, position = 0, 12
    while frames <= most and position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        frames += data[position : position + 4] == b"ANMF"
        position += 8 + size + size % 2
    return frames


def _tiff(data: bytes, most: int) -> int:
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] == b"+\x00"
    offset, count, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
    pages: set[int] = set()  # a list of pages may bite its tail
    try:
        (at,) = struct.unpack_from(order + offset, data, 8 if big else 4)
        while at and at not in pages and len(pages) <= most:
            pages.add(at)
            (entries,) = struct.unpack_from(order + count, data, at)
            at += struct.calcsize(count) + entries * entry_bytes
            (at,) = struct.unpack_from(order + offset, data, at)
    except (struct.error, OverflowError):  # it runs out of the file
        pass
    return len(pages)


def _heif(data: bytes, most: int) -> int:
    return Heif(data).frames


_COUNTS: dict[str, Callable[[bytes, int], int]] = {
    **{"GIF": _gif, "PNG": _png, "WEBP": _webp, "TIFF": _tiff},
    **{"HEIC": _heif, "AVIF": _heif},
}
