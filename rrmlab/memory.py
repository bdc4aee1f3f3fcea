"""Memory that is freed stays with the process."""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 32 MiB for the next allocation; elsewhere this does nothing.

    By default it hands larger blocks back to the kernel at once, and the next operation faults the pages in again: for
    temporaries of a megabyte, as every step of the game and of the training has them, that takes longer than the
    arithmetic on them.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_THRESHOLD, 2**25)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**30)
