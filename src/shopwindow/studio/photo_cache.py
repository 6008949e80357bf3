"""What was worked out from the photos: digests, features, signatures and thumbnails.

All of it is known by a photo's content, and is made again where it is missing or damaged::

    .studio/files.csv            name,size,mtime_ns,digest: which content a file had when last read
    .studio/features-1a2b3c.bin  a record per photo, for the backbone of this digest; see `_record`
    .studio/thumbnails/          a JPEG per photo
"""

from __future__ import annotations

import contextlib
import csv
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shopwindow.imaging.formats import digest_of

THUMBNAIL_PX = 320
SIGNATURE_LENGTH = 768  # of `data.duplicates.signatures_of`
_GROWTH = 1.5


class PhotoCache:
    """The cache of a project. Thread-safe.

    Args:
        folder: The hidden folder of the project.
        backbone: Digest of the network that the features come from.
        width: Length of a photo's features.
    """

    def __init__(self, folder: Path, backbone: str, width: int) -> None:
        self._folder = folder
        self._files = folder / "files.csv"
        self._path = folder / f"features-{backbone[:12]}.bin"
        self._record = _record(width)
        self._known: dict[str, tuple[int, int, int]] = {}
        self._lock = threading.Lock()
        self._read_files()
        self._records = self._read_records()
        self._count = len(self._records)
        self._places = {int(digest): n for n, digest in enumerate(self._records["digest"])}

    def digest(self, photo: Path) -> int | None:
        """Return the digest of a photo if it was noted, and the file is still the same."""
        size, modified, digest = self._known.get(photo.name, (-1, -1, 0))
        return digest if _stamp(photo) == (size, modified) else None

    def note(self, photo: Path, digest: int) -> None:
        """Note the digest of a photo as it is now."""
        size, modified = _stamp(photo)
        with (
            self._lock,
            self._files.open("a", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            self._known[photo.name] = size, modified, digest
            csv.writer(file, lineterminator="\n").writerow((photo.name, size, modified, digest))

    def has(self, digest: int) -> bool:
        """Say whether the features of this content are known."""
        return digest in self._places

    def add(
        self,
        digests: Sequence[int],
        features: NDArray[np.float32],
        signatures: NDArray[np.float32],
    ) -> None:
        """Keep the features and signatures of n photos.

        Args:
            digests: Of their contents.
            features: (n, width).
            signatures: (n, 768), see `data.duplicates`.
        """
        new = np.zeros(len(digests), self._record)
        new["digest"], new["features"], new["signature"] = digests, features, signatures
        with self._lock:
            with self._path.open("ab") as file:
                file.write(new.tobytes())
            end = self._count + len(new)
            if end > len(self._records):
                grown = np.zeros(max(64, int(_GROWTH * end)), self._record)
                grown[: self._count] = self._records[: self._count]
                self._records = grown
            self._records[self._count : end] = new
            self._places.update((int(d), self._count + n) for n, d in enumerate(digests))
            self._count = end

    def features(self, digests: Sequence[int]) -> NDArray[np.float32]:
        """Return the (n, width) float32 features of contents that are known."""
        return self._rows("features", digests)

    def signatures(self, digests: Sequence[int]) -> NDArray[np.float32]:
        """Return the (n, 768) float32 signatures of contents that are known."""
        return self._rows("signature", digests)

    def _rows(self, field: str, digests: Sequence[int]) -> NDArray[np.float32]:
        with self._lock:
            places = np.fromiter((self._places[d] for d in digests), np.int64, len(digests))
            return self._records[field][places].astype(np.float32)

    def thumbnail(self, digest: int) -> Path:
        """Return where the thumbnail of a photo is, if it was made."""
        return self._folder / "thumbnails" / f"{digest:016x}.jpg"

    def write_thumbnail(self, digest: int, jpeg: bytes) -> None:
        """Keep a thumbnail; nobody waits for the disk, since it can be made again."""
        path = self.thumbnail(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_suffix(f".{threading.get_ident()}.tmp")
        written.write_bytes(jpeg)
        written.replace(path)

    def _read_files(self) -> None:
        with contextlib.suppress(OSError):
            text = self._files.read_text("utf-8", "surrogateescape")
            for cells in csv.reader(text.splitlines()):
                with contextlib.suppress(ValueError):  # a line that was cut off
                    name, size, modified, digest = cells
                    self._known[name] = int(size), int(modified), int(digest)

    def _read_records(self) -> NDArray[np.void]:
        try:
            size = self._path.stat().st_size
        except OSError:
            return np.zeros(0, self._record)
        whole = size // self._record.itemsize
        if whole * self._record.itemsize != size:  # the last one was cut off by a kill
            os.truncate(self._path, whole * self._record.itemsize)
        records = np.fromfile(self._path, self._record, whole)
        good = np.isfinite(records["features"]).all(axis=1)
        whole_ones: NDArray[np.void] = records[good]
        return whole_ones


def digest_of_file(photo: Path) -> int:
    """Return the digest of a photo's content. Raises OSError where it cannot be read."""
    return digest_of(photo.read_bytes())


def _record(width: int) -> np.dtype[np.void]:
    """Return the layout of a record. Half precision is enough for features, and half the size."""
    return np.dtype(
        [
            ("digest", "<u8"),
            ("features", "<f2", (width,)),
            ("signature", "<f2", (SIGNATURE_LENGTH,)),
        ]
    )


def _stamp(photo: Path) -> tuple[int, int]:
    try:
        found = photo.stat()
    except OSError:
        return -2, -2
    return found.st_size, found.st_mtime_ns
