"""What people send, as photos: files one by one, and archives with folders in them.

Nothing is unpacked to where its name says; a name only becomes the name of a photo, or a label.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shopwindow.data.folder import MAX_IMAGE_BYTES
from shopwindow.errors import OversizedImageError, StudioError
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.formats import digest_of, identify
from shopwindow.imaging.limits import ImageLimits
from shopwindow.imaging.preprocess import ResizeRule, preprocess
from shopwindow.imaging.thumbnail import jpeg_thumbnail
from shopwindow.studio.names import checked_label
from shopwindow.studio.photo_cache import THUMBNAIL_PX

# Of an archive: an entry more is refused, and so is an archive that says that it is larger.
MAX_ENTRIES = 20_000
MAX_UNPACKED_BYTES = 2_000_000_000
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Sent:
    """A file that somebody sent.

    Attributes:
        name: Its name, perhaps with folders before it.
        content: Its bytes; None where it is refused unread.
        label: The label that it came with; "" for none.
        why: Why it is refused.
    """

    name: str
    content: bytes | None
    label: str = ""
    why: str = ""


@dataclass(frozen=True)
class ReadPhoto:
    """A photo that could be decoded.

    Attributes:
        format_: One of `ACCEPTED_FORMATS`.
        digest: Of its content.
        pixels: (H, W, 3) uint8, as the backbone sees it.
        thumbnail: A JPEG file.
    """

    format_: str
    digest: int
    pixels: NDArray[np.uint8]
    thumbnail: bytes


def read_photo(content: bytes, rule: ResizeRule, limits: ImageLimits) -> ReadPhoto:
    """Decode a photo once, for the model and for people.

    Raises:
        ImageError: It cannot be used.
    """
    if len(content) > MAX_IMAGE_BYTES:
        raise OversizedImageError(
            f"The file has {len(content):,} bytes; at most {MAX_IMAGE_BYTES:,} are accepted."
        )
    format_ = identify(content, limits)
    image = decode_image(content, limits=limits, least_px=rule.enough_px)
    thumbnail = jpeg_thumbnail(image, THUMBNAIL_PX)
    return ReadPhoto(format_, digest_of(content), preprocess(image, rule), thumbnail)


def unpack(
    files: Sequence[tuple[str, bytes]], *, label: str = "", folders: bool = False
) -> Iterator[Sent]:
    """Yield the files that were sent, and those in archives among them.

    Args:
        files: Name and content of each.
        label: That of all of them, whatever their folders.
        folders: Whether the last folder in the name of a file is its label; in an archive it is.
    """
    for name, content in files:
        if content.startswith(_ZIP):
            yield from _entries(name, content, label)
        else:
            yield _with_label(name, content, label, folders=folders)


def _entries(name: str, content: bytes, label: str) -> Iterator[Sent]:
    """Yield the files of an archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [entry for entry in archive.infolist() if _is_wanted(entry)]
            if problem := _problem_of_all(entries):
                yield Sent(name, None, why=problem)
                return
            for entry in entries:
                path = entry.filename.replace("\\", "/")
                if why := _problem_of(entry):
                    yield Sent(path, None, why=why)
                    continue
                with archive.open(entry) as file:
                    # One byte more than it says of itself: whoever lies is cut off.
                    found = file.read(entry.file_size + 1)
                yield _with_label(path, found, label, folders=True)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OSError,
    ) as e:
        yield Sent(name, None, why=f"This archive is damaged ({type(e).__name__}); pack it again.")


def _is_wanted(entry: zipfile.ZipInfo) -> bool:
    parts = entry.filename.replace("\\", "/").split("/")
    # Folders, and what macOS and Windows put beside the photos.
    hidden = any(part.startswith(".") and part not in (".", "..") for part in parts)
    return not (entry.is_dir() or hidden or "__MACOSX" in parts or parts[-1] == "Thumbs.db")


def _problem_of_all(entries: Sequence[zipfile.ZipInfo]) -> str:
    if len(entries) > MAX_ENTRIES:
        return f"This archive has {len(entries):,} files; at most {MAX_ENTRIES:,} are accepted."
    if (total := sum(entry.file_size for entry in entries)) > MAX_UNPACKED_BYTES:
        return (
            f"This archive unpacks to {total / 1e6:,.0f} MB; at most "
            f"{MAX_UNPACKED_BYTES / 1e6:,.0f} are accepted. Send it in parts."
        )
    return ""


def _problem_of(entry: zipfile.ZipInfo) -> str:
    if entry.flag_bits & 1:
        return "This file is encrypted: pack it again without a password."
    if entry.file_size > MAX_IMAGE_BYTES:
        return f"The file has {entry.file_size:,} bytes; at most {MAX_IMAGE_BYTES:,} are accepted."
    return ""


def _with_label(name: str, content: bytes, label: str, *, folders: bool) -> Sent:
    if label or not folders:
        return Sent(name, content, label)
    folder = posixpath.basename(posixpath.dirname(name.replace("\\", "/")))
    if folder in ("", ".", ".."):
        return Sent(name, content)
    try:
        return Sent(name, content, checked_label(folder.replace("|", "-")))
    except StudioError as error:
        return Sent(name, None, why=f"Its folder cannot be a label. {error}")
