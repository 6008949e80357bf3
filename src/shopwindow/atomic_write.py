"""Writing whole files or none: a file is complete under its name, or not there at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from shopwindow.errors import UsageError


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write to a temporary name in the same folder, flush to the disk, then rename.

    A reader, even after a crash, sees the old file or the new one.

    Raises:
        OSError: The folder is missing or cannot be written, or the disk is full.
    """
    with atomic_write(path) as file:
        file.write(content)


def write_page(path: Path, text: str) -> None:
    """Write a page (or any text) as UTF-8, creating its folder if needed.

    Bytes of file names that are not UTF-8 are escaped.

    Raises:
        UsageError: It cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise UsageError(f"The page cannot be written to {path}: {error.strerror}.") from error


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file to write to, which replaces `path` if no error occurs.

    It gets the owner, group and permissions of the file that it replaces, where this user may set
    them.

    Raises:
        OSError: As `write_atomically`.
        UsageError: `path` exists and is not a file, such as /dev/null.
    """
    before = path.stat() if path.exists() else None
    if before is not None and not (stat.S_ISREG(before.st_mode) or path.is_dir()):
        raise UsageError(f"{path}: expected the name of a file, found something else there")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    if before is not None and not _may_chown_to(before):
        before = None
    try:
        with open(temporary, "wb", opener=_owner_only if before else None) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if before is not None:
            os.chown(temporary, before.st_uid, before.st_gid)
            temporary.chmod(stat.S_IMODE(before.st_mode))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _may_chown_to(before: os.stat_result) -> bool:
    """Say whether this user may give a file the owner and group of another."""
    if sys.platform == "win32":
        return False
    groups = {os.getegid(), *os.getgroups()}
    return os.geteuid() in (0, before.st_uid) and (os.geteuid() == 0 or before.st_gid in groups)


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
