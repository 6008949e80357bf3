"""Whole files or none: what is written here is complete under its name, or not there at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from shopwindow.errors import UsageError


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write to a temporary name in the same folder, flush to the disk, then rename.

    A reader, or a machine that goes down, sees the old file or the new one.

    Raises:
        OSError: The folder is missing or cannot be written, or the disk is full.
    """
    with replacing(path) as file:
        file.write(content)


def write_page(path: Path, text: str) -> None:
    """Write a page (or any text) as UTF-8, in a folder that is made where there is none.

    A file name in it that is not UTF-8 is shown with its odd bytes escaped, instead of failing.

    Raises:
        UsageError: It cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise UsageError(f"The page cannot be written to {path}: {error.strerror}.") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write to, which takes the place of `path` when all went well.

    Raises:
        OSError: As `write_atomically`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
