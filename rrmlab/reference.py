"""What every learner of the study learns from and is compared with.

The datasets and the online agents behind them, the schedulers, a tuned one, the oracles; what each method must know;
and the hyper-parameters that were chosen for each learner.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from .agents.learner import AgentConfig
from .agents.paradigms import PARADIGMS
from .agents.policy import method_name
from .config import NetworkConfig
from .datasets import collect, join, load_dataset
from .limits import observed_oracle
from .results import Result, read_result, score_result, stored
from .rollout import evaluate, tune_itlinq
from .schedulers import Behaviour, Mixture, Scheduler, make_scheduler
from .storage import SUMS, read_table, sha256
from .study import Study
from .sweep import OfflineJob, OnlineJob, run_jobs, score_scheduler
from .tables import scores

LINEAGE_BASELINES = ("Random walk", "TDM", "Full reuse", "ITLinQ")  # as the paper's lineage sets them
ITLINQ_M_DB = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0, 25.0)  # the tuning grid, `study`
ITLINQ_ETA = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # likewise
ITLINQ_TUNED = (10.0, 0.2)  # the best point of that grid at the `paper` preset (figures/tables/02_baselines_itlinq.csv)
CURVE_POINTS = 10  # evaluations along a training, `study`

# What the tuning chose, `study`: the best mean R_score of twelve trials on validation deployments, for every method
# that learns; recorded in figures/tables/03_datasets_tuning.csv and 04_training_paradigms_tuning.csv.
TUNING_GRID: dict[str, tuple[Any, ...]] = {"gamma": (0.0, 0.5, 0.9), "alpha": (0.1, 1.0), "learning_rate": (1e-3, 4e-3)}
TUNED: dict[tuple[str, str], dict[str, Any]] = {
    ("centralized", "sac"): {"gamma": 0.0, "alpha": 0.1, "learning_rate": 4e-3},
    ("centralized", "dqn"): {"gamma": 0.0, "alpha": 0.1, "learning_rate": 4e-3},
    ("independent", "sac"): {"gamma": 0.5, "alpha": 0.1, "learning_rate": 4e-3},
    ("independent", "dqn"): {"gamma": 0.0, "alpha": 0.1, "learning_rate": 1e-3},
    ("ctde", "sac"): {"gamma": 0.5, "alpha": 0.1, "learning_rate": 1e-3},
    ("ctde", "dqn"): {"gamma": 0.9, "alpha": 1.0, "learning_rate": 4e-3},
}
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
TRIAL_COLUMNS = ("paradigm", "backbone", "gamma", "alpha", "learning_rate", "temperature", "td_loss", "hidden")

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


def itlinq_surface(study: Study) -> pd.DataFrame:
    """R_score of ITLinQ over the grid of (M, eta) on validation deployments: m_db, eta, sum_rate, tail_rate, score."""
    scoring = study.tuning

    def build(folder: Path) -> None:
        rows = tune_itlinq(scoring.network, ITLINQ_M_DB, ITLINQ_ETA, scoring.episodes, scoring.seed)
        pd.DataFrame(rows).to_csv(folder / "surface.csv", index=False)

    spec = {"itlinq": {"m_db": ITLINQ_M_DB, "eta": ITLINQ_ETA}, "scoring": scoring.to_dict()}
    return read_table(stored(study.data, "schedulers", spec, build) / "surface.csv")


def schedulers(study: Study, surface: pd.DataFrame | None = None) -> dict[str, Result]:
    """All schedulers and the exhaustive oracle, scored on the test deployments.

    Args:
        study: sizes and seeds.
        surface: `itlinq_surface`, computed if it is not given; its best point is "ITLinQ (tuned)".
    """
    surface = itlinq_surface(study) if surface is None else surface
    best = surface.loc[surface.score.idxmax()]
    specs: dict[str, dict[str, Any]] = {
        "Random walk": {"name": "random_walk"},
        "TDM": {"name": "tdm"},
        "Full reuse": {"name": "full_reuse"},
        "Max-SINR": {"name": "max_sinr"},
        "ITLinQ": {"name": "itlinq", "m_db": 25.0, "eta": 0.7},
        "ITLinQ (tuned)": {"name": "itlinq", "m_db": float(best.m_db), "eta": float(best.eta)},
        "Exhaustive": {"name": "exhaustive", "lam": study.network.lam},
    }
    return {method: score_scheduler(study.data, spec, study.scoring) for method, spec in specs.items()}


def observed_oracles(study: Study) -> dict[str, Result]:
    """The oracles restricted to the joint observation and to each AP's own, trained and scored."""
    results = {}
    for paradigm, scope in (("centralized", "joint"), ("ctde", "local")):
        spec = {"observed_oracle": paradigm, "steps": study.sizes.oracle_steps, "seed": study.seed}

        def build(folder: Path, paradigm: str = paradigm) -> None:
            start = time.perf_counter()
            oracle = observed_oracle(study.network, paradigm, study.sizes.oracle_steps, study.seed)
            scores = evaluate(oracle, *study.scoring.arguments)
            score_result(folder, [scores], time.perf_counter() - start)

        folder = stored(study.data, "schedulers", {**spec, "scoring": study.scoring.to_dict()}, build)
        results[f"Observed oracle ({scope})"] = read_result(folder)
    return results


def knowledge(network: NetworkConfig) -> pd.DataFrame:
    """What each method must know in a TTI, and how many numbers that moves.

    Columns: method; knows; reports, numbers that users send to their own AP; exchanged, numbers that travel between
    cells or to and from a controller. Own users' SINR is one number per user; weights are known where rates are made.
    """
    i, j, n = network.num_aps, network.num_users, network.top_n
    own = "own users' SINR and weight"
    rows = [
        ("Random walk", own, j, 0),
        ("TDM", "the common turn", 0, 0),
        ("Full reuse", own, j, 0),
        ("Max-SINR", "own users' SINR", j, 0),
        # Gains of the other APs to each chosen user, its own gain, its PF factor; back comes a decision per AP.
        ("ITLinQ", f"{own}; cross gains to the chosen users", j + i * (i - 1), i * i + 2 * i),
        ("Exhaustive", f"{own}; cross gains to all top-{n} users", j + i * n * (i - 1), i * i * n + i * n + i),
        ("Observed oracle (joint)", "everybody's top users' SINR and weight", j, 2 * n * i + i),
        ("Observed oracle (local)", own, j, 0),
        ("C-MARL-CQL", "everybody's top users' SINR and weight", j, 2 * n * i + i),
        ("I-MARL-CQL", own, j, 0),
        ("CTDE-MARL-CQL", own, j, 0),
    ]
    return pd.DataFrame(rows, columns=["method", "knows", "reports", "exchanged"])


def online_jobs(study: Study, paradigms: tuple[str, ...] = ("ctde",)) -> dict[str, OnlineJob]:
    """Online agents with both backbones, by method: CTDE with all seeds, a curve and logs (SAC: two), the others
    with the seeds of a sweep."""
    jobs = {}
    for paradigm, backbone in itertools.product(paradigms, ONLINE_TUNED):
        agent = AgentConfig(paradigm, backbone, alpha=0.0, **ONLINE_TUNED[backbone])
        full = OnlineJob(
            study.network, agent, study.seeds, study.scoring, 2 * study.sizes.transitions, study.sizes.envs,
            2 if backbone == "sac" else 1, study.curve, CURVE_POINTS, study.device,
        )  # fmt: skip
        less = replace(full, seeds=study.sweep_seeds, logs=0, curve=None)
        jobs[method_name(agent, online=True)] = full if paradigm == "ctde" else less
    return jobs


def online_agents(study: Study) -> tuple[dict[str, Result], dict[str, list[Path]]]:
    """The online CTDE agents by method, and their logs by backbone: of the first seed, which is the dataset of that
    name, and of the second one."""
    jobs = online_jobs(study)
    results = run_jobs(study.data, jobs)
    return results, {job.agent.backbone: job.datasets(results[method].folder) for method, job in jobs.items()}


def datasets(study: Study, logs: dict[str, list[Path]]) -> dict[str, Path]:
    """Folders of the four datasets by name: "sac" and "dqn" of the online agents' logs, "random" (a random walk) and
    "mixture" (random walk, full reuse, ITLinQ, one of them drawn in each TTI)."""
    folders = {backbone: paths[0] for backbone, paths in logs.items()}
    for name in ("random", "mixture"):
        folders[name] = collected(study, name, study.sizes.transitions)
    return folders


def behaviour(name: str) -> Scheduler:
    """The scheduler that writes the dataset "random", "full reuse" or "mixture"."""
    if name != "mixture":
        return make_scheduler({"random": "random_walk", "full reuse": "full_reuse"}[name])
    return Mixture([make_scheduler("random_walk", seed=1), make_scheduler("full_reuse"), make_scheduler("itlinq")])


def behaviours(study: Study, online: dict[str, Result]) -> dict[str, Result]:
    """What wrote the four datasets, scored on the test deployments: SAC's last policy as it acted, by sampling; DQN's
    without its exploration; the schedulers."""
    wrote: dict[str, tuple[Any, Behaviour]] = {}
    for name, method in (("sac", "Online SAC"), ("dqn", "Online DQN")):
        policy = online[method].policies[0]
        wrote[name] = sha256(online[method].folder / SUMS), policy.sampled() if name == "sac" else policy
    wrote |= {name: (behaviour(name).parameters(), behaviour(name)) for name in ("random", "mixture")}
    results = {}
    for name, (origin, writer) in wrote.items():

        def build(folder: Path, writer: Behaviour = writer) -> None:
            start = time.perf_counter()
            score_result(folder, [evaluate(writer, *study.scoring.arguments)], time.perf_counter() - start)

        spec = {"writer of": name, "policy": origin, "scoring": study.scoring.to_dict()}
        results[name] = read_result(stored(study.data, "schedulers", spec, build))
    return results


def collected(study: Study, name: str, size: int, writer: Scheduler | None = None) -> Path:
    """The folder of a dataset of a scheduler, by default `behaviour(name)`; collected if it is not there."""
    writer = writer or behaviour(name)
    spec = {
        "behaviour": {"name": name, **writer.parameters()},
        "network": study.network.to_dict(),
        "transitions": size,
        "seed": study.seed,
    }

    def build(folder: Path) -> None:
        collect(writer, study.network, size, study.seed).save(folder / f"{name}-v0")

    return stored(study.data, "datasets", spec, build) / f"{name}-v0"


def joined(study: Study, parts: Sequence[Path], size: int) -> Path:
    """The folder of a dataset of the first transitions of others in equal shares, `size` in all; made if it is not
    there. Whole runs of transitions, so that the file stays one of episodes."""
    spec = {"joined": [sha256(part / SUMS) for part in parts], "transitions": size}

    def build(folder: Path) -> None:
        shares = [load_dataset(part).select(torch.arange(size // len(parts))) for part in parts]
        names = [str(share.metadata.get("behaviour")) for share in shares]
        join(shares, {**shares[0].metadata, "behaviour": " + ".join(names)}).save(folder / "joined-v0")

    return stored(study.data, "datasets", spec, build) / "joined-v0"


def trials(study: Study, data: Path) -> pd.DataFrame:
    """The tuning of what learns from a log: the twelve points of its grid for each learner, scored on validation.

    Returns:
        One row per method, trial and seed: the point, sum_rate, tail_rate, score, training_s.
    """
    learners = [(paradigm, backbone, TUNING_GRID) for paradigm, backbone in TUNED] + [("ctde", "bc", BC_GRID)]
    agents = [
        AgentConfig(paradigm, backbone, num_updates=study.sizes.tuning_updates, **point)
        for paradigm, backbone, grid in learners
        for point in points(grid)
    ]
    return _trial_rows(study, {agent: _trial(study, data, agent) for agent in agents}, TRIAL_COLUMNS)


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


def points(grid: dict[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    """All points of a grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


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
    for paradigm, change in itertools.product(PARADIGMS, BUDGETS):
        updates = int(change.get("num_updates", 1) * study.sizes.updates)
        agent = AgentConfig(paradigm, **(TUNED[paradigm, "sac"] | change | {"num_updates": updates}))
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


def offline_jobs(study: Study, data: Path, backbones: Sequence[str] = ("sac", "dqn")) -> dict[str, OfflineJob]:
    """Behaviour cloning and the three paradigms with their chosen hyper-parameters on one dataset, all seeds."""
    agents = [AgentConfig(paradigm, backbone, **choice) for (paradigm, backbone), choice in TUNED.items()]
    agents = [AgentConfig(backbone="bc", **BC_TUNED), *(agent for agent in agents if agent.backbone in backbones)]
    agents = [replace(agent, num_updates=study.sizes.updates) for agent in agents]
    return {
        method_name(agent): OfflineJob(
            data, agent, study.seeds, study.scoring, study.curve, CURVE_POINTS, device=study.device
        )
        for agent in agents
    }


def cost(network: NetworkConfig, agent: AgentConfig) -> dict[str, float]:
    """What one decision of the whole network costs when it runs (the network that acts, without critics).

    Returns:
        inputs and outputs of one head; parameters and multiply-adds of all heads; the numbers of `knowledge` aside.
    """
    heads, inputs, actions = PARADIGMS[agent.paradigm].heads(network.num_aps, network.top_n)
    sizes = (inputs, *agent.hidden, actions)
    products = sum(a * b for a, b in itertools.pairwise(sizes))
    return {
        "heads": heads,
        "inputs": inputs,
        "outputs": actions,
        "parameters": heads * (products + sum(sizes[1:])),
        "multiply_adds": heads * products,
    }
