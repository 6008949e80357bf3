"""What a file is, without decoding it: its format, by its content or its name, and its digest."""

from __future__ import annotations

import hashlib
import re

from shopwindow.errors import UnsupportedImageError
from shopwindow.imaging.heif_container import heif_format
from shopwindow.imaging.limits import ImageLimits

# What browsers and programs call each format that is read; a name or a type never decides.
MEDIA_TYPES: dict[str, tuple[str, ...]] = {
    "JPEG": ("image/jpeg",),
    "PNG": ("image/png",),
    "WEBP": ("image/webp",),
    "HEIC": ("image/heic", "image/heif"),
    "AVIF": ("image/avif",),
    "GIF": ("image/gif",),
    "BMP": ("image/bmp",),
    "TIFF": ("image/tiff",),
    "PPM": ("image/x-portable-anymap",),
}
# Where the system seldom knows the type, file dialogs go by the ending.
ENDINGS: dict[str, tuple[str, ...]] = {
    "HEIC": (".heic", ".heif"),
    "AVIF": (".avif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
# Only for finding images in folders. Formats that cannot be decoded here are on the list as well,
# so that such a photo is reported instead of missed.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff"}
    | {".heic", ".heics", ".heif", ".heifs", ".hif", ".avif", ".avifs"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jxl", ".jp2", ".psd", ".dng"}
)

EMPTY_FILE = "This file is empty. Choose another one, or save it again."

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    *((b"P%d%c" % (kind, space), "PPM") for kind in range(1, 7) for space in b" \t\r\n#"),
)
# What people try most often, to name it in the answer; each mark within the first 16 bytes.
_OTHER_FORMATS = (
    (b"MM\x00+", "BigTIFF in big-endian order"),  # Pillow 12 reads it as if it were no BigTIFF
    (b"ftypcrx", "CR3 (a camera's raw data)"),
    (b"ftypqt", "QuickTime film"),
    (b"ftypmp4", "MP4 film"),
    (b"ftypiso", "MP4 film"),
    (b"ftypM4V", "MP4 film"),
    (b"ftyp3g", "3GP film"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
    (b"PK\x03\x04", "ZIP"),
    (b"PK\x05\x06", "ZIP"),  # of nothing
    (b"<!DOCTYPE", "HTML"),
    (b"<html", "HTML"),
    (b"8BPS", "Photoshop"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"jP  \r\n", "JPEG 2000"),
)


def identify(data: bytes, limits: ImageLimits | None = None) -> str:
    """Return the format of a file, recognised by its first bytes; this costs nothing.

    Args:
        data: The content of a file, or its beginning.
        limits: The formats that are accepted; all that can be read where left out.

    Raises:
        UnsupportedImageError: Empty, or not one of these formats.
    """
    accepted = (limits or ImageLimits()).formats
    name = next((format_ for magic, format_ in _MAGIC if data.startswith(magic)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        name = "WEBP"
    name = name or heif_format(data)
    if name in accepted:
        return name
    if not data:
        raise UnsupportedImageError(EMPTY_FILE)
    name = name or next((name for mark, name in _OTHER_FORMATS if mark in data[:16]), None)
    found = "This file is not an image of a known format"
    if name is not None:
        found = f"This is a file of the format {name}"
    raise UnsupportedImageError(f"{found}: expected {', '.join(accepted)}.")


def begins_like_image(head: bytes) -> bool:
    """Say whether a file that begins so is probably an image of an accepted format.

    Args:
        head: Its first 64 bytes, or all of it.
    """
    if head.startswith(b"BM") and head[6:10] != bytes(4):  # a text may begin with these letters
        return False
    if head[:1] == b"P" and not re.match(rb"P[1-6]\s+(#[^\n]*\n\s*)?\d", head):
        return False
    try:
        identify(head)
    except UnsupportedImageError:
        return False
    return True


def digest_of(blob: bytes) -> int:
    """Return the first 64 bits of the SHA-256 of a file, by which an image is known."""
    return int.from_bytes(hashlib.sha256(blob).digest()[:8], "big")
