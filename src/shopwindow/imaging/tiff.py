"""The directories of TIFF files, of which EXIF is one: pixels, pages and orientation.

Pillow reads whole directories, and warns about or fails on whatever is broken in them, though the
pixels are sound. Reading only what is needed does neither.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import TiffTags

from shopwindow.imaging.limits import MAX_TIFF_ENTRIES, MAX_TIFF_VALUES

_COMPRESSION, _ORIENTATION, _COLOUR_MAP = 259, 274, 320
_OFFSETS_AND_SIZES = ((273, 279), (324, 325))  # of strips and of tiles

# Tags of TIFF 6.0, its technical notes and libtiff that say how pixels are stored: size (256, 257),
# sample layout, compression and its parameters, colour map, strips, tiles, planes, inks, extra
# samples, JPEG tables (old and new), YCbCr. Resolution, text, profiles and sub-files are not.
PIXEL_TAGS = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325}
    | {332, 334, 338, 339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532}
)
# Bytes per value of the TIFF types 1 to 18.
_TYPE_BYTES = {
    **{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4},
    **{10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8},
}
_UNSIGNED = {1: "B", 3: "H", 4: "I", 16: "Q"}


class _Entry(NamedTuple):
    tag: int
    kind: int
    value_count: int
    content: bytes  # its values, or where they are if they do not fit

    @property
    def size(self) -> int:
        """Of its values, in bytes; 0 for a type that nobody knows."""
        return self.value_count * _TYPE_BYTES.get(self.kind, 0)


class _Tiff:
    """A file, or a block of EXIF, and how its numbers are written.

    Its methods raise `struct.error` or `OverflowError` where a number lies outside the file.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = "<" if data.startswith(b"II") else ">"
        self.big = data[2:4] == b"+\x00"
        kinds = ("Q", "Q", "HHQ8s") if self.big else ("I", "H", "HHI4s")
        self.offset, self.count, self.entry = kinds
        self.header_bytes = 16 if self.big else 8

    def read(self, kinds: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + kinds, self.data, at)

    def pack(self, kinds: str, *values: object) -> bytes:
        return struct.pack(self.order + kinds, *values)

    def directories(self) -> Iterator[int]:
        """Yield where each directory begins, in the order of the pages, and each once."""
        seen: set[int] = set()  # a list of pages may bite its tail
        (at,) = self.read(self.offset, 8 if self.big else 4)
        while at and at not in seen:
            seen.add(at)
            yield at
            (entries,) = self.read(self.count, at)
            at += struct.calcsize(self.count) + entries * struct.calcsize(self.order + self.entry)
            (at,) = self.read(self.offset, at)

    def entries(self) -> Iterator[_Entry]:
        """Yield the entries of the first directory."""
        (at,) = self.read(self.offset, 8 if self.big else 4)
        (count,) = self.read(self.count, at)
        at += struct.calcsize(self.count)
        for _ in range(min(count, MAX_TIFF_ENTRIES)):
            yield _Entry(*struct.unpack_from(self.order + self.entry, self.data, at))
            at += struct.calcsize(self.order + self.entry)

    def place_of(self, entry: _Entry) -> int | None:
        """Return where the values of an entry are; None where it holds them itself."""
        if entry.size <= len(entry.content):
            return None
        (at,) = struct.unpack(self.order + self.offset, entry.content)
        return int(at)

    def values_of(self, entry: _Entry) -> tuple[int, ...]:
        """Return the values of an entry of unsigned numbers; none for other types."""
        letter = _UNSIGNED.get(entry.kind)
        if letter is None:
            return ()
        at = self.place_of(entry)
        kinds = f"{self.order}{entry.value_count}{letter}"
        return struct.unpack_from(kinds, entry.content if at is None else self.data, at or 0)

    def first_of(self, entry: _Entry) -> _Entry:
        """Return an entry with its first value alone."""
        at, inline_bytes = self.place_of(entry), len(entry.content)
        values = entry.content if at is None else self.data[at : at + inline_bytes]
        first = values[: entry.size // entry.value_count].ljust(inline_bytes, b"\x00")
        return entry if entry.value_count == 1 else entry._replace(value_count=1, content=first)


def count_pages(data: bytes, most: int) -> int:
    """Return how many pages a TIFF has, up to one more than `most`."""
    pages = 0
    try:
        for pages, _ in enumerate(_Tiff(data).directories(), 1):
            if pages > most:
                break
    except (struct.error, OverflowError):  # it runs out of the file
        pass
    return pages


def read_orientation(exif: bytes) -> int:
    """Return the orientation (1 to 8) in a block of EXIF; 1 where there is none.

    Args:
        exif: A TIFF header and directory, with or without its `Exif` prefix. May be damaged.
    """
    block = exif.removeprefix(b"Exif\x00\x00")
    if block[:2] not in {b"II", b"MM"}:
        return 1
    tiff = _Tiff(block)
    try:
        found = next(entry for entry in tiff.entries() if entry.tag == _ORIENTATION)
    except (StopIteration, struct.error, OverflowError):  # the directory runs out of the block
        return 1
    return _orientation(tiff, found)


def _orientation(tiff: _Tiff, entry: _Entry) -> int:
    letter = {1: "B", 4: "I"}.get(entry.kind, "H")
    (value,) = struct.unpack_from(tiff.order + letter, entry.content)
    return value if 1 <= value <= 8 else 1


def strip_tiff(data: bytes) -> tuple[bytes, int]:
    """Return a TIFF of one page with only the tags that pixels need, and its orientation.

    The pixels stay where they are; a new, sorted directory is added behind them. Entries that claim
    more bytes than the file has, or more than `MAX_TIFF_VALUES`, are left out. Where the directory
    or a value of it lies outside the file, nothing is left, so that half of a file is not read as
    something else.
    """
    tiff = _Tiff(data)
    if len(data) < tiff.header_bytes:  # the new directory would lie within its own header
        return data, 1
    entries: dict[int, _Entry] = {}
    orientation = 1
    try:
        entries, orientation = _pixel_entries(tiff)
        if _pixels_are_cut_off(tiff, entries):
            entries.clear()  # or the directory that is added would be read as the last pixels
    except (struct.error, OverflowError):  # the table itself, or a value of it, is cut off
        entries.clear()
    padding = b"\x00" * (len(data) % 2)
    where = len(data) + len(padding)
    if tiff.big:
        header = data[:8] + tiff.pack("Q", where)
    else:
        header = data[:4] + tiff.pack("I", where % 2**32)
    table = b"".join(tiff.pack(tiff.entry, *entries[tag]) for tag in sorted(entries))
    directory = tiff.pack(tiff.count, len(entries)) + table + tiff.pack(tiff.offset, 0)
    return header + data[len(header) :] + padding + directory, orientation


def _pixel_entries(tiff: _Tiff) -> tuple[dict[int, _Entry], int]:
    """Return the entries of the first page that its pixels need, and its orientation.

    Raises:
        struct.error: One of them lies outside the file.
    """
    entries: dict[int, _Entry] = {}
    orientation = 1
    budget = len(tiff.data)
    for entry in tiff.entries():
        if entry.tag == _ORIENTATION:
            orientation = _orientation(tiff, entry)
        if entry.tag not in PIXEL_TAGS or entry.tag in entries or entry.size == 0:
            continue
        most = MAX_TIFF_VALUES * (3 if entry.tag == _COLOUR_MAP else 1)
        if entry.value_count > most and entry.kind != 7:  # 7: bytes, such as the tables of JPEG
            continue
        if (at := tiff.place_of(entry)) is not None:
            budget -= entry.size
            if budget < 0:
                continue
            if at + entry.size > len(tiff.data):
                raise struct.error("cut off: the rest would be taken for another kind")
        # Pillow would take the first, and warn. Bytes and text (1, 2, 7) are one value to it.
        single = entry.kind not in {1, 2, 7} and TiffTags.lookup(entry.tag).length == 1
        entries[entry.tag] = tiff.first_of(entry) if single else entry
    return entries, orientation


def _pixels_are_cut_off(tiff: _Tiff, entries: dict[int, _Entry]) -> bool:
    """Say whether uncompressed pixels go on behind the end of a TIFF."""
    if _COMPRESSION in entries and tiff.values_of(entries[_COMPRESSION]) != (1,):
        return False
    return any(
        offset + size > len(tiff.data)
        for offsets, sizes in _OFFSETS_AND_SIZES
        if offsets in entries and sizes in entries
        for offset, size in zip(
            tiff.values_of(entries[offsets]), tiff.values_of(entries[sizes]), strict=False
        )
    )
