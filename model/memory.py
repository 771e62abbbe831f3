"""What the C library does with memory that is free again."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

# of glibc's <malloc.h>: the number of each setting, and the variable that sets it as well
TRIM_THRESHOLD = (-1, "MALLOC_TRIM_THRESHOLD_")
MMAP_THRESHOLD = (-3, "MALLOC_MMAP_THRESHOLD_")
KEPT = 64 << 20  # bytes free at a heap's end before they go back to the system; a thread's heap has no more
MAPPED = 32 << 20  # bytes of what goes back at once when it is free; glibc takes no more


def keep_freed_memory() -> None:
    """Lets glibc keep what an image leaves for the next one, but what is larger than 32 MiB.

    By default it gives much of it back after each image, and for the next the system must find and clear every page of it
    anew. `MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_` stay where they are set (`GLIBC_TUNABLES` is not looked at);
    other C libraries are left alone.
    """
    with suppress(AttributeError):
        mallopt = ctypes.pythonapi.mallopt
        for (number, variable), value in ((TRIM_THRESHOLD, KEPT), (MMAP_THRESHOLD, MAPPED)):
            if variable not in os.environ:
                mallopt(number, value)
