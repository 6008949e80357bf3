"""How large the frames of HEVC (ITU-T H.265) and AV1 are, from their own headers."""

from __future__ import annotations

from collections.abc import Iterator

from shopwindow.imaging.limits import MAX_FRAME_UNITS

Size = tuple[int, int]

_SPS = 33  # the kind of HEVC unit that says how large frames are
_SEQUENCE_HEADER = 1  # the same for AV1


class _Bits:
    """Reads bits, the highest of each byte first; raises `ValueError` behind the last."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("a header ends too early")
        return self._value >> self._left & ((1 << count) - 1)

    def read_exp_golomb(self) -> int:
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 32:
                raise ValueError("a number is too long")
        return (1 << zeros) - 1 + self.read(zeros)


def hevc_config_sizes(config: bytes) -> list[Size]:
    """Return the sizes in an `hvcC` box (ISO/IEC 14496-15), in pixels as coded."""
    sizes = []
    at = 23
    for _ in range(config[22]):
        count, at = int.from_bytes(config[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            length, at = int.from_bytes(config[at : at + 2], "big"), at + 2
            sizes += _sizes_of_unit(config[at : at + length])
            at += length
    return sizes


def hevc_sizes(data: bytes, length_bytes: int) -> list[Size]:
    """Return the sizes that a stream of HEVC units sets by itself, in pixels as coded.

    Args:
        data: Units, each behind its length.
        length_bytes: How many bytes a length has, 1 to 4.
    """
    sizes = []
    at = units = 0
    while at + length_bytes < len(data):
        if (units := units + 1) > MAX_FRAME_UNITS:
            raise ValueError("a frame has too many units")
        length = int.from_bytes(data[at : at + length_bytes], "big")
        at += length_bytes
        sizes += _sizes_of_unit(data[at : at + min(length, 4096)])
        at += length
    return sizes


def _sizes_of_unit(unit: bytes) -> list[Size]:
    """Read HEVC's seq_parameter_set_rbsp (7.3.2.2) as far as the size."""
    if len(unit) < 3 or unit[0] >> 1 & 63 != _SPS:
        return []
    bits = _Bits(unit[2:1024].replace(b"\x00\x00\x03", b"\x00\x00"))
    bits.read(4)
    layers = bits.read(3)
    bits.read(1)
    _skip_profile(bits, layers)
    bits.read_exp_golomb()  # its number
    if bits.read_exp_golomb() == 3:  # 4:4:4, perhaps in separate planes
        bits.read(1)
    return [(bits.read_exp_golomb(), bits.read_exp_golomb())]


def _skip_profile(bits: _Bits, layers: int) -> None:
    bits.read(88 + 8)
    present = [(bits.read(1), bits.read(1)) for _ in range(layers)]
    if layers:
        bits.read(2 * (8 - layers))
    for profile, level in present:
        bits.read(88 * profile + 8 * level)


def av1_sizes(data: bytes) -> list[Size]:
    """Return the largest frame that each sequence header in a stream of AV1 units allows."""
    return [
        _size_of_sequence(_Bits(unit))
        for kind, unit in _av1_units(data)
        if kind == _SEQUENCE_HEADER
    ]


def _av1_units(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = units = 0
    while at < len(data):
        if (units := units + 1) > MAX_FRAME_UNITS:
            raise ValueError("a frame has too many units")
        header, at = data[at], at + 1
        at += header >> 2 & 1
        length = len(data) - at
        if header >> 1 & 1:
            length = 0
            for shift in range(0, 56, 7):
                byte, at = data[at], at + 1
                length |= (byte & 127) << shift
                if byte < 128:
                    break
        yield header >> 3 & 15, data[at : at + min(length, 1024)]
        at += length


def _size_of_sequence(bits: _Bits) -> Size:
    """Read AV1's sequence_header_obu (5.5.1) as far as the size."""
    bits.read(3 + 1)
    if bits.read(1):  # a still picture, with the short header
        bits.read(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(width_bits) + 1, bits.read(height_bits) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.read(1):  # timing
        bits.read(64)
        if bits.read(1):
            bits.read_exp_golomb()
        if bits.read(1):  # a model of the decoder
            delay_bits = bits.read(5) + 1
            bits.read(42)
    delays = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if delays and bits.read(1):
            bits.read(4)
