"""Numbers and names as text for people."""

from __future__ import annotations

NONE_OF_THEM = "(none of these)"  # what tables and forms call a picture that shows no label


def counted(number: int, thing: str) -> str:
    """Return a number and what it counts: "1 image", "0 images", "44,000 images"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """Return a text from files for a terminal: nothing moves the cursor, or is no UTF-8."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
