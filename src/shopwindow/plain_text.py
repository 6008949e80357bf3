"""Numbers and names as text for people."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """Return a number and what it counts: "1 image", "0 images", "44,000 images"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """Return a text that is safe for a terminal: control characters and bad UTF-8 are escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
