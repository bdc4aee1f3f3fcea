"""Scores of the paper, and the statistics with which this study reports them.

Shapes: D evaluation deployments (episodes), J users, S training seeds. Pure functions of NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

BLOCK_NUMBERS = 2**21  # rates of as many replicates are resampled at once: 16 MiB
Statistic = Callable[[np.ndarray], np.ndarray]  # rates (..., D, J) -> (...)


def iqm(values: np.ndarray) -> np.ndarray:
    """Interquartile mean over the first axis: without the floor(S / 4) values at each end; (S, ...) -> (...)."""
    return stats.trim_mean(np.asarray(values, dtype=float), 0.25, axis=0)


def normalised(value: float | np.ndarray, random_walk: float, oracle: float) -> float | np.ndarray:
    """Score on the scale on which the random walk is 0 and the exhaustive oracle 100."""
    return 100 * (value - random_walk) / (oracle - random_walk)


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap draws."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap(
    rates: np.ndarray,
    statistic: Callable[..., np.ndarray],
    replicates: int = 1000,
    seed: int = 0,
    presence: np.ndarray | None = None,
) -> np.ndarray:
    """Two-level bootstrap draws of the interquartile mean over training seeds of a statistic of the rates.

    Both levels are resampled with replacement: the S seeds, and the D deployments, which all seeds share. A scheduler
    is S = 1: then only deployments vary. The deployments drawn depend on `seed` and D alone, so draws of two methods
    scored on the same deployments are paired: subtract or divide them draw by draw. With as many seeds they share those
    drawn too, which keeps what training seeds have in common. Few seeds make intervals narrow: over the seeds alone, of
    normal scores, those of 10 cover 93%, of 5 90% (`tests/test_tables.py`).

    Args:
        rates: (S, D, J) mean rates, or (D, J) for a scheduler.
        statistic: such as `score`; or several at once, rates (S, D, J) -> (S, k).
        replicates: number of draws.
        seed: of the resampling.
        presence: (D, J), resampled with the deployments and handed to the statistic by this name; or none.

    Returns:
        (replicates,) draws, or (replicates, k).
    """
    rates = rates[None] if rates.ndim == 2 else rates
    seeds, deployments, _ = rates.shape
    common = np.random.default_rng([seed, deployments]).integers(deployments, size=(replicates, deployments))
    own = np.random.default_rng([seed, deployments, seeds]).integers(seeds, size=(replicates, seeds))
    at_once = max(1, BLOCK_NUMBERS // rates.size)
    draws = []
    for first in range(0, replicates, at_once):
        picked = common[first : first + at_once]
        more = {} if presence is None else {"presence": presence[picked]}
        values = statistic(rates[:, picked], **more)  # (S, replicates, ...)
        drawn = own[first : first + at_once]
        draws.append(iqm(values[drawn.T, np.arange(len(drawn))]))
    return np.concatenate(draws)


def probability_of_improvement(first: np.ndarray, second: np.ndarray) -> float:
    """P(a random seed of the first scores above a random seed of the second), ties counted half: scores (S,) each."""
    larger = first[:, None] > second[None]
    equal = first[:, None] == second[None]
    return float((larger + 0.5 * equal).mean())


def quantiles(values: np.ndarray, num: int = 201) -> pd.DataFrame:
    """A CDF as `num` quantiles: columns probability, rate."""
    probability = np.linspace(0, 1, num)
    return pd.DataFrame({"probability": probability, "rate": np.quantile(values, probability)})
