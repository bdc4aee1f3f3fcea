"""The memory that a notebook and its workers hold together, looked at while they work."""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Thread

from ..memory import resident_gib

WATCH_S = 0.5  # between two looks, `study`


def held_memory_gib() -> float:
    """The resident memory of this process and its children now, GiB, with the pages that they share counted in each.
    From /proc (Linux); NaN where there is none."""
    pids = [os.getpid()]
    for pid in pids:  # grows while it is read
        with suppress(OSError):  # it has just ended
            for task in Path(f"/proc/{pid}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
    own, *others = (resident_gib(pid, "VmRSS") for pid in pids)
    return own + sum(size for size in others if not math.isnan(size))


@cache
def peak_held_gib() -> list[float]:
    """The most that `held_memory_gib` found since the first call, in a list of one number that a thread keeps up."""
    peak = [held_memory_gib()]

    def watch() -> None:
        while True:
            time.sleep(WATCH_S)
            peak[0] = max(peak[0], held_memory_gib())

    Thread(target=watch, daemon=True).start()
    return peak
