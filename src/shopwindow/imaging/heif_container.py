"""What a HEIF container (HEIC, AVIF) says before a library decodes any of it.

A file is a tree of boxes (ISO/IEC 14496-12) with a table of items (23008-12): a photo of a phone is
a grid of some fifty coded tiles. The coded data need not have the sizes in the boxes: a tile of
100 x 100 pixels may hold a frame of 16,000 x 16,000, and a grid may name it a thousand times. So
the sizes are read from the frames, and the sum of them is limited.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from shopwindow.imaging.frame_headers import Size, av1_sizes, hevc_config_sizes, hevc_sizes
from shopwindow.imaging.limits import MAX_HEIF_PARTS, MAX_HEIF_REFERENCES

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


class _Reference(NamedTuple):
    kind: bytes
    at: int  # of its type
    source: int
    targets: list[int]


class _Box(NamedTuple):
    kind: bytes
    at: int  # of its type
    start: int  # of its body
    end: int


class _Fields:
    """Reads the numbers in a box, one after the other, up to its end."""

    def __init__(self, data: bytes, box: _Box) -> None:
        self.at = box.start
        self._data = data
        self._end = box.end

    def read(self, size: int) -> int:
        self.at += size
        if self.at > self._end:
            raise BrokenHeifError("a box ends too early")
        return int.from_bytes(self._data[self.at - size : self.at], "big")


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
        self._parts = 0
        self._items: dict[int, _Item] = {}
        self._properties: list[_Box] = []
        self._references: list[_Reference] = []
        self._primary = -1
        self._idat: _Box | None = None
        self._samples = 0
        self._films: list[int] = []
        self._seen: set[bytes] = set()
        self._walk(0, len(data))
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
                fields = _Fields(self._data, box)
                fields.read(8)
                self._samples = max(self._samples, fields.read(4))
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
        fields = _Fields(self._data, box)
        if box.kind == b"idat":
            self._idat = box
        elif box.kind in {b"iprp", b"ipco"}:
            self._walk(box.start, box.end, box.kind)
        else:
            version, flags = fields.read(1), fields.read(3)
            if box.kind == b"pitm":
                self._primary = fields.read(4 if version else 2)
            elif box.kind == b"infe":
                self._read_item(fields, version, flags)
            elif box.kind == b"iloc":
                self._read_places(fields, version)
            elif box.kind == b"ipma":
                self._read_associations(fields, version, flags)
            else:  # meta, iinf, iref: further boxes, in iinf behind their number
                skipped = 0 if box.kind != b"iinf" else 4 if version else 2
                self._walk(fields.at + skipped, box.end, box.kind)

    def _boxes_between(self, start: int, end: int) -> Iterator[_Box]:
        while start + 8 <= end:
            self._count(1)
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

    def _count(self, parts: int) -> None:
        """Count boxes, and entries of their tables."""
        self._parts += parts
        if self._parts > MAX_HEIF_PARTS:
            raise BrokenHeifError("it has too many parts")

    def _item(self, number: int) -> _Item:
        self._count(1)
        return self._items.setdefault(number, _Item())

    def _read_item(self, fields: _Fields, version: int, flags: int) -> None:
        if version < 2:
            return
        item = self._item(fields.read(4 if version > 2 else 2))
        if item.kind:  # libraries do not agree on which of two counts
            raise BrokenHeifError("an item is there twice")
        fields.read(2)  # whether it is encrypted
        item.type_at, item.hidden = fields.at, bool(flags & 1)
        item.kind = fields.read(4).to_bytes(4, "big")

    def _read_references(self, box: _Box) -> None:
        # The box around it says how wide the numbers are; its own length tells that too.
        for width in (2, 4):
            fields = _Fields(self._data, box)
            source, count = fields.read(width), fields.read(2)
            if fields.at + count * width == box.end:
                self._count(count)
                targets = [fields.read(width) for _ in range(count)]
                self._references.append(_Reference(box.kind, box.at, source, targets))
                return
        raise BrokenHeifError("a reference has a wrong length")

    def _read_associations(self, fields: _Fields, version: int, flags: int) -> None:
        width, mask = (2, 0x7FFF) if flags & 1 else (1, 0x7F)
        for _ in range(fields.read(4)):
            item = self._item(fields.read(4 if version else 2))
            count = fields.read(1)
            self._count(count)
            item.properties += [fields.read(width) & mask for _ in range(count)]

    def _read_places(self, fields: _Fields, version: int) -> None:
        sizes = fields.read(2)
        offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
        index_size = sizes & 15 if version else 0
        wide = 2 if version < 2 else 4
        for _ in range(fields.read(wide)):
            item = self._item(fields.read(wide))
            method = fields.read(2) & 15 if version else 0
            if method > 1:
                raise BrokenHeifError("an item lies within another")
            item.in_idat = method == 1
            fields.read(2)  # another file, of which there is none
            base = fields.read(base_size)
            for _ in range(fields.read(2)):
                self._count(1)  # an extent may take no bytes in the table
                fields.read(index_size)
                offset, length = base + fields.read(offset_size), fields.read(length_size)
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
                fields = _Fields(self._data, box)
                fields.read(4)
                return fields.read(4), fields.read(4)
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
