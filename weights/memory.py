"""What becomes of memory that tensors give back."""

import ctypes
import os
import sys

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

LARGEST, SPARE = 1 << 30, 1 << 27  # bytes
_CHOSEN = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Have this process keep what it frees for what it allocates next, and tell whether it will.

    glibc hands blocks of more than 32 MB back to the system as they are freed, and the system clears every page of the
    next one: with pictures of 1024 px that is nearly a third of an inversion's time. Here blocks of up to LARGEST bytes
    come from the heap, of whose end SPARE bytes stay. It is for programs, at their start; libraries leave it to them.
    Nothing is done without glibc, or where the environment says already how it is to be.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _CHOSEN):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, LARGEST) and mallopt(_TRIM_THRESHOLD, SPARE))
