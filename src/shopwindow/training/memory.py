"""How the process deals with memory while it trains."""

from __future__ import annotations

import ctypes
import sys

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, instead of handing it back to the system each time.

    A step of a training frees some gigabytes and asks for them again in the next. glibc maps such
    pieces anew each time, and the system has to clear every page of them: on a virtual machine
    short of memory that took nine tenths of the time. On other systems this does nothing.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None and hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)
