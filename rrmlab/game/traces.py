"""Given arrays, and gains in place of the statistical radio among them: what they must be, and how they are read.

Shapes: E episodes, I APs, J users, T TTIs. A trace is the array (T, I, J) of one episode: linear SNR of every link at
full transmit power without interference. With T = 1 the gains stay as they are.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import real_array
from ..config import NetworkConfig

LARGEST_SNR = 1e30  # linear; sums of it stay finite in single precision
SMALLEST_SNR = 1e-20  # -200 dB; what is below, such as 0 for no path, counts as this: observations in dB stay finite
Traces = Sequence[np.ndarray]  # one for each of E episodes


def as_traces(gains: np.ndarray) -> tuple[np.ndarray, ...]:
    """The traces in an array (E, T, I, J), (T, I, J) or (I, J), whose memory they share; ValueError for others."""
    if not 2 <= gains.ndim <= 4 or not gains.size:
        raise ValueError(f"gains of shape {gains.shape}: must be (T, I, J), (E, T, I, J) or (I, J)")
    return tuple(gains.reshape((1,) * (4 - gains.ndim) + gains.shape))


def as_episodes(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Given values as (E, *shape), float64, or int64 for `serving`."""
    found = real_array(name, values)
    array = found[None] if found.ndim == len(shape) else found
    if array.shape[1:] != shape or not len(array):
        raise ValueError(
            f"{name} of shape {found.shape}: the network wants {shape}, or (E, ...) with E episodes in front"
        )
    if name != "serving":
        return array.astype(np.float64)
    if not np.array_equal(array, np.rint(array)):
        raise ValueError("serving: must be whole numbers, an AP for each user or -1")
    return array.astype(np.int64)


def check_traces(traces: Traces, config: NetworkConfig, num: int) -> tuple[float, float]:
    """Whether they are the gains of `num` episodes of a network; the smallest and the largest of them.

    Raises:
        ValueError: another shape, too few TTIs, NaN, infinity, negative numbers (decibels), or path gains; a network
            whose users come and leave or change their AP.
    """
    for name in ("mean_stay_s", "hysteresis_db"):
        if value := getattr(config, name):
            raise ValueError(f"{name} = {value:g}: must be 0 with given gains, whose users and their APs stay")
    i, j, ttis = config.num_aps, config.num_users, config.warmup_ttis + config.episode_ttis + 1
    if len(traces) != num:
        raise ValueError(f"deployment.gains: has {len(traces)} arrays, must have {num}, one for each episode")
    low, high = math.inf, 0.0
    for e, gains in enumerate(traces):
        if not isinstance(gains, np.ndarray) or gains.dtype.kind not in "iuf" or gains.shape[1:] != (i, j):
            found = f"{gains.dtype} {gains.shape}" if isinstance(gains, np.ndarray) else type(gains).__name__
            raise ValueError(f"deployment.gains[{e}]: must be real numbers of shape (T, {i}, {j}), got {found}")
        if len(gains) != 1 and len(gains) < ttis:
            raise ValueError(
                f"deployment.gains[{e}] has {len(gains)} TTIs: must have at least {ttis}, those of warm-up and episode "
                "and one more for the last observation; or 1 for gains that stay as they are"
            )
        used = gains[:ttis]
        for place in (used.argmin(), used.argmax()):  # if there is NaN, both are its place
            index = tuple(int(k) for k in np.unravel_index(place, used.shape))
            value = float(used[index])
            if not 0 <= value <= LARGEST_SNR:
                raise ValueError(
                    f"deployment.gains[{e}]{list(index)} = {value:g}: must be a linear SNR in 0 ... {LARGEST_SNR:g}; "
                    "of decibels take 10 ** (gains / 10)"
                )
            low, high = min(low, value), max(high, value)
    if 0 < high < 1e-3 and config.snr_scale > 1e6:
        raise ValueError(
            f"deployment.gains: the largest is {high:g}, so they look like path gains; SNRs are these times "
            f"config.snr_scale = {config.snr_scale:g}"
        )
    return low, high


def warn_of_decibels(span: tuple[float, float] | None, links: int) -> None:
    """Warn whoever calls `from_gains` if the gains lie so near to each other that they may be decibels."""
    low, high = span or (0.0, 0.0)
    if links > 8 and 1 <= low < high <= min(250.0, 30 * low):
        warnings.warn(
            f"gains: all lie in {low:g} ... {high:g} and must be linear SNRs; of decibels take 10 ** (gains / 10)",
            stacklevel=3,
        )


def read_traces(traces: Traces, start: int, num: int) -> Tensor:
    """The gains of `num` TTIs from `start` on, (T, E, I, J) float64, at least SMALLEST_SNR."""
    parts = [np.broadcast_to(g, (num, *g.shape[1:])) if len(g) == 1 else g[start : start + num] for g in traces]
    return torch.from_numpy(np.stack(parts, 1, dtype=np.float64, casting="unsafe")).clamp_(min=SMALLEST_SNR)


def mean_gains(traces: Traces, config: NetworkConfig) -> np.ndarray:
    """Means (E, I, J) over the TTIs of an episode."""
    ttis = config.warmup_ttis + config.episode_ttis + 1
    return np.stack([gains[:ttis].mean(0, dtype=np.float64) for gains in traces])
