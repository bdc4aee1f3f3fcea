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


def bootstrap(rates: np.ndarray, statistic: Statistic, replicates: int = 1000, seed: int = 0) -> np.ndarray:
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
        values = statistic(rates[:, common[first : first + at_once]])  # (S, replicates, ...)
        drawn = own[first : first + at_once]
        draws.append(iqm(values[drawn.T, np.arange(len(drawn))]))
    return np.concatenate(draws)


def t_interval(values: np.ndarray, draws: np.ndarray | None = None) -> tuple[float, float, float]:
    """Mean of few units, and its 95% interval by Student's t, which covers few units as a bootstrap does not.

    Args:
        values: (L,), one of each unit, such as of a log drawn anew; at least 2.
        draws: bootstrap draws of the mean over what all units share, such as deployments: adds its spread.
    """
    mean, num = float(np.mean(values)), len(values)
    half = stats.t.ppf(0.975, num - 1) * np.std(values, ddof=1) / np.sqrt(num)
    if draws is not None:
        half = np.hypot(half, stats.norm.ppf(0.975) * np.std(draws, ddof=1))
    return mean, mean - float(half), mean + float(half)


def spread_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Standard deviation over few units (L,), and its two one-sided 95% limits for normal values, by chi squared."""
    spread, left = float(np.std(values, ddof=1)), len(values) - 1
    low, high = (spread * float(np.sqrt(left / stats.chi2.ppf(level, left))) for level in (0.95, 0.05))
    return spread, low, high


def rank_correlation(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray, replicates: int = 1000
) -> tuple[float, float, float]:
    """Spearman's rank correlation of two measures (n,), and its 95% interval with whole groups (n,) resampled: values
    of one group, such as sizes of one log, are not independent. NaN where a measure is the same everywhere."""
    names, rng = np.unique(groups), np.random.default_rng(0)
    members = [np.flatnonzero(groups == name) for name in names]
    draws = []
    with np.errstate(invalid="ignore"):
        for _ in range(replicates):
            rows = np.concatenate([members[k] for k in rng.integers(len(names), size=len(names))])
            draws.append(_spearman(first[rows], second[rows]))
        low, high = np.nanquantile(draws, [0.025, 0.975])
        return _spearman(first, second), float(low), float(high)


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(stats.rankdata(first), stats.rankdata(second))[0, 1])


def probability_of_improvement(first: np.ndarray, second: np.ndarray) -> float:
    """P(a random seed of the first scores above a random seed of the second), ties counted half: scores (S,) each."""
    larger = first[:, None] > second[None]
    equal = first[:, None] == second[None]
    return float((larger + 0.5 * equal).mean())


def quantiles(values: np.ndarray, num: int = 201) -> pd.DataFrame:
    """A CDF as `num` quantiles: columns probability, rate."""
    probability = np.linspace(0, 1, num)
    return pd.DataFrame({"probability": probability, "rate": np.quantile(values, probability)})
