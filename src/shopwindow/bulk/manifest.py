"""The list of inputs on disk, cut into shards: memory does not grow with it."""

from __future__ import annotations

import hashlib
import json
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

from shopwindow.bulk.inputs import Input

BLOCK_INPUTS = 128  # compressed as one piece; shards are whole blocks
MAX_SHARD_INPUTS = 8192
_SHARDS = 1024  # the aim: many more than cores, without needlessly small files


class Shard(NamedTuple):
    """A run of consecutive inputs, predicted, written and counted as one piece of work."""

    number: int
    first: int
    size: int

    @property
    def name(self) -> str:
        """The name of its part file, without the ending; sorts in the order of the inputs."""
        return f"part-{self.number:06}"


Task = tuple[Shard, list[Input]]


@dataclass(frozen=True)
class InputManifest:
    """A list of inputs in a file.

    Attributes:
        path: The file: JSON, compressed block by block; 100 million paths of one folder are 1 GB.
        count: How many inputs.
        sha256: Digest of the list, in its order.
    """

    path: Path
    count: int
    sha256: str
    _offsets: array[int]

    def shards(self, size: int) -> Iterator[Task]:
        """Yield the shards of `size` inputs (the last may have fewer), each read when needed."""
        with self.path.open("rb") as file:
            for number, first in enumerate(range(0, self.count, size)):
                blocks = range(first // BLOCK_INPUTS, -(-(first + size) // BLOCK_INPUTS))
                inputs = [item for block in blocks for item in self._read(file, block)]
                yield Shard(number, first, len(inputs)), inputs

    def _read(self, file: IO[bytes], block: int) -> Iterator[Input]:
        if block + 1 >= len(self._offsets):
            return
        start, end = self._offsets[block], self._offsets[block + 1]
        file.seek(start)
        for fields in json.loads(zlib.decompress(file.read(end - start))):
            yield Input(*fields)


def write_manifest(inputs: Iterable[Input], path: Path) -> InputManifest:
    """Write a list of inputs to a file while it is being listed.

    Raises:
        OSError: The file cannot be written.
    """
    inputs = iter(inputs)
    digest = hashlib.sha256()
    offsets = array("Q", [0])
    count = 0
    with path.open("wb") as file:
        while block := list(islice(inputs, BLOCK_INPUTS)):
            # Files and URLs without their default fields: most lists have nothing but paths.
            fields = [[item.path] if item.row < 0 else list(item) for item in block]
            content = json.dumps(fields).encode("ascii")
            digest.update(content)
            file.write(zlib.compress(content, 1))
            offsets.append(file.tell())
            count += len(block)
    return InputManifest(path, count, digest.hexdigest(), offsets)


def shard_size(count: int) -> int:
    """Return how many of `count` inputs make a shard: 128 to 8,192, a multiple of 128.

    Small enough that the last shards keep all cores busy and a killed run loses little; large
    enough that a hundred million inputs make 12,208 parts.
    """
    blocks = -(-count // (_SHARDS * BLOCK_INPUTS))
    return min(max(1, blocks) * BLOCK_INPUTS, MAX_SHARD_INPUTS)
