"""Tuning: the grids, the trials on validation deployments, and what they chose for each learner."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ..agents.config import AgentConfig, method_name
from ..agents.paradigms import PARADIGMS
from ..checks import several
from ..config import NetworkConfig
from ..game.behaviours import Scheduler
from ..game.deployment import Deployment
from ..game.evaluation import evaluate_all
from ..game.link_schedulers import BestSubset, GreedyMarginal, ITLinQ
from ..game.schedulers import Threshold
from ..storage import verify
from .jobs import OfflineJob, OnlineJob, run_jobs
from .notebook import Study
from .scoring import Scoring
from .store import read_table, stored
from .tables import SCORES, scores


def tune_scheduler(
    scheduler: Callable[..., Scheduler],
    grid: Mapping[str, Sequence[float]],
    config: NetworkConfig,
    num_episodes: int | None = None,
    seed: int = 0,
    deployments: Deployment | None = None,
) -> list[dict[str, float]]:
    """R_score of a scheduler over a grid of its arguments on validation deployments, or on given ones, best first.

    Args:
        scheduler: its class, such as `ITLinQ`.
        grid: the values of each of its arguments by name; an empty list of values gives an empty result.
        config, num_episodes, seed, deployments: those of `evaluate`.

    Returns:
        one dict per point: its arguments, sum_rate, tail_rate, score.

    Raises:
        ValueError: values that the scheduler refuses, or what `evaluate` does.
    """
    tried = points({name: several(name, values) for name, values in grid.items()})
    rules = [scheduler(**point) for point in tried]
    scored = evaluate_all(rules, config, num_episodes, seed, "validation", deployments=deployments) if rules else []
    rows = [
        point | dict(sum_rate=found.sum_rate, tail_rate=found.tail_rate, score=found.score)
        for point, found in zip(tried, scored, strict=True)
    ]
    return sorted(rows, key=lambda row: -row["score"])


# The tuning grids of the schedulers, `study`, and the best points of them at the `paper` preset.
ITLINQ_GRID = {"m_db": (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0, 25.0), "eta": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)}
ITLINQ_TUNED = {"m_db": 10.0, "eta": 0.2}  # figures/tables/02_baselines_itlinq.csv
# As many points as ITLinQ has. a = 1: the user is that of the first slot; on validation, 1 to 2 score alike to 0.02.
THRESHOLD_GRID = {"a": (1.0,), "b": (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0), "c": (4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0)}
THRESHOLD_TUNED = {"a": 1.0, "b": 0.7, "c": 4.5}  # figures/tables/02_baselines_threshold.csv
THRESHOLD_ONE_TUNED = {"a": 1.0, "b": 1.0, "c": 6.5}  # of the same table, the best point with b = 1
# One exponent for greedy marginal and the best subset, by the mean of both; figures/tables/02_baselines_lam.csv.
LAM_GRID = {"lam": (0.8, 0.9, 1.0)}
LAM_TUNED = {"lam": 1.0}
# What the tuning chose, `study`: the best mean R_score of twelve trials on validation deployments, for every method
# that learns; recorded in figures/tables/03_datasets_tuning.csv and 04_training_paradigms_tuning.csv.
TUNING_GRID: dict[str, tuple[Any, ...]] = {"gamma": (0.0, 0.5, 0.9), "alpha": (0.1, 1.0), "learning_rate": (1e-3, 4e-3)}
TUNED: dict[tuple[Any, ...], dict[str, Any]] = {  # by paradigm, backbone and, where it is not the sum, mixer
    ("centralized", "sac"): {"gamma": 0.0, "alpha": 0.1, "learning_rate": 4e-3},
    ("centralized", "dqn"): {"gamma": 0.0, "alpha": 0.1, "learning_rate": 4e-3},
    ("independent", "sac"): {"gamma": 0.5, "alpha": 0.1, "learning_rate": 4e-3},
    ("independent", "dqn"): {"gamma": 0.0, "alpha": 0.1, "learning_rate": 1e-3},
    ("ctde", "sac"): {"gamma": 0.5, "alpha": 0.1, "learning_rate": 1e-3},
    ("ctde", "dqn"): {"gamma": 0.9, "alpha": 1.0, "learning_rate": 4e-3},
    ("ctde", "sac", "qmix"): {"gamma": 0.0, "alpha": 1.0, "learning_rate": 4e-3},
    ("ctde", "dqn", "qmix"): {"gamma": 0.0, "alpha": 1.0, "learning_rate": 4e-3},
}
# Small networks and few updates want larger steps: as many points, figures/tables/14_agents_that_talk_tuning.csv.
GRAPH_GRID: dict[str, tuple[Any, ...]] = TUNING_GRID | {"learning_rate": (4e-3, 1e-2)}
# Its trials with gamma 0 and 0.5 differ by as little as seeds do; taken is a point with gamma = 0, whose updates take a
# third of the time.
GRAPH_TUNED: dict[str, Any] = {"gamma": 0.0, "alpha": 0.1, "learning_rate": 1e-2}
# What it costs, and lambda of its decisions as the rules with gains have it, `study`.
GRAPH_FIXED: dict[str, Any] = {"batch_size": 128, "hidden": (32, 32), **LAM_TUNED}
BC_GRID: dict[str, tuple[Any, ...]] = {
    "learning_rate": (5e-4, 1e-3, 2e-3, 4e-3),
    "hidden": ((32, 32), (64, 64), (128, 128)),
}
BC_TUNED: dict[str, Any] = {"learning_rate": 1e-3, "hidden": (32, 32)}
ONLINE_GRID: dict[str, dict[str, tuple[Any, ...]]] = {
    "sac": {"gamma": (0.0, 0.5, 0.9), "learning_rate": (1e-3, 4e-3), "temperature": (0.1, 0.03)},
    "dqn": {"gamma": (0.0, 0.5, 0.9), "learning_rate": (1e-3, 4e-3), "td_loss": ("mse", "huber")},
}
ONLINE_TUNED: dict[str, dict[str, Any]] = {
    "sac": {"gamma": 0.5, "learning_rate": 4e-3, "temperature": 0.1},
    "dqn": {"gamma": 0.5, "learning_rate": 4e-3, "td_loss": "mse"},
}
TRIAL_COLUMNS = ("paradigm", "mixer", "backbone", "gamma", "alpha", "learning_rate", "temperature", "td_loss", "hidden")
# One change at a time of what a training costs, `study`; recorded in figures/tables/04_training_paradigms_budget.csv.
BUDGETS: tuple[dict[str, Any], ...] = (
    {},
    {"num_updates": 0.5},  # times the default
    {"num_updates": 2},
    {"learning_rate": 8e-3},  # 1e-3 and 4e-3 are in the grid of the tuning trials
    {"hidden": (32, 32)},
    {"hidden": (128, 128)},
    {"batch_size": 128},
)


def offline_agents(num_updates: int) -> dict[str, AgentConfig]:
    """Behaviour cloning and the three paradigms with both backbones, with the hyper-parameters that the tuning chose.

    Args:
        num_updates: gradient steps of a training.

    Returns:
        the configurations by method name, such as "CTDE-MARL-CQL (DQN)".
    """
    agents = [AgentConfig.behaviour_cloning(**BC_TUNED, num_updates=num_updates)]
    agents += [replace(AgentConfig(*point, **choice), num_updates=num_updates) for point, choice in TUNED.items()]
    return {method_name(agent): agent for agent in agents}


def graph_agent(num_updates: int, **changes: Any) -> AgentConfig:
    """The agent whose APs exchange messages, as the tuning chose it, but for `changes`."""
    return AgentConfig.graph(**(GRAPH_FIXED | GRAPH_TUNED | {"num_updates": num_updates} | changes))


def online_agents(paradigms: Sequence[str] = ("ctde",)) -> dict[str, AgentConfig]:
    """Agents that are trained online (alpha = 0) with both backbones, with the hyper-parameters that the tuning chose.

    Returns:
        the configurations by method name, such as "Online SAC".
    """
    agents = [
        AgentConfig(paradigm, backbone, alpha=0.0, **choice)
        for paradigm, (backbone, choice) in itertools.product(paradigms, ONLINE_TUNED.items())
    ]
    return {method_name(agent, online=True): agent for agent in agents}


def itlinq_surface(study: Study) -> pd.DataFrame:
    """R_score of ITLinQ over the grid of (M, eta) on validation deployments: m_db, eta, sum_rate, tail_rate, score."""
    return _surface(study, ITLinQ, ITLINQ_GRID)


def threshold_surface(study: Study) -> pd.DataFrame:
    """The same of the threshold rule over its grid: a, b, c, sum_rate, tail_rate, score."""
    return _surface(study, Threshold, THRESHOLD_GRID)


def lam_surface(study: Study) -> pd.DataFrame:
    """The same of the rules with an exponent of the weights, over that: method, lam, sum_rate, tail_rate, score."""
    rules = (GreedyMarginal, BestSubset)
    parts = [_surface(study, rule, LAM_GRID).assign(method=rule.name) for rule in rules]
    return pd.concat(parts, ignore_index=True)[["method", "lam", *SCORES]]


def best_point(surface: pd.DataFrame) -> dict[str, float]:
    """The arguments of the scheduler at the best point of its surface."""
    best = surface.loc[surface.score.idxmax()]
    return {name: float(best[name]) for name in surface.columns if name not in SCORES}


def tuned_schedulers(itlinq: pd.DataFrame, threshold: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Short names and arguments of the tuned schedulers by the names of their methods.

    Args:
        itlinq, threshold: `itlinq_surface` and `threshold_surface`.
    """
    return {
        "ITLinQ (tuned)": {"name": "itlinq", **best_point(itlinq)},
        "Threshold": {"name": "threshold", **best_point(threshold)},
        "Threshold (one parameter)": {"name": "threshold", **best_point(threshold[threshold.b == 1])},
    }


def _surface(study: Study, scheduler: type[Scheduler], grid: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    scoring = study.tuning

    def build(folder: Path) -> None:
        rows = tune_scheduler(scheduler, grid, scoring.network, scoring.episodes, scoring.seed)
        pd.DataFrame(rows).to_csv(folder / "surface.csv", index=False)

    spec = {"tuning": scheduler.name, "grid": grid, "scoring": scoring.to_dict()}
    folder = verify(stored(study.data, "schedulers", spec, [tune_scheduler, Scoring, scheduler], build), "surface.csv")
    return read_table(folder / "surface.csv")


def trials(study: Study, data: Path) -> pd.DataFrame:
    """The tuning of what learns from a log: the twelve points of its grid for each learner, scored on validation.

    Returns:
        One row per method, trial and seed: the point, sum_rate, tail_rate, score, training_s.
    """
    agents = [AgentConfig(*learner, **point) for learner in TUNED for point in points(TUNING_GRID)]
    agents += [AgentConfig.behaviour_cloning(**point) for point in points(BC_GRID)]
    agents = [replace(agent, num_updates=study.sizes.tuning_updates) for agent in agents]
    return _trial_rows(study, {agent: _trial(study, data, agent) for agent in agents}, TRIAL_COLUMNS)


def graph_trials(study: Study, data: Path, grid: Mapping[str, Sequence[Any]] = GRAPH_GRID) -> pd.DataFrame:
    """The tuning of the agent whose APs exchange messages, from a log with neighbours: the points of `grid`,
    twelve too if it is left out."""
    network = replace(study.tuning.network, observation="neighbours")
    scoring = replace(study.tuning, network=network)
    jobs = {}
    for point in points(grid):
        agent = graph_agent(study.sizes.tuning_updates, **point)
        jobs[agent] = OfflineJob(data, agent, _tuning_seeds(study), scoring, device=study.device)
    return _trial_rows(study, jobs, TRIAL_COLUMNS)


def online_trials(study: Study) -> pd.DataFrame:
    """The tuning of the online agents (CTDE), likewise; a quarter of the transitions."""
    network = study.network
    jobs = {}
    for backbone, grid in ONLINE_GRID.items():
        for point in points(grid):
            agent = AgentConfig(backbone=backbone, alpha=0.0, **point)
            jobs[agent] = OnlineJob(
                network, agent, _tuning_seeds(study), study.tuning, study.sizes.transitions // 2, study.sizes.envs
            )
    return _trial_rows(study, jobs, TRIAL_COLUMNS)


def points(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All points of a grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def thinned(grid: Mapping[str, Sequence[Any]], each: int) -> dict[str, Sequence[Any]]:
    """The grid with every `each`-th of the values of each parameter."""
    return {name: values[::each] for name, values in grid.items()}


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """The best trial of each method by the mean score over its seeds: a row each, without what its grid leaves open."""
    means = table.groupby(["method", "trial"], sort=False).score.mean()
    best = table.set_index(["method", "trial"]).loc[means.groupby("method", sort=False).idxmax()]
    columns = ["gamma", "alpha", "learning_rate", "temperature", "td_loss", "hidden"]
    return best[~best.index.duplicated()][columns].assign(score=means).reset_index()


def budget_trials(study: Study, data: Path) -> pd.DataFrame:
    """What training costs and brings: the SAC learners with every change of BUDGETS, scored on validation; one row per
    trial and seed, with `training_s`, seconds of one core per seed."""
    jobs = {}
    usual = {(a.paradigm, a.backbone, a.mixer): a for a in offline_agents(study.sizes.updates).values() if not a.clones}
    for paradigm, change in itertools.product(PARADIGMS, BUDGETS):
        agent = usual[paradigm, "sac", "sum"]
        updates = round(change.get("num_updates", 1) * agent.num_updates)
        agent = replace(agent, **(change | {"num_updates": updates}))
        jobs[agent] = _trial(study, data, agent)
    return _trial_rows(study, jobs, ("paradigm", "num_updates", "learning_rate", "hidden", "batch_size"))


def _tuning_seeds(study: Study) -> tuple[int, ...]:
    return study.seeds[: study.sizes.tuning_seeds]


def _trial(study: Study, data: Path, agent: AgentConfig) -> OfflineJob:
    return OfflineJob(data, agent, _tuning_seeds(study), study.tuning, device=study.device)


def _trial_rows(study: Study, jobs: dict[Any, Any], columns: tuple[str, ...]) -> pd.DataFrame:
    rows, count = [], Counter[str]()
    for job, result in zip(jobs.values(), run_jobs(study.data, jobs).values(), strict=True):
        method = method_name(job.agent, online=isinstance(job, OnlineJob))
        point = {name: getattr(job.agent, name) for name in columns}
        seconds = result.seconds / len(job.seeds)
        for seed, rates in zip(job.seeds, result.rates, strict=True):
            facts = {"method": method, "trial": count[method], "seed": seed, **point, **scores(rates)}
            rows.append(facts | {"training_s": seconds, "run": result.folder.name})
        count[method] += 1
    return pd.DataFrame(rows)
