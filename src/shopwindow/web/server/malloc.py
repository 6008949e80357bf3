"""Has glibc return freed memory to the system, without slowing down each photo."""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
# The pixels needed of a usual photo take less than this, whole large images more. What is mapped
# anew each time costs a page fault for every 4 kB: for 12 megapixels, a tenth of an answer's time.
_MMAP_THRESHOLD_BYTES = 2 * 1024 * 1024
# Each heap has holes of its own, and by default there are eight for each core.
_HEAPS = 2


def return_freed_memory() -> None:
    """Keep glibc from hoarding: call it before a model is loaded and threads are started.

    glibc raises its threshold for memory maps to the size of whatever large block was freed last,
    up to 32 MB. From then on such blocks (decoded images, the model file) come from the heap of the
    thread, whose holes are not given back: a server that needs 160 MB holds 380 MB after a few
    hundred photos. A threshold that was set once stays where it is. Elsewhere it does nothing.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        mallopt(_M_ARENA_MAX, _HEAPS)
