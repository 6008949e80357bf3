"""A project as one zip file, sent while it is read: it may be larger than any memory."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from shopwindow.studio.project import PHOTOS, TABLE, WINDOW

_CHUNK_BYTES = 1 << 18


class _Pipe(io.RawIOBase):
    """What is written to it waits to be taken."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        chunk = bytes(data)  # type: ignore[call-overload]
        self._waiting.append(chunk)
        return len(chunk)

    def take(self) -> bytes:
        taken = b"".join(self._waiting)
        self._waiting.clear()
        return taken


def zip_project(folder: Path, names: Iterable[str]) -> Iterator[bytes]:
    """Yield the bytes of a zip file with photos, labels and the model in the window.

    A photo that is deleted meanwhile is left out.

    Args:
        folder: The project.
        names: Of the photos.
    """
    pipe, root = _Pipe(), folder.name
    # Photos are compressed already.
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for path in (TABLE, WINDOW, *(f"{PHOTOS}/{name}" for name in names)):
            try:
                source = (folder / path).open("rb")
            except OSError:
                continue
            with source, archive.open(f"{root}/{path}", "w", force_zip64=True) as target:
                while chunk := source.read(_CHUNK_BYTES):
                    target.write(chunk)
                    yield pipe.take()
    yield pipe.take()
