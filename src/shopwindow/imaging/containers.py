"""Take the container of an image file apart before Pillow opens it.

Pillow reads everything in a file: thumbnails, previews, further frames, private tags. Where any of
that is broken it warns, through Python's `warnings`, or fails, though the pixels are sound. A
warning cannot be silenced for one thread only (before Python 3.14), and images are decoded in many.
So Pillow is handed a file that has only what pixels need, and finds nothing to warn about.

Nothing here checks pixels or decompresses, and nothing here fails: what looks wrong is passed on as
it is, and Pillow then says no.
"""

from __future__ import annotations

import re
import struct

from shopwindow.imaging.exif import ORIENTATION_TAG, read_orientation

# Any marker but those within a scan's own data: stuffed 0xFF00, restarts, fill bytes.
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")

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


def strip_jpeg(data: bytes) -> tuple[bytes, int]:
    """Return a JPEG without its comments and application data, and its EXIF orientation.

    JFIF (APP0) and Adobe's segment (APP14) stay: they say which colours the numbers mean.
    """
    kept = [data[:2]]
    exif = b""
    position = 2
    while (position := data.find(b"\xff", position)) >= 0 and position + 4 <= len(data):
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in {0x00, 0x01} or 0xD0 <= marker <= 0xD8:  # no segment follows: junk here
            position += 2
            continue
        if marker in {0xD9, 0xDA}:  # end of image, or the pixels begin
            break
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : end]
        if marker == 0xE1 and body.startswith(b"Exif\x00\x00"):
            exif = exif or body
        elif not (0xE1 <= marker <= 0xEF or marker == 0xFE) or marker == 0xEE:
            kept.append(data[position:end])
        position = max(end, position + 4)
    kept.append(data[position:] if position >= 0 else b"")
    return b"".join(kept), read_orientation(exif)


def count_jpeg_scans(data: bytes) -> int:
    """Return how many scans a JPEG has, up to the end of its image.

    Each scan of a progressive file goes over all the pixels again, and may be a few bytes long:
    half a megabyte with 4,000 scans over 49 million pixels keeps libjpeg busy for three minutes.
    """
    scans = 0
    position = 2
    while marker := _JPEG_MARKER.search(data, position):
        code, position = data[marker.start() + 1], marker.end()
        if code == 0xD9:
            break
        if code not in {0x01, 0xD8}:
            scans += code == 0xDA
            position += int.from_bytes(data[position : position + 2], "big")
    return scans


def strip_png(data: bytes) -> bytes:
    """Return a PNG without animation: its default image is what every viewer can show."""
    if b"acTL" not in data:
        return data
    kept = [data[:8]]
    position = 8
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] not in {b"acTL", b"fcTL", b"fdAT"}:
            kept.append(data[position:end])
        position = end
    kept.append(data[position:])
    return b"".join(kept)


def strip_tiff(data: bytes) -> tuple[bytes, int]:
    """Return a TIFF of one page with only the tags that pixels need, and its orientation.

    The pixels stay where they are; a new, sorted directory is added behind them. Entries that point
    outside the file, or claim more bytes than the file has, are left out.
    """
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in {b"+\x00", b"\x00+"}
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
            if size > inline_bytes:
                (where,) = struct.unpack(order + offset, content)
                budget -= size
                if where + size > len(data) or budget < 0:
                    continue
            entries[tag] = data[start : start + entry_bytes]
    except (struct.error, OverflowError):  # it runs out of the file: what was read must do
        pass
    padding = b"\x00" * (len(data) % 2)
    where = len(data) + len(padding)
    header = data[:8] + struct.pack(order + "Q", where) if big else data[:4]
    header = header if big else header + struct.pack(order + "I", where % 2**32)
    table = struct.pack(order + count_kind, len(entries)) + b"".join(
        entries[tag] for tag in sorted(entries)
    )
    end = struct.pack(order + offset, 0)  # no further page
    return header + data[len(header) :] + padding + table + end, orientation


def read_gif_size(data: bytes) -> tuple[int, int] | None:
    """Return the (width, height) of a GIF's canvas, with its first frame; None without a frame."""
    if len(data) < 13:
        return None
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    while position + 10 <= len(data) and data[position] != 0x2C:
        if data[position] != 0x21:  # junk between the blocks, which readers skip
            position += 1
            continue
        position += 2
        while position < len(data) and data[position]:  # the extension's sub-blocks
            position += 1 + data[position]
        position += 1
    if position + 10 > len(data):
        return None
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, position + 1)
    return max(width, left + frame_width), max(height, top + frame_height)
