"""Jobs on the workers of a Dask cluster, which may be on many machines.

Every worker must have the same code and the same data folder, under the same path and with file locks. This is checked
before any work, and by every job again: workers may come later. A job whose worker dies is given to another worker by
Dask; there it goes on from its checkpoint in the data folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from ..locks import lock
from ..storage import scratch
from .fingerprint import PACKAGE, package_versions, sources_digest

DASK = "RRMLAB_DASK"  # environment variable: the scheduler that `run_jobs` gives its jobs to
CONNECT_S = 5.0  # in which a scheduler must answer


class ClusterError(ValueError):
    """A cluster cannot be reached, or its workers cannot do the work."""


@contextmanager
def connected(address: str, folder: Path) -> Iterator[tuple[Any, Callable[[], str]]]:
    """A client of a cluster that was checked, and a function for its workers: why not to compute there, or "".

    Args:
        address: of the scheduler, such as tcp://host:8786, or its scheduler file.
        folder: where results are stored.

    Raises:
        ClusterError: no scheduler there, no workers, or the first worker with more than one thread, other code, other
            versions or another folder, with its address.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ClusterError(f"dask = {address}: needs the package distributed (pip install 'rrmlab[cluster]')") from None
    place = _scheduler(address)
    try:
        client = Client(place, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError):
        raise ClusterError(f"dask = {address}: no Dask scheduler answers there within {CONNECT_S:g} s") from None
    with client, scratch(folder / "cluster", "cluster", "") as token:
        token.touch()
        refusal = partial(_refusal, _code(), token)
        threads = client.nthreads()
        if not threads:
            raise ClusterError(f"dask = {address}: has no workers; start some: dask worker {place} --nthreads 1")
        for worker, answer in sorted(client.run(refusal, on_error="return").items()):
            if isinstance(answer, Exception):
                answer = f"cannot run this rrmlab ({answer}); install the same commit there, and start it again"
            if not answer and (number := threads.get(worker, 1)) > 1:
                answer = f"nthreads = {number}: must be 1, a job has one thread; start more workers in its place"
            if answer:
                raise ClusterError(f"dask = {address}: worker {worker}: {answer}")
        yield client, refusal


def compute(
    address: str, folder: Path, function: Callable[[Any], Any], items: Iterable[Any], done: Callable[[], Any]
) -> list[Any]:
    """`function` of every item, on the workers of a cluster; `done` is called after each.

    Raises:
        ClusterError: see `connected`.
        RuntimeError: workers died at the same item too often, the scheduler ended, or a worker that came later has
            other code or another folder; and what `function` raises.
    """
    with connected(address, folder) as (client, refusal):
        from distributed import CancelledError, KilledWorker, as_completed

        futures = client.map(partial(_unless_refused, refusal, function), list(items), pure=False)
        found = {}
        try:
            for future, result in as_completed(futures, loop=client.loop, with_results=True):
                found[future.key] = result
                done()
        except KilledWorker as error:
            text = f"{error.allowed_failures + 1} workers died at one job, by hand or for want of memory"
            raise RuntimeError(f"{text}: the same call goes on") from error
        except CancelledError as error:
            raise RuntimeError(f"the scheduler at {address} has ended: the same call goes on") from error
        return [found[future.key] for future in futures]


def _scheduler(address: str) -> str:
    """The address itself, or that in a scheduler file."""
    if "://" in address:
        return address
    try:
        return str(json.loads(Path(address).read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError):
        wanted = "must be a scheduler's address, such as tcp://host:8786, or its scheduler file"
        raise ClusterError(f"dask = {address}: {wanted}") from None


@cache  # a worker has the code that it once imported, whatever became of the files
def _code() -> dict[str, str]:
    """What decides numbers: versions, and a hash of the package's sources."""
    return package_versions() | {"code of rrmlab": sources_digest(PACKAGE)[:12]}


def _refusal(code: dict[str, str], token: Path) -> str:
    """Runs on a worker: why not to compute there, or ""; the token's lock is held where the call came from."""
    own = _code()
    for name, wanted in code.items():
        if own.get(name) != wanted:
            return f"{name} = {own.get(name)}: must be {wanted}; install the same there, and start it again"
    if not token.is_file():
        return f"{token.parent} is another folder there: it must be one shared folder, under the same path everywhere"
    with lock(token, wait=False) as free:
        if free:
            return f"{token.parent} has no file locks between machines: mount it with them (NFS 4; Lustre with flock)"
    return ""


def _unless_refused(refusal: Callable[[], str], function: Callable[[Any], Any], item: Any) -> Any:
    if reason := refusal():
        from distributed import get_worker

        raise RuntimeError(f"worker {get_worker().address}: {reason}")
    return function(item)
