"""How fast, and how near to what the machine can do: timing in turn, counts of arithmetic.

What is compared is timed in turn in one process, so that a machine that slows down slows both. Shapes: R repeats,
I APs, J users, N top users, M sinusoids, K twin critics, H heads. What is timed is in workloads.py, what the tables
say of it in report.py.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ..agents.config import AgentConfig, network_shapes
from ..config import NetworkConfig
from ..game.observations import observation_of

Work = Callable[[], int]  # does something and returns how many units of it (steps, updates, operations)


# ---- timing ----


def interleaved(
    works: Sequence[Work | None],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
    wait: Callable[[], Any] = lambda: None,
) -> np.ndarray:
    """Seconds per unit (R, W) of W pieces of work that take turns, every second round in reverse order.

    Args:
        works: None, a peer that is missing, becomes a column of NaN.
        repeats: R; one round more is run first and not counted.
        clock: seconds.
        wait: called before each reading of the clock, `torch.cuda.synchronize` on CUDA.
    """
    seconds = np.full((repeats, len(works)), np.nan)
    present = [(k, work) for k, work in enumerate(works) if work is not None]
    for _, work in present:
        work()
    for repeat in range(repeats):
        for k, work in present[:: -1 if repeat % 2 else 1]:
            wait()
            start = clock()
            units = work()
            wait()
            seconds[repeat, k] = (clock() - start) / units
    return seconds


def latencies_ms(
    work: Callable[[], Any] | None, calls: int, clock: Callable[[], float] = time.perf_counter
) -> np.ndarray:
    """Milliseconds of each of `calls` calls (calls,), after a tenth as many that are not counted; NaN of a peer that is
    missing, None."""
    if work is None:
        return np.full(calls, np.nan)
    for _ in range(calls // 10):
        work()
    marks = np.empty(calls + 1)
    marks[0] = clock()
    for k in range(calls):
        work()
        marks[k + 1] = clock()
    return 1e3 * np.diff(marks)


@contextlib.contextmanager
def threads(num: int) -> Iterator[None]:
    """So many threads of torch inside, as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(num)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def time_shares(work: Work) -> dict[str, float]:
    """Where the time of one call goes, by torch's profiler (which itself takes time): shares of "matrix products", of
    "other operations" on tensors, and of the "rest", Python and the bookkeeping around the operations."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        work()
        wall = time.perf_counter() - start
    spent = {event.key: 1e-6 * event.self_cpu_time_total for event in profiler.key_averages()}
    products = sum(spent.get(f"aten::{name}", 0.0) for name in ("mm", "bmm", "addmm", "baddbmm")) / wall
    other = sum(seconds for name, seconds in spent.items() if name.startswith("aten::")) / wall - products
    return {"matrix products": products, "other operations": other, "rest": 1 - products - other}


# ---- what the machine can do, and what the work asks for ----


def machine_rates(device: str = "cpu", size: int = 2048, copy_mib: int = 256, repeats: int = 5) -> dict[str, float]:
    """The best of some repeats, with the threads torch uses: "sgemm" (float32) and "dgemm" (float64) of two square
    matrices of `size`, GFLOP/s; "copy" of `copy_mib` MiB, bytes read plus bytes written, GB/s."""

    def product(dtype: torch.dtype) -> Work:
        a, b = torch.rand(2, size, size, dtype=dtype, device=device)
        out = torch.empty_like(a)

        def multiply() -> int:
            torch.mm(a, b, out=out)
            return 2 * size**3

        return multiply

    source = torch.ones(copy_mib * 2**18, device=device)
    copied = torch.empty_like(source)

    def copy() -> int:
        copied.copy_(source)
        return 8 * len(source)

    works = [product(torch.float32), product(torch.float64), copy]
    seconds = interleaved(works, repeats, wait=waiting(device))
    return dict(zip(("sgemm", "dgemm", "copy"), 1e-9 / seconds.min(0), strict=True))


def waiting(device: str) -> Callable[[], Any]:
    """What to call before the clock is read on a device."""
    return torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None


def step_flops(config: NetworkConfig) -> dict[str, dict[str, int]]:
    """Operations of one environment in one TTI, by precision and item; a transcendental or a comparison counts as one.

    The least that the definition of the game asks for. Not counted: the warm-up, the drawing, copies and indices.
    """
    i, j, n = config.num_aps, config.num_users, config.top_n
    links = i * j
    return {
        "float64": {
            "fading: sum of M complex rotations": 8 * config.num_sinusoids * links,
            "fading: |h|^2": 3 * links,
            "movement, reflected at the border": 12 * j,
            # Two differences, squares and their sum; floor; dual slope; shadowing and transmit power; |h|^2.
            "distance and path loss": 11 * links,
        },
        "float32": {
            "interference at all users": 2 * links,
            "interference at the served users": 2 * i * i,
            "SINR": 2 * (j + i),
            "rates log2(1 + SINR)": 2 * (j + i),
            "averages": 3 * j,
            "weights": 2 * j,
            "PF factor": j,
            "top N of each cell": n * j,
            "observation in dB and ln": 3 * n * i,
            "reward": 5 * i,
        },
    }


def step_bytes(config: NetworkConfig) -> int:
    """Bytes that one TTI of one environment must read and write once: all links' gains (float32), the users' averages,
    SINRs and weights, the observation with its mask and slots, the actions."""
    i, j, n = config.num_aps, config.num_users, config.top_n
    size = observation_of(config).size(config)
    return 2 * (4 * i * j + 3 * 4 * j + i * (4 * size + (n + 1) + n * 8) + i * 8)


def _networks(agent: AgentConfig, network: NetworkConfig) -> tuple[int, int, tuple[int, ...], bool]:
    """Critics of a seed (K * H), actors, layer sizes, and whether the next observation's value is computed."""
    shapes = network_shapes(agent, network)
    stack, sizes = shapes["critic"]
    looks_ahead = agent.gamma > 0 and not agent.clones
    return math.prod(stack), math.prod(shapes["actor"][0]) if "actor" in shapes else 0, sizes, looks_ahead


def update_flops(agent: AgentConfig, network: NetworkConfig) -> int:
    """Operations of one update of one seed: two for each multiply-add of a network's matrix products.

    Forward and backward of the critics and actors on the observation; with a discount, forward on the next one of the
    target critics and of whoever chooses there, the actors or (double Q) the critics. The backward pass is the
    gradient by the weights and by the inputs, but for the first layer's inputs. Losses and Adam are left out.
    """
    critics, actors, sizes, looks_ahead = _networks(agent, network)
    products = sum(a * b for a, b in itertools.pairwise(sizes))
    trained = (critics + actors) * (3 * products - sizes[0] * sizes[1])
    ahead = looks_ahead * (critics + (actors or critics)) * products
    return 2 * agent.batch_size * (trained + ahead)


def update_bytes(agent: AgentConfig, network: NetworkConfig) -> int:
    """Bytes that one update of one seed must read and write once, float32: parameters, gradients and both moments of
    Adam, the target networks, the minibatch's observations, and every layer's output."""
    critics, actors, sizes, looks_ahead = _networks(agent, network)
    parameters = sum(a * b + b for a, b in itertools.pairwise(sizes))
    passes = critics + actors + looks_ahead * (critics + (actors or critics))
    size = observation_of(network).size(network)
    numbers = 4 * (critics + actors) * parameters + critics * parameters
    numbers += agent.batch_size * (2 * network.num_aps * size + passes * sum(sizes[1:]))
    return 2 * 4 * numbers
