"""Names that people give: photos get names for any disk, labels names for any table."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Container

from shopwindow.errors import StudioError
from shopwindow.imaging.formats import IMAGE_SUFFIXES

MAX_LABEL_CHARACTERS = 200  # as many as a table of labels may have
_MAX_STEM_CHARACTERS = 80
_ODD = re.compile(r"[^\w.() +-]+")
# What Windows does not take for the name of a file, whatever its ending.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
# Invisible, but part of words in Persian and Hindi, and of emoji of more than one sign.
_JOINERS = dict.fromkeys((0x200C, 0x200D))
_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}


def safe_name(given: str, format_: str, taken: Container[str]) -> str:
    """Return a name for a photo, as close to the given one as any disk allows.

    Args:
        given: What the file is called, perhaps with folders before it.
        format_: What it is, one of `ACCEPTED_FORMATS`; it gives the ending where there is none.
        taken: Names that are in use, in lower case.
    """
    name = unicodedata.normalize("NFC", posixpath.basename(given.replace("\\", "/")))
    stem, suffix = posixpath.splitext(name)
    if suffix.lower() not in IMAGE_SUFFIXES:
        stem, suffix = name, _SUFFIXES.get(format_, f".{format_.lower()}")
    # A leading point hides a file, and a spreadsheet computes what begins with a sign.
    stem = _ODD.sub("_", stem).strip(" ._+-")[:_MAX_STEM_CHARACTERS].strip(" .") or "photo"
    if _RESERVED.match(stem):
        stem = f"_{stem}"
    number, unique = 1, stem + suffix
    while unique.lower() in taken:
        number += 1
        unique = f"{stem}-{number}{suffix}"
    return unique


def checked_label(text: object) -> str:
    """Return a label without spaces around it.

    Raises:
        StudioError: No text, empty, too long, or with signs that a table reads otherwise.
    """
    if not isinstance(text, str):
        raise StudioError(f"label: expected a text, found {type(text).__name__}.")
    label = unicodedata.normalize("NFC", text).strip()
    if not 1 <= len(label) <= MAX_LABEL_CHARACTERS:
        raise StudioError(
            f"A label has 1 to {MAX_LABEL_CHARACTERS} characters; this one has {len(label):,}."
        )
    if "|" in label:  # "A|B" in a table means A or B
        raise StudioError(
            f"A label cannot contain a vertical bar: choose a name other than {label!r}."
        )
    visible = label.translate(_JOINERS)
    if not (visible and visible.isprintable()):
        raise StudioError("A label is one line of visible characters; this one has others in it.")
    return label
