"""Memory that is not needed any more goes back to the system."""

from __future__ import annotations

import ctypes
import sys

_M_MMAP_THRESHOLD = -3  # from glibc's malloc.h
_THRESHOLD_BYTES = 128 * 1024  # glibc's own default


def return_freed_memory() -> None:
    """Keep glibc from hoarding: call it before a model is loaded.

    glibc raises its threshold for memory maps to the size of whatever large block was freed last.
    From then on such blocks (photos, the model file) come from the heap, whose holes are not given
    back, in each thread's arena anew: a server that needs 160 MB holds 380 MB after a few hundred
    photos. A threshold that was set once stays where it is. Elsewhere than on glibc this does
    nothing.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
