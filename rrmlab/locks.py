"""Processes keep out of each other's way by advisory locks, which end with the process that holds them.

Two processes that ask for one run at once make it once, and what a killed process left is removed while what a running
one writes stays.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

POLL_S = 0.1  # between two looks at a lock that another process holds


@contextmanager
def lock(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold `path` against other processes, by a lock on the file `.name.lock` beside it that ends with its process.

    Args:
        path: a file or folder; it need not exist.
        wait: until another process lets go of it, and say so in one line.

    Yields:
        whether it is held; never where there are no such locks (Windows, some network folders).
    """
    file = path.with_name(f".{path.name.removeprefix('.')}.lock")
    handle, said = None, False
    while handle is None and fcntl is not None:
        try:
            handle = _locked(file)
        except BlockingIOError:
            if not wait:
                break
            if not said:
                print(f"another process is at work on {path}: waiting for it", flush=True)
                said = True
            time.sleep(POLL_S)
        except OSError:  # no such locks here; or nothing can be written, which the writer will say better
            break
    try:
        yield handle is not None
    finally:
        if handle is not None:
            with suppress(OSError):
                file.unlink()  # while it is still held: whoever gets it next sees that it is gone
            os.close(handle)


def _locked(file: Path) -> int:
    """Descriptor of the file, locked; BlockingIOError if another one holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if not isinstance(error, BlockingIOError):
                file.unlink(missing_ok=True)  # there are no such locks here: leave no trace
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(file)):
                return handle
        os.close(handle)  # who held it has removed it meanwhile: once more
