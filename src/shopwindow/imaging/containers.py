"""JPEG, PNG, GIF and WebP files as the pieces they are made of: what Pillow gets, and what counts.

Pillow reads everything in a file: thumbnails, previews, further frames, private tags. Where any of
that is broken it warns, through Python's `warnings`, or fails, though the pixels are sound. A
warning cannot be silenced for one thread only (before Python 3.14), and images are decoded in many.
So Pillow gets a file with only what pixels need, and finds nothing to warn about.

Nothing here checks pixels or decompresses, and what looks wrong is passed on: Pillow then refuses
it. Only what would take long is refused here, as ten megabytes can be five million pieces.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from shopwindow.imaging.limits import MAX_GIF_BLOCKS, MAX_JPEG_SEGMENTS, MAX_PNG_CHUNKS
from shopwindow.imaging.tiff import read_orientation

# Any marker that begins a segment: none of stuffed 0xFF00, restarts, starts, and fill bytes.
_JPEG_SEGMENT = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
_JPEG_END, _JPEG_PIXELS, _JPEG_EXIF = 0xD9, 0xDA, 0xE1

# An extension, a frame or, after a frame, the end of a GIF; other bytes are junk.
_GIF_FIRST, _GIF_NEXT = re.compile(rb"[!,]"), re.compile(rb"[!,;]")


class TooManyPartsError(ValueError):
    """A file is cut into so many pieces that reading them would take long."""


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker of each segment, and where it begins and ends; between scans too.

    Raises:
        TooManyPartsError: More than `MAX_JPEG_SEGMENTS`.
    """
    position = 2
    for _ in range(MAX_JPEG_SEGMENTS):
        marker = _JPEG_SEGMENT.search(data, position)
        if marker is None or marker.start() + 4 > len(data):
            return
        start = marker.start()
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        yield data[start + 1], start, end
        position = max(end, start + 4)
    raise TooManyPartsError


def strip_jpeg(data: bytes) -> tuple[bytes, int]:
    """Return a JPEG without its comments and application data, and its EXIF orientation.

    JFIF (APP0) and Adobe's segment (APP14) stay: they say which colours the numbers mean.

    Raises:
        TooManyPartsError: More than `MAX_JPEG_SEGMENTS` before the pixels.
    """
    kept = [data[:2]]
    exif = b""
    for marker, start, end in _jpeg_segments(data):
        if marker in {_JPEG_END, _JPEG_PIXELS}:
            kept.append(data[start:])
            break
        if marker == _JPEG_EXIF and data.startswith(b"Exif\x00\x00", start + 4):
            exif = exif or data[start + 4 : end]
        elif not (0xE1 <= marker <= 0xEF or marker == 0xFE) or marker == 0xEE:
            kept.append(data[start:end])
    return b"".join(kept), read_orientation(exif)


def count_jpeg_scans(data: bytes) -> int:
    """Return how many scans a JPEG has, up to the end of its image.

    Each scan of a progressive file goes over all the pixels again, and may be a few bytes long:
    half a megabyte with 4,000 scans over 49 million pixels keeps libjpeg busy for three minutes.

    Raises:
        TooManyPartsError: More than `MAX_JPEG_SEGMENTS` in all.
    """
    scans = 0
    for marker, _, _ in _jpeg_segments(data):
        if marker == _JPEG_END:
            break
        scans += marker == _JPEG_PIXELS
    return scans


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk before the last, and where it begins and ends.

    Raises:
        TooManyPartsError: More than `MAX_PNG_CHUNKS`.
    """
    start = 8
    for _ in range(MAX_PNG_CHUNKS):
        kind = data[start + 4 : start + 8]
        if start + 12 > len(data) or kind == b"IEND":
            return
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        yield kind, start, end
        start = end
    raise TooManyPartsError


def strip_png(data: bytes) -> bytes:
    """Return a PNG without animation: its default image is what every viewer can show.

    Raises:
        TooManyPartsError: More than `MAX_PNG_CHUNKS`.
    """
    kept, rest = [data[:8]], 8
    for kind, start, rest in _png_chunks(data):
        if kind not in {b"acTL", b"fcTL", b"fdAT"}:
            kept.append(data[start:rest])
    return data if b"acTL" not in data else b"".join([*kept, data[rest:]])


def count_png_frames(data: bytes) -> int:
    """Return how many frames a PNG says it has, which it must say before its pixels."""
    for kind, start, _ in _png_chunks(data):
        if kind == b"IDAT":
            break
        if kind == b"acTL":
            return int.from_bytes(data[start + 8 : start + 12], "big")
    return 1


def _gif_blocks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each extension (`!`) and frame (`,`), and where it begins and ends.

    A frame comes before its pixels are walked over, with its end where it begins.

    Raises:
        TooManyPartsError: More than `MAX_GIF_BLOCKS` blocks of data in all.
    """
    blocks = 0
    position, pattern = _end_of_colours(data, 10, 13), _GIF_FIRST
    while (found := pattern.search(data, position)) and found[0] != b";":
        kind, start = found[0], found.start()
        position = start + 2
        if kind == b",":
            yield kind, start, start
            position = _end_of_colours(data, start + 9, start + 10) + 1  # and the size of a code
            pattern = _GIF_NEXT
        while True:  # its blocks of data, and the empty one that ends them
            if (blocks := blocks + 1) > MAX_GIF_BLOCKS:
                raise TooManyPartsError
            if position >= len(data) or not data[position]:
                break
            position += 1 + data[position]
        position += 1
        if kind == b"!":
            yield kind, start, position


def _end_of_colours(data: bytes, flags_at: int, table_at: int) -> int:
    """Return where a colour table ends, if its flags say that there is one."""
    flags = data[flags_at] if flags_at < len(data) else 0
    return table_at + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)


def strip_gif(data: bytes) -> tuple[bytes, tuple[int, int] | None]:
    """Return a GIF without what stands before its first frame, and the (width, height) to expect.

    Dropped are comments, application data and junk; what says which colour is transparent stays.
    The size is that of the canvas with the first frame, and None where there is no frame.

    Raises:
        TooManyPartsError: More than `MAX_GIF_BLOCKS` before the first frame.
    """
    if len(data) < 13:
        return data, None
    header = data[: _end_of_colours(data, 10, 13)]
    control = b""
    for kind, start, end in _gif_blocks(data):
        if kind == b",":
            if start + 10 > len(data):
                break
            width, height = struct.unpack_from("<HH", data, 6)
            left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, start + 1)
            size = max(width, left + frame_width), max(height, top + frame_height)
            return header + control + data[start:], size
        if data[start + 1 : start + 2] == b"\xf9":
            control = data[start:end]
    return header, None


def count_gif_frames(data: bytes, most: int) -> int:
    """Return how many frames a GIF has, up to one more than `most`.

    Raises:
        TooManyPartsError: More than `MAX_GIF_BLOCKS` up to there.
    """
    frames = 0
    for kind, _, _ in _gif_blocks(data):
        frames += kind == b","
        if frames > most:
            break
    return frames


def count_webp_frames(data: bytes, most: int) -> int:
    """Return how many frames an animated WebP has, up to one more than `most`."""
    frames, position = 0, 12
    while frames <= most and position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        frames += data[position : position + 4] == b"ANMF"
        position += 8 + size + size % 2
    return frames
