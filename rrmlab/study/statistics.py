"""Scores of the paper, and the statistics with which this study reports them.

Shapes: D evaluation deployments (episodes), J users, S training seeds. Pure functions of NumPy arrays.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from ..config import NetworkConfig
from ..game import evaluation

SLOPE = 2.0  # percent on each side over which the slope of the quantile function is measured, `study`


def iqm(values: np.ndarray) -> np.ndarray:
    """Interquartile mean over the first axis: without the floor(S / 4) values at each end; (S, ...) -> (...)."""
    return stats.trim_mean(np.asarray(values, dtype=float), 0.25, axis=0)


def normalised(value: float | np.ndarray, random_walk: float, oracle: float) -> float | np.ndarray:
    """Score on the scale on which the random walk is 0 and the exhaustive oracle 100."""
    return 100 * (value - random_walk) / (oracle - random_walk)


def interval(draws: np.ndarray, seeds: int = 1, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap draws, widened by Student's t for the few seeds that one level was drawn from.

    The seeds' part w of the variance has S - 1 degrees of freedom, the deployments' part as good as infinitely many, so
    that the sum has (S - 1) / w^2 (Welch 1938, Satterthwaite 1946). Distances from the median are widened by the ratio
    of the quantiles of t and of the normal distribution. How often it covers: `tests/test_intervals.py`.

    Args:
        draws: (2, replicates) with the seeds kept and with both levels resampled, as `bootstrap` returns.
        seeds: S, of the method that has the fewest, schedulers apart; 1 if there are only schedulers.
        level: of confidence.
    """
    kept, both = draws
    ends = (1 - level) / 2, (1 + level) / 2
    by_seeds = np.var(both - kept)
    share = by_seeds / (by_seeds + np.var(kept)) if by_seeds else 0.0
    freedom = (seeds - 1) / share**2 if share else np.inf
    wider = stats.t.ppf(ends[1], freedom) / stats.norm.ppf(ends[1])
    middle = np.median(both)
    low, high = middle + wider * (np.quantile(both, ends) - middle)
    return float(low), float(high)


def contributions(rates: np.ndarray, presence: np.ndarray | None = None) -> np.ndarray:
    """What each deployment contributes to sum_rate, tail_rate and score: rates (..., D, J) -> (..., D, 3).

    The mean over deployments is the score. A percentile is no mean of deployments, so it is linearised: by the share of
    a deployment's users that lie below it, times the slope of the quantile function (Woodruff 1952, Siddiqui 1960).
    The bootstrap of the percentile itself makes paired differences too wide. Where users come and leave, with the
    `presence` (D, J) of `evaluation.score`, a ratio to their number is linearised in the same way.
    """
    percent = evaluation.TAIL_PERCENTILE
    counted, present, quantile = np.ones(rates.shape[-2:], bool), np.ones(rates.shape[-2:]), np.percentile
    if presence is not None:
        counted, present, quantile = presence >= evaluation.LEAST_PRESENCE, presence, np.nanpercentile
    pooled = np.where(counted, rates, np.nan).reshape(*rates.shape[:-2], -1)
    tail, low, high = quantile(pooled, [percent, percent - SLOPE, percent + SLOPE], axis=-1)
    number, below = counted.sum(-1), ((rates <= tail[..., None, None]) & counted).sum(-1)  # (D,), (..., D)
    slope = (high - low) / (2 * SLOPE / 100)
    fewer = below.sum(-1, keepdims=True) / number.sum() * number - below
    tails = tail[..., None] + slope[..., None] * fewer / number.mean()
    sums, users = (rates * present).sum(-1), present.sum(-1)
    means = sums / users.mean() - sums.mean(-1, keepdims=True) * (users / users.mean() - 1) / users.mean()
    return np.stack([sums, tails, means + NetworkConfig().tail_weight * tails], -1)


def bootstrap(values: np.ndarray, replicates: int = 1000, seed: int = 0) -> np.ndarray:
    """Bootstrap draws of the interquartile mean over training seeds of a mean over deployments.

    Both levels are resampled with replacement, each with the other kept, and what they change is added: the D
    deployments, which all seeds share, and the S seeds. A scheduler is S = 1: then only deployments vary. The
    deployments drawn depend on `seed` and D alone, so draws of two methods scored on the same deployments are paired:
    subtract or divide them draw by draw. With as many seeds they share those drawn too. Seeds differ in part because
    each meets the deployments by chance in another way; that part is in both levels, and is counted once.

    Args:
        values: (S, D, ...) such as `contributions`.
        replicates: number of draws.
        seed: of the resampling.

    Returns:
        (2, replicates, ...): draws with the seeds kept, and with both levels resampled; `interval` needs both.
    """
    seeds, deployments = values.shape[:2]
    common = np.random.default_rng([seed, deployments]).integers(deployments, size=(replicates, deployments))
    own = np.random.default_rng([seed, deployments, seeds]).integers(seeds, size=(replicates, seeds))
    times = np.stack([np.bincount(drawn, minlength=deployments) for drawn in common]) / deployments
    kept = iqm(np.einsum("rd,sd...->sr...", times, values))
    return np.stack([kept, kept + _seed_changes(values, own)])


def _seed_changes(values: np.ndarray, own: np.ndarray) -> np.ndarray:
    """What drawing the seeds changes of the interquartile mean: values (S, D, ...), own (replicates, S) ->
    (replicates, ...)."""
    seeds, deployments = values.shape[:2]
    means = values.mean(1)
    if seeds == 1:
        return np.zeros((len(own), *means.shape[1:]))
    changes = iqm(means[own.T]) - iqm(means)
    # The bootstrap of a plain mean is narrow by sqrt((S - 1) / S). From four seeds on ends are trimmed: it is not.
    if seeds < 4:
        changes *= np.sqrt(seeds / (seeds - 1))
    rest = values - means[:, None] - values.mean(0) + values.mean((0, 1))
    by_chance = (rest**2).sum((0, 1)) / ((seeds - 1) * max(deployments - 1, 1) * deployments)
    between = means.var(0, ddof=1)
    share = np.divide(by_chance, between, out=np.zeros_like(between), where=between > 0)
    share *= max(seeds - 3, 0) / (seeds - 1)  # unbiased, as the mean of 1 / chi^2 is 1 / (S - 3)
    return changes * np.sqrt(np.clip(1 - share, 0, 1))


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
