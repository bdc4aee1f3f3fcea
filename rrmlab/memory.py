"""Memory of the process: how much it took, and that what is freed stays with it."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import re
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 32 MiB for the next allocation, in the whole process; elsewhere this does
    nothing. The study's processes call it, importing the package does not.

    By default it hands larger blocks back to the kernel at once, and the next operation faults the pages in again: for
    temporaries of a megabyte, as every step of the game and of the training has them, that takes longer than the
    arithmetic on them.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_THRESHOLD, 2**25)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**30)


def release_freed_memory() -> None:
    """Hand back to the kernel what `keep_freed_memory` kept."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def peak_memory_gib() -> float:
    """The largest resident memory so far of this process alone, GiB. From /proc (Linux); NaN where there is none."""
    return resident_gib(os.getpid(), "VmHWM")


def resident_gib(pid: int, field: str) -> float:
    """Resident memory of a process, GiB: now (VmRSS) or at its most (VmHWM). NaN if it is gone, or without /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return math.nan
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found[1]) / 2**20 if found else math.nan
