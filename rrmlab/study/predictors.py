"""How well a number that is known of a network beforehand says how well a method does there."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import spearmanr

from . import statistics
from .tables import Interval, columns


def crossing(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """The x beyond which y falls below the level, over points (P,): where the best decreasing fit, straight between the
    points, meets it. The smallest x if all of the fit lies below the level, the largest if none does.

    Source: isotonic regression by least squares (Barlow et al. 1972).
    """
    order = np.argsort(x, kind="stable")
    x, fit = x[order], isotonic_regression(y[order], increasing=False).x
    # From the right, the fit rises; beyond its ends `interp` gives that of the end.
    return float(np.interp(level, fit[::-1], x[::-1]))


def predictor_row(
    name: str, x: np.ndarray, y: np.ndarray, x_draws: np.ndarray, y_draws: np.ndarray, level: float, seeds: int
) -> tuple[dict[str, Any], np.ndarray]:
    """What x says of y over points: columns predictor, `crossing` and rank correlation with 95% intervals; and the
    draws of the latter.

    Args:
        name: of x.
        x, y: (P,).
        x_draws, y_draws: draws of `statistics.bootstrap` (2, replicates, P) of both.
        level: of y.
        seeds: of y, for `statistics.interval`.
    """
    found = [
        (crossing(a, b, level), spearmanr(a, b).statistic)
        for a, b in zip(x_draws.reshape(-1, len(x)), y_draws.reshape(-1, len(x)), strict=True)
    ]
    crossed, ranks = np.array(found).T.reshape(2, *x_draws.shape[:2])
    at: Interval = crossing(x, y, level), *statistics.interval(crossed, seeds)
    rank: Interval = float(spearmanr(x, y).statistic), *statistics.interval(ranks, seeds)
    return {"predictor": name} | columns("threshold", at) | columns("rank", rank), ranks
