"""From stored results to the tables of the study: scores per seed, their means with intervals, CDFs, curves.

Shapes: S training seeds, D evaluation deployments, J users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..agents.config import AgentConfig
from ..game import evaluation
from . import statistics
from .store import Result

SCORES: dict[str, Callable[..., np.ndarray]] = {  # rates (..., D, J) and presence -> (...)
    "sum_rate": evaluation.sum_rate,
    "tail_rate": evaluation.tail_rate,
    "score": evaluation.score,
}
Interval = tuple[float, float, float]  # value, low, high


class ScoreScale(NamedTuple):
    """The ends of the normalised score: the random walk is 0, the exhaustive oracle with λ = 1 is 100.

    That with the reward's λ = 0.8 maximises the reward, not R_score: rules with λ = 1 score above it.
    """

    random_walk: Result
    exhaustive: Result

    @classmethod
    def of(cls, results: Mapping[str, Result]) -> ScoreScale:
        """Those among the schedulers."""
        return cls(results["Random walk"], results["Exhaustive (λ = 1)"])


def experiment_table(agents: Mapping[str, AgentConfig], seeds: Sequence[int], log: str, **more: Any) -> pd.DataFrame:
    """What a notebook trains: one row per agent. It is made from the configurations alone, before anything is trained.

    Args:
        agents: configurations by method name.
        seeds: training seeds of each.
        log: name of the dataset that they learn from.
        more: further columns, or other values for a column.

    Returns:
        method, log, paradigm, mixer, backbone, penalty, gamma, alpha, learning_rate, updates (gradient steps), seeds
        (their number).
    """
    rows = []
    for method, agent in agents.items():
        facts: dict[str, Any] = {
            "method": method,
            "log": log,
            "paradigm": agent.paradigm,
            "mixer": "",
            "backbone": "",
            "penalty": "",
        }
        if agent.paradigm == "ctde" and not agent.clones:
            facts["mixer"] = agent.mixer
        # Behaviour cloning has no TD loss: no backbone, no discount, and its penalty needs no weight.
        facts |= {"penalty": agent.penalty, "gamma": "", "alpha": ""}
        if not agent.clones:
            facts |= {"backbone": agent.backbone, "gamma": agent.gamma, "alpha": agent.alpha}
        training = {"learning_rate": agent.learning_rate, "updates": agent.num_updates, "seeds": len(seeds)}
        rows.append(facts | training | more)
    return pd.DataFrame(rows)


def scores(rates: np.ndarray, presence: np.ndarray | None = None) -> dict[str, float]:
    """sum_rate, tail_rate and score of rates (D, J), with the users' presence (D, J) where they come and leave."""
    return dict(zip(SCORES, map(float, _together(rates, presence)), strict=True))


def seed_rows(results: Mapping[str, Result], seeds: Sequence[int], scale: ScoreScale, **condition: Any) -> pd.DataFrame:
    """The tidy table: one row per method and training seed, `seed` empty for schedulers; `run` names the stored run."""
    walk, oracle = (scores(end.rates[0])["score"] for end in scale)
    rows = []
    for method, result in results.items():
        for k, rates in enumerate(result.rates):
            values = scores(rates)
            values["normalised_score"] = float(statistics.normalised(values["score"], walk, oracle))
            seed = seeds[k] if _is_trained(result) else None
            rows.append({"method": method, "seed": seed, **condition, **values, "run": result.folder.name})
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def summary(results: Mapping[str, Result], scale: ScoreScale, reference: str | None = None) -> pd.DataFrame:
    """Interquartile means over seeds with 95% intervals of the three scores and of the normalised score, and the paired
    ratio of the score to a reference method: columns method, seeds, <name>, <name>_low, <name>_high."""

    def with_interval(name: str, value: Any, draws: np.ndarray, seeds: int) -> dict[str, float]:
        return columns(name, (float(value), *statistics.interval(draws, seeds)))

    # One resampling for all scores of a method, the same deployments for all methods: paired.
    walk, oracle = (_draws(end)[..., -1] for end in scale)
    zero, hundred = (float(_means(end)[-1]) for end in scale)
    values = {method: _means(result) for method, result in results.items()}
    draws = {method: _draws(result) for method, result in results.items()}
    rows = []
    for method, result in results.items():
        seeds = len(result.rates)
        row: dict[str, Any] = {"method": method, "seeds": seeds if _is_trained(result) else 0}
        for k, name in enumerate(SCORES):
            row |= with_interval(name, values[method][k], draws[method][..., k], seeds)
        share = 100 * (draws[method][..., -1] - walk) / (oracle - walk)
        row |= with_interval("normalised_score", statistics.normalised(values[method][-1], zero, hundred), share, seeds)
        if reference:
            ratio = draws[method][..., -1] / draws[reference][..., -1]
            fewest = _fewest_seeds(result, results[reference])
            row |= with_interval("ratio", values[method][-1] / values[reference][-1], ratio, fewest)
        rows.append(row)
    return pd.DataFrame(rows)


def _is_trained(result: Result) -> bool:
    return len(result.rates) > 1 or bool(result.policies)


def _together(rates: np.ndarray, presence: np.ndarray | None = None) -> np.ndarray:
    return np.stack([statistic(rates, presence=presence) for statistic in SCORES.values()], -1)


def _means(result: Result) -> np.ndarray:
    return statistics.iqm(_together(result.rates, result.presence))


def _draws(result: Result) -> np.ndarray:
    """Bootstrap draws (2, replicates, 3) of the three scores; a stored run is resampled once."""
    if result.folder not in _DRAWN:
        _DRAWN[result.folder] = statistics.bootstrap(statistics.contributions(result.rates, result.presence))
    return _DRAWN[result.folder]


_DRAWN: dict[Path, np.ndarray] = {}


def scored(result: Result, name: str = "score") -> Interval:
    """One of the scores: interquartile mean over seeds and its 95% interval (value, low, high)."""
    k = list(SCORES).index(name)
    return float(_means(result)[k]), *statistics.interval(_draws(result)[..., k], len(result.rates))


def paired(first: Result, second: Result, name: str = "score", kind: str = "difference") -> Interval:
    """Difference or ratio of one of the scores of two runs on the same deployments: (value, low, high).

    Args:
        first, second: the runs; the value is first - second or first / second.
        name: one of `SCORES`.
        kind: "difference" or "ratio".

    Raises:
        ValueError: another score or kind, or deployments or users that are not the same in number.
    """
    for what, given, allowed in (("name", name, tuple(SCORES)), ("kind", kind, ("difference", "ratio"))):
        if given not in allowed:
            raise ValueError(f"{what} = {given!r}: must be one of {', '.join(allowed)}")
    if first.rates.shape[1:] != second.rates.shape[1:]:
        raise ValueError(
            f"rates of shape {first.rates.shape} and {second.rates.shape}: not the same deployments and users"
        )
    k, combine = list(SCORES).index(name), np.subtract if kind == "difference" else np.divide
    value = float(combine(_means(first)[k], _means(second)[k]))
    draws = combine(_draws(first)[..., k], _draws(second)[..., k])
    return value, *statistics.interval(draws, _fewest_seeds(first, second))


def paired_over_logs(
    first: Sequence[Result], second: Sequence[Result], name: str = "score", kind: str = "difference"
) -> Interval:
    """The same with the log as the unit: learned from several logs, the mean over the seeds of each.

    The interval is over logs × deployments: how results vary from log to log is in it.

    Args:
        first, second: a run for each log, in the same order; or a single one that needs no log, such as a scheduler.
        name, kind: as for `paired`.
    """
    k, combine = list(SCORES).index(name), np.subtract if kind == "difference" else np.divide
    values = [
        np.stack(
            [statistics.contributions(result.rates, result.presence)[..., k].mean(0) for result in results]
        )  # (logs, D)
        for results in (first, second)
    ]
    value = float(combine(*(statistics.iqm(each.mean(1)) for each in values)))
    draws = combine(*(statistics.bootstrap(each) for each in values))
    return value, *statistics.interval(draws, len(first))


def _fewest_seeds(*results: Result) -> int:
    """The number of seeds that limits how well a comparison is known; a scheduler has none to draw from."""
    return min((len(result.rates) for result in results if len(result.rates) > 1), default=1)


def seeds_interval(values: np.ndarray, replicates: int = 2000) -> Interval:
    """Interquartile mean over seeds of one number each (S,), and its 95% interval (seeds resampled)."""
    draws = statistics.bootstrap(values[:, None], replicates)
    return float(statistics.iqm(values)), *statistics.interval(draws, len(values))


def format_interval(interval: Interval, digits: int = 3) -> str:
    """An interval as it stands in texts and tables: value [low, high]."""
    return "{:z.{d}f} [{:z.{d}f}, {:z.{d}f}]".format(*interval, d=digits)


def interval_columns(name: str) -> list[str]:
    """Names of the columns of an interval: <name>, <name>_low, <name>_high."""
    return [name, f"{name}_low", f"{name}_high"]


def columns(name: str, interval: Interval) -> dict[str, float]:
    """An interval as its `interval_columns` of a row."""
    return dict(zip(interval_columns(name), interval, strict=True))


def interval_at(row: pd.Series, name: str) -> Interval:
    """The interval that `columns` put into a row."""
    return tuple(row[interval_columns(name)])


def by_condition(
    results: Mapping[Any, Mapping[str, Result]], name: str, rows: Callable[[Mapping[str, Result]], pd.DataFrame]
) -> pd.DataFrame:
    """The rows of each condition's results one under the other, with the condition in the column `name`."""
    return pd.concat([rows(part).assign(**{name: value}) for value, part in results.items()], ignore_index=True)


def condition_rows(entries: Sequence[tuple[dict[str, Any], Result]]) -> pd.DataFrame:
    """One row per training seed of results in several conditions: what is said of each, seed (empty for schedulers),
    sum_rate, tail_rate, score, run.

    Args:
        entries: what is said of a result, such as its method and condition, and the result.
    """
    rows = []
    for facts, result in entries:
        for k, rates in enumerate(result.rates):
            seed = k if _is_trained(result) else None
            rows.append(facts | {"seed": seed, **scores(rates, result.presence), "run": result.folder.name})
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def condition_summary(entries: Sequence[tuple[dict[str, Any], Result]]) -> pd.DataFrame:
    """The same over seeds: seeds (0 for schedulers), and each score with its 95% interval."""
    rows = []
    for facts, result in entries:
        row = facts | {"seeds": len(result.rates) if _is_trained(result) else 0}
        for name in SCORES:
            row |= columns(name, scored(result, name))
        rows.append(row)
    return pd.DataFrame(rows)


def user_rate_cdf(results: Mapping[str, Result]) -> pd.DataFrame:
    """201 quantiles of all users' mean rates of each method, pooled over seeds and deployments."""
    return pd.concat(
        [statistics.quantiles(result.rates.ravel()).assign(method=method) for method, result in results.items()],
        ignore_index=True,
    )


def curves(results: Mapping[str, Result], x: str, column: str) -> pd.DataFrame:
    """A history column over training: interquartile mean over seeds and the 95% interval of it (seeds resampled).

    Besides the columns of `Policy.history` there is "q_gap", the greedy minus the logged joint action's value.
    """
    parts = []
    for method, result in results.items():
        histories = [p.history | {"q_gap": p.history["q_greedy"] - p.history["q_data"]} for p in result.policies]
        if column not in histories[0]:
            continue
        values = np.stack([history[column] for history in histories])  # (S, points)
        bands = pd.DataFrame([seeds_interval(point, 500) for point in values.T], columns=interval_columns(column))
        parts.append(bands.assign(**{x: histories[0][x], "method": method, "seeds": len(values)}))
    return pd.concat(parts, ignore_index=True)
