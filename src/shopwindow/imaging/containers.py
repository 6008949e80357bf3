"""Take the container of an image file apart before Pillow opens it.

Pillow reads everything in a file: thumbnails, previews, further frames, private tags. Where any of
that is broken it warns, through Python's `warnings`, or fails, though the pixels are sound. A
warning cannot be silenced for one thread only (before Python 3.14), and images are decoded in many.
So Pillow is handed a file that has only what pixels need, and finds nothing to warn about.

Nothing here checks pixels or decompresses, and what looks wrong is passed on as it is: Pillow then
says no. Only what would take long is refused here. Pillow and we walk over segments, chunks and
blocks in Python, and ten megabytes can be five million of them; some minutes, in places where
Pillow joins one after the other.
"""

from __future__ import annotations

import re
import struct

from PIL import TiffTags

from shopwindow.imaging.exif import ORIENTATION_TAG, read_orientation

# Any marker that begins a segment: none of stuffed 0xFF00, restarts, starts, and fill bytes.
_JPEG_SEGMENT = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
_GIF_BLOCK = re.compile(rb"[!,]")  # an extension or a frame; whatever stands before it is junk

# Each far beyond what cameras and editors write: a photo's depth map is some 200 JPEG segments, an
# encoder with a small buffer makes some 2,500 PNG chunks, a strip per row some 50,000 TIFF values.
MAX_JPEG_SEGMENTS = 5_000
MAX_PNG_CHUNKS = 20_000
MAX_GIF_BLOCKS = 200_000
MAX_TIFF_VALUES = 65_536

_TIFF_COMPRESSION, _TIFF_COLOUR_MAP = 259, 320
_TIFF_PLACES = ((273, 279), (324, 325))  # where strips and tiles are, and how long

# Tags of TIFF 6.0, its technical notes and libtiff that say how pixels are stored: size (256, 257),
# sample layout, compression and its parameters, colour map, strips, tiles, planes, inks, extra
# samples, JPEG tables (old and new), YCbCr. Resolution, text, profiles and sub-files are not.
_TIFF_PIXEL_TAGS = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325}
    | {332, 334, 338, 339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532}
)
# Bytes per value of the TIFF types 1 to 18.
_TIFF_TYPE_BYTES = {
    **{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4},
    **{10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8},
}


class TooManyPartsError(ValueError):
    """A file is cut into so many pieces that reading them would take long."""


def strip_jpeg(data: bytes) -> tuple[bytes, int]:
    """Return a JPEG without its comments and application data, and its EXIF orientation.

    JFIF (APP0) and Adobe's segment (APP14) stay: they say which colours the numbers mean.

    Raises:
        TooManyPartsError: More than `MAX_JPEG_SEGMENTS` before the pixels.
    """
    kept = [data[:2]]
    exif = b""
    position = 2
    for _ in range(MAX_JPEG_SEGMENTS):
        marker = _JPEG_SEGMENT.search(data, position)
        if marker is None or marker.start() + 4 > len(data):
            return b"".join(kept), read_orientation(exif)
        start, code = marker.start(), data[marker.start() + 1]
        if code in {0xD9, 0xDA}:  # end of image, or the pixels begin
            return b"".join([*kept, data[start:]]), read_orientation(exif)
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        body = data[start + 4 : end]
        if code == 0xE1 and body.startswith(b"Exif\x00\x00"):
            exif = exif or body
        elif not (0xE1 <= code <= 0xEF or code == 0xFE) or code == 0xEE:
            kept.append(data[start:end])
        position = max(end, start + 4)
    raise TooManyPartsError


def count_jpeg_scans(data: bytes) -> int:
    """Return how many scans a JPEG has, up to the end of its image.

    Each scan of a progressive file goes over all the pixels again, and may be a few bytes long:
    half a megabyte with 4,000 scans over 49 million pixels keeps libjpeg busy for three minutes.

    Raises:
        TooManyPartsError: More than `MAX_JPEG_SEGMENTS` in all.
    """
    scans = 0
    position = 2
    for _ in range(MAX_JPEG_SEGMENTS):
        marker = _JPEG_SEGMENT.search(data, position)
        if marker is None or data[marker.start() + 1] == 0xD9:
            return scans
        scans += data[marker.start() + 1] == 0xDA
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    raise TooManyPartsError


def strip_png(data: bytes) -> bytes:
    """Return a PNG without animation: its default image is what every viewer can show.

    Raises:
        TooManyPartsError: More than `MAX_PNG_CHUNKS`.
    """
    kept = [data[:8]]
    position = 8
    chunks = 0
    while position + 12 <= len(data):
        if (chunks := chunks + 1) > MAX_PNG_CHUNKS:
            raise TooManyPartsError
        if data[position + 4 : position + 8] == b"IEND":  # what follows is nobody's business
            break
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] not in {b"acTL", b"fcTL", b"fdAT"}:
            kept.append(data[position:end])
        position = end
    return data if b"acTL" not in data else b"".join([*kept, data[position:]])


def strip_tiff(data: bytes) -> tuple[bytes, int]:
    """Return a TIFF of one page with only the tags that pixels need, and its orientation.

    The pixels stay where they are; a new, sorted directory is added behind them. Entries that claim
    more bytes than the file has, or more than `MAX_TIFF_VALUES`, are left out. Where the directory
    or a value of it lies outside the file, nothing is left, so that half of a file is not read as
    something else.
    """
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] == b"+\x00"
    if len(data) < (16 if big else 8):  # the new directory would lie within its own header
        return data, 1
    offset, count_kind, entry_kind = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
    entry_bytes, inline_bytes = struct.calcsize(order + entry_kind), 8 if big else 4
    entries: dict[int, bytes] = {}
    orientation = 1
    budget = len(data)
    try:
        (directory,) = struct.unpack_from(order + offset, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + count_kind, data, directory)
        first = directory + struct.calcsize(count_kind)
        for start in range(first, first + min(count, 0xFFFF) * entry_bytes, entry_bytes):
            tag, kind, values, content = struct.unpack_from(order + entry_kind, data, start)
            size = values * _TIFF_TYPE_BYTES.get(kind, 0)
            if tag == ORIENTATION_TAG and kind == 3:
                (orientation,) = struct.unpack(order + "H", content[:2])
            if tag not in _TIFF_PIXEL_TAGS or tag in entries or size == 0:
                continue
            if values > MAX_TIFF_VALUES * (3 if tag == _TIFF_COLOUR_MAP else 1) and kind != 7:
                continue  # 7: bytes, such as the tables of JPEG
            if size > inline_bytes:
                (where,) = struct.unpack(order + offset, content)
                budget -= size
                if budget < 0:
                    continue
                if where + size > len(data):  # cut off: the rest would be taken for another kind
                    entries.clear()
                    break
                content = data[where : where + inline_bytes]
            entry = data[start : start + entry_bytes]
            # Pillow would take the first, and warn. Bytes and text (1, 2, 7) are one value to it.
            if values > 1 and kind not in {1, 2, 7} and TiffTags.lookup(tag).length == 1:
                content = content[: size // values].ljust(inline_bytes, b"\x00")
                entry = struct.pack(order + entry_kind, tag, kind, 1, content)
            entries[tag] = entry
    except (struct.error, OverflowError):  # the table itself is cut off
        entries.clear()
    if _ends_beyond(data, entries, order, entry_kind):
        entries.clear()  # or the directory that is added would be read as the last pixels
    padding = b"\x00" * (len(data) % 2)
    where = len(data) + len(padding)
    header = data[:8] + struct.pack(order + "Q", where) if big else data[:4]
    header = header if big else header + struct.pack(order + "I", where % 2**32)
    table = struct.pack(order + count_kind, len(entries)) + b"".join(
        entries[tag] for tag in sorted(entries)
    )
    end = struct.pack(order + offset, 0)  # no further page
    return header + data[len(header) :] + padding + table + end, orientation


def _ends_beyond(data: bytes, entries: dict[int, bytes], order: str, entry_kind: str) -> bool:
    """Say whether uncompressed pixels go on behind the end of a TIFF."""

    def values_of(tag: int) -> tuple[int, ...]:
        _, kind, count, content = struct.unpack(order + entry_kind, entries[tag])
        letter = {3: "H", 4: "I", 16: "Q"}.get(kind)
        if letter is None:
            return ()
        if count * _TIFF_TYPE_BYTES[kind] > len(content):
            (where,) = struct.unpack(order + ("Q" if len(content) == 8 else "I"), content)
            return struct.unpack_from(f"{order}{count}{letter}", data, where)
        return struct.unpack_from(f"{order}{count}{letter}", content)

    if _TIFF_COMPRESSION in entries and values_of(_TIFF_COMPRESSION) != (1,):
        return False
    return any(
        offset + size > len(data)
        for offsets, sizes in _TIFF_PLACES
        if offsets in entries and sizes in entries
        for offset, size in zip(values_of(offsets), values_of(sizes), strict=False)
    )


def strip_gif(data: bytes) -> tuple[bytes, tuple[int, int] | None]:
    """Return a GIF without what stands before its first frame, and the (width, height) to expect.

    Dropped are comments, application data and junk; what says which colour is transparent stays.
    The size is that of the canvas with the first frame, and None where there is no frame.

    Raises:
        TooManyPartsError: More than `MAX_GIF_BLOCKS` before the first frame.
    """
    if len(data) < 13:
        return data, None
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    header_end = position = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    control = b""
    blocks = 0
    while (block := _GIF_BLOCK.search(data, position)) and data[block.start()] == 0x21:
        start = block.start()
        position = start + 2
        while True:  # the extension's sub-blocks, and the empty one that ends it
            if (blocks := blocks + 1) > MAX_GIF_BLOCKS:
                raise TooManyPartsError
            if position >= len(data) or not data[position]:
                break
            position += 1 + data[position]
        position += 1
        if data[start + 1 : start + 2] == b"\xf9":
            control = data[start:position]
    if block is None or block.start() + 10 > len(data):
        return data[:header_end], None
    start = block.start()
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, start + 1)
    size = max(width, left + frame_width), max(height, top + frame_height)
    return data[:header_end] + control + data[start:], size
