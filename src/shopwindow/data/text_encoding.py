"""The text of a file, whatever its encoding, and limited before it is read."""

from __future__ import annotations

import codecs
import gzip
import zlib
from pathlib import Path

from shopwindow.errors import DataError

MAX_TABLE_BYTES = 1_000_000_000
_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NAMES = {"utf-32": "UTF-32", "cp1252": "Windows-1252", "latin-1": "Latin-1"}


def read_text(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the text of a file, and a note where its encoding was guessed.

    It is UTF-8, or UTF-16 or UTF-32 by its mark or its zeros. Anything else was written by an older
    program, and is taken for Windows-1252. `.gz` is unpacked.

    Raises:
        DataError: It cannot be read, is no text, or has more than 1 GB.
    """
    data = _read_bytes(path)
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    encoding = encoding or _utf16_without_mark(data[:1000])
    if encoding is None and b"\0" in data:
        raise DataError(
            f"{path} is not a CSV or TSV file: it holds binary data (a NUL byte at position "
            f"{data.index(0):,})."
        )
    for name in [encoding] if encoding else ["utf-8-sig", "cp1252", "latin-1"]:
        try:
            text = data.decode(name)
        except UnicodeError:
            continue
        if name == "utf-8-sig":
            return text, ()
        odd = next((line for line in text.splitlines() if not line.isascii()), "").strip()
        seen = f", so that a line is: {odd[:60]}" if odd and not encoding else ""
        return text, (f"{path.name} is read as {_NAMES.get(name, 'UTF-16')}{seen}",)
    raise DataError(f"{path} is damaged: it begins like {encoding} text, but is not.")


def _utf16_without_mark(head: bytes) -> str | None:
    """Tell UTF-16 from its zeros: in Latin letters every other byte is one."""
    pairs = len(head) // 2
    for name, zeros, letters in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
        if pairs and 2 * head[zeros::2].count(0) > pairs and not head[letters::2].count(0):
            return name
    return None


def _read_bytes(path: Path) -> bytes:
    packed = path.suffix.lower() == ".gz"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(MAX_TABLE_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} cannot be unpacked: {error}.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_TABLE_BYTES:
        raise DataError(
            f"{path} has more than the {MAX_TABLE_BYTES:,} bytes that a table may have: split it, "
            "or keep only the columns with the image and its labels."
        )
    return data
