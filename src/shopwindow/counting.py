"""Numbers of things, as people write them."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """Return a number and what it counts: "1 image", "0 images", "44,000 images"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
