"""What a HEIF container (HEIC, AVIF) says before a library decodes any of it.

A file is a tree of boxes (ISO/IEC 14496-12) with a table of items (23008-12): a photo of a phone is
a grid of some fifty coded tiles. What the boxes say of sizes, the coded data need not keep to: a
tile of 100 x 100 pixels may hold a frame of 16,000 x 16,000, and a grid may name it a thousand
times. So the frames are asked themselves, and what all of them take together is limited.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from shopwindow.imaging.frame_headers import Size, av1_sizes, hevc_config_sizes, hevc_sizes
from shopwindow.imaging.limits import MAX_HEIF_BOXES, MAX_HEIF_REFERENCES

_MAX_DEPTH = 4  # a grid of tiles, perhaps turned, perhaps with a map of brightness

_FILM = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_ONCE = frozenset({b"meta", b"pitm", b"iinf", b"iloc", b"iprp", b"ipco", b"iref", b"idat"})
_TABLES = _ONCE | {b"infe", b"ipma"}
_HEVC, _AV1 = frozenset({b"hvc1", b"hev1"}), frozenset({b"av01"})
_DERIVED = frozenset({b"grid", b"iden", b"iovl", b"tmap"})
_PICTURES = _HEVC | _AV1 | _DERIVED
_ALPHA_TYPES = frozenset(
    {b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"}
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_STILL_BRANDS = {b"avis": b"avif", b"msf1": b"mif1", b"hevc": b"heic", b"hevx": b"heix"}
_GENERAL_BRANDS = frozenset({b"mif1", b"msf1", b"mif2", b"miaf"})


class BrokenHeifError(ValueError):
    """A container that contradicts itself, is cut off, or is of a kind that nobody writes."""


@dataclass(slots=True)
class _Item:
    kind: bytes = b""
    hidden: bool = False
    type_at: int = 0
    extents: list[tuple[int, int]] = field(default_factory=list)
    in_idat: bool = False
    properties: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Reference:
    kind: bytes
    at: int  # of its type
    source: int
    targets: list[int]


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    at: int  # of its type
    start: int  # of its body
    end: int


def heif_format(data: bytes) -> str | None:
    """Return "HEIC" or "AVIF", by the brands of a container; None if it is neither."""
    if data[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(data[:4], "big"), len(data), 512)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))]
    for brand in brands:
        if brand in _AVIF_BRANDS:
            return "AVIF"
        if brand in _HEIC_BRANDS:
            return "HEIC"
    if brands[0] not in _GENERAL_BRANDS:
        return None
    return "AVIF" if b"av01" in data[: 1 << 16] else "HEIC"


class HeifContainer:
    """The items of a container.

    Args:
        data: The whole file.

    Raises:
        BrokenHeifError: It ends too early, or makes no sense.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._boxes = 0
        self._items: dict[int, _Item] = {}
        self._properties: list[_Box] = []
        self._references: list[_Reference] = []
        self._primary = -1
        self._idat: _Box | None = None
        self._samples = 0
        self._films: list[int] = []
        self._seen: set[bytes] = set()
        try:
            self._walk(0, len(data))
        except (struct.error, IndexError, OverflowError) as error:
            raise BrokenHeifError("a box ends too early") from error
        if self._primary not in self._items:
            raise BrokenHeifError("it names no picture")
        self._check_places()

    def _walk(self, start: int, end: int, within: bytes = b"") -> None:
        """Read the boxes between two places, which are in a box of the kind `within`."""
        for box in self._boxes_between(start, end):
            if within == b"ipco":
                self._properties.append(box)
            elif within == b"iref":
                self._read_references(box)
            elif box.kind == b"stsz":
                self._samples = max(self._samples, *self._numbers("I", box.start + 8))
            elif box.kind == b"moov" or within in _FILM:
                # Its tables are about the film; only how many frames it has counts here.
                if box.kind == b"moov":
                    self._films.append(box.at)
                if box.kind in _FILM:
                    self._walk(box.start, box.end, box.kind)
            elif box.kind in _TABLES:
                # Libraries do not agree on which of two counts. Each item has its own `infe`.
                if box.kind in _ONCE and box.kind in self._seen:
                    raise BrokenHeifError("a box is there twice")
                self._seen.add(box.kind)
                self._read_table(box)

    def _read_table(self, box: _Box) -> None:
        version = self._data[box.start] if box.end > box.start else 0
        if box.kind == b"pitm":
            (self._primary,) = self._numbers("I" if version else "H", box.start + 4)
        elif box.kind == b"idat":
            self._idat = box
        elif box.kind == b"infe":
            self._read_item(box)
        elif box.kind == b"iloc":
            self._read_places(box)
        elif box.kind == b"ipma":
            self._read_associations(box)
        else:  # further boxes, behind what the box says of itself
            skipped = {b"meta": 4, b"iref": 4, b"iinf": 8 if version else 6}.get(box.kind, 0)
            self._walk(box.start + skipped, box.end, box.kind)

    def _boxes_between(self, start: int, end: int) -> Iterator[_Box]:
        while start + 8 <= end:
            self._boxes += 1
            if self._boxes > MAX_HEIF_BOXES:
                raise BrokenHeifError("it has too many boxes")
            size = int.from_bytes(self._data[start : start + 4], "big")
            body = start + 8
            if size == 1:
                size, body = int.from_bytes(self._data[body : body + 8], "big"), body + 8
            elif size == 0:
                size = end - start
            if size < body - start or start + size > end:
                raise BrokenHeifError("a box is longer than the file")
            yield _Box(self._data[start + 4 : start + 8], start + 4, body, start + size)
            start += size

    def _numbers(self, kinds: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(">" + kinds, self._data, at)

    def _item(self, number: int) -> _Item:
        return self._items.setdefault(number, _Item())

    def _read_item(self, box: _Box) -> None:
        version, flags = self._data[box.start], self._data[box.start + 3]
        if version < 2:
            return
        wide = version > 2
        (number,) = self._numbers("I" if wide else "H", box.start + 4)
        type_at = box.start + 4 + (6 if wide else 4)
        item = self._item(number)
        if item.kind:  # libraries do not agree on which of two counts
            raise BrokenHeifError("an item is there twice")
        item.kind, item.hidden = self._data[type_at : type_at + 4], bool(flags & 1)
        item.type_at = type_at

    def _read_references(self, box: _Box) -> None:
        # The box around it says how wide the numbers are; its own length tells that too.
        for wide, kind in ((False, "H"), (True, "I")):
            size = struct.calcsize(">" + kind)
            (count,) = self._numbers("H", box.start + size)
            if box.start + size + 2 + count * size == box.end:
                (source,) = self._numbers(kind, box.start)
                targets = list(self._numbers(f"{count}{kind}", box.start + size + 2))
                self._references.append(_Reference(box.kind, box.at, source, targets))
                return
            if wide:
                raise BrokenHeifError("a reference has a wrong length")

    def _read_associations(self, box: _Box) -> None:
        version, flags = self._data[box.start], self._data[box.start + 3]
        (entries,) = self._numbers("I", box.start + 4)
        at = box.start + 8
        for _ in range(entries):
            (number,) = self._numbers("I" if version else "H", at)
            at += 4 if version else 2
            count, at = self._data[at], at + 1
            width = 2 if flags & 1 else 1
            mask = 0x7FFF if flags & 1 else 0x7F
            found = self._numbers(f"{count}{'H' if flags & 1 else 'B'}", at)
            self._item(number).properties += [index & mask for index in found]
            at += width * count

    def _read_places(self, box: _Box) -> None:
        version = self._data[box.start]
        sizes, more = self._numbers("BB", box.start + 4)
        offset_size, length_size, base_size = sizes >> 4, sizes & 15, more >> 4
        index_size = more & 15 if version else 0
        at = box.start + 6

        def number(size: int) -> int:
            nonlocal at
            at += size
            if at > box.end:
                raise BrokenHeifError("the table of places ends too early")
            return int.from_bytes(self._data[at - size : at], "big")

        wide = 2 if version < 2 else 4
        for _ in range(number(wide)):
            item = self._item(number(wide))
            method = number(2) & 15 if version else 0
            number(2)  # another file, of which there is none
            base = number(base_size)
            if method > 1:
                raise BrokenHeifError("an item lies within another")
            item.in_idat = method == 1
            for _ in range(number(2)):
                number(index_size)
                offset, length = base + number(offset_size), number(length_size)
                item.extents.append((offset, length))

    def _check_places(self) -> None:
        """Make sure that all items are in the file, and together no longer than it."""
        total = 0
        for item in self._items.values():
            first, last = 0, len(self._data)
            if item.in_idat:
                if self._idat is None:
                    raise BrokenHeifError("an item is nowhere")
                first, last = self._idat.start, self._idat.end
            item.extents = [
                (first + offset, length or last - first - offset) for offset, length in item.extents
            ]
            if any(offset + length > last for offset, length in item.extents):
                raise BrokenHeifError("it is cut off")
            total += sum(length for _, length in item.extents)
        if total > 2 * len(self._data):
            raise BrokenHeifError("its items overlap")

    @property
    def frames(self) -> int:
        """How many pictures it has to show: of a film, or one beside the other."""
        no_pictures: set[int] = set()  # of their own: tiles, thumbnails, maps
        for reference in self._references:
            if reference.kind == b"dimg":
                no_pictures.update(reference.targets)
            elif reference.kind in {b"thmb", b"auxl"}:
                no_pictures.add(reference.source)
        shown = [
            number
            for number, item in self._items.items()
            if item.kind in _PICTURES and not item.hidden and number not in no_pictures
        ]
        return max(self._samples, len(shown), 1)

    @property
    def size(self) -> Size:
        """Width and height in pixels that the container says the picture has, before it is turned.

        Raises:
            BrokenHeifError: It says none.
        """
        for box in self._properties_of(self._items[self._primary]):
            if box.kind == b"ispe" and box.end - box.start >= 12:
                width, height = self._numbers("II", box.start + 4)
                return width, height
        raise BrokenHeifError("the picture has no size")

    def frame_sizes(self) -> list[Size]:
        """Return the size of every frame that is decoded for the picture, a tile as often as it is.

        Raises:
            BrokenHeifError: A frame tells none, or there are too many.
        """
        sizes: list[Size] = []
        steps = 0

        def add(number: int, depth: int) -> None:
            nonlocal steps
            steps += 1
            item = self._items.get(number)
            if item is None or depth > _MAX_DEPTH or steps > MAX_HEIF_REFERENCES:
                raise BrokenHeifError("its parts make no picture")
            if item.kind in _DERIVED:
                for reference in self._references:
                    if reference.kind == b"dimg" and reference.source == number:
                        for part in reference.targets:
                            add(part, depth + 1)
                return
            if number not in known:
                known[number] = self._coded_size(item)
            sizes.append(known[number])

        known: dict[int, Size] = {}
        add(self._primary, 0)
        for reference in self._references:
            if self._is_alpha(reference) and self._primary in reference.targets:
                add(reference.source, 0)
        return sizes

    def _coded_size(self, item: _Item) -> Size:
        body = b"".join(self._data[at : at + length] for at, length in item.extents)
        sizes: list[Size] = []
        try:
            for box in self._properties_of(item):
                config = self._data[box.start : box.end]
                if box.kind == b"hvcC" and item.kind in _HEVC:
                    sizes += hevc_config_sizes(config)
                    sizes += hevc_sizes(body, (config[21] & 3) + 1)
                elif box.kind == b"av1C" and item.kind in _AV1:
                    sizes += av1_sizes(config[4:])
            if item.kind in _AV1:
                sizes += av1_sizes(body)
        except (IndexError, ValueError) as error:
            raise BrokenHeifError("a frame cannot be read") from error
        if not sizes:
            raise BrokenHeifError("a frame has no size")
        return max(sizes, key=lambda size: size[0] * size[1])

    def _is_alpha(self, reference: _Reference) -> bool:
        return reference.kind == b"auxl" and any(
            box.kind == b"auxC"
            and self._data[box.start + 4 : box.end].partition(b"\x00")[0] in _ALPHA_TYPES
            for box in self._properties_of(self._items.get(reference.source, _Item()))
        )

    def _properties_of(self, item: _Item) -> list[_Box]:
        count = len(self._properties)
        return [self._properties[index - 1] for index in item.properties if 0 < index <= count]

    def only_the_picture(self) -> bytes:
        """Return the file without film, metadata, previews, depth and maps, at the same length.

        A library could warn about, fail on or crash on any of these that is broken. The orientation
        in EXIF does not count here: the container has its own (ISO/IEC 23000-22).
        """
        kept = bytearray(self._data)
        others = [
            reference.at
            for reference in self._references
            if reference.kind not in {b"dimg", b"prem"} and not self._is_alpha(reference)
        ]
        for at in [*self._films, *others]:
            kept[at : at + 4] = b"free"
        for at in range(8, min(int.from_bytes(kept[:4], "big"), len(kept)), 4):
            brand = bytes(kept[at : at + 4])  # which would promise the film
            kept[at : at + 4] = _STILL_BRANDS.get(brand, brand)
        for item in self._items.values():
            if item.kind not in _PICTURES and item.type_at:
                kept[item.type_at : item.type_at + 4] = b"none"
        return bytes(kept)
