"""By what an image is known, whatever it is called: a digest of its file."""

from __future__ import annotations

import hashlib


def digest_of(blob: bytes) -> int:
    """Return the first 64 bits of a SHA-256 over the bytes of an image file."""
    return int.from_bytes(hashlib.sha256(blob).digest()[:8], "big")
