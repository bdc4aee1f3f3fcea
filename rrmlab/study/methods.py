"""What every learner of the study learns from and is compared with.

The datasets and the online agents behind them, the schedulers, a tuned one, the oracles; what each method must know;
and the hyper-parameters that were chosen for each learner.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ..agents.config import AgentConfig, method_name, network_shapes
from ..config import NetworkConfig
from ..game.evaluation import evaluate
from .jobs import OfflineJob, OnlineJob, run_jobs, score_scheduler
from .notebook import Study
from .observed_oracle import observed_oracle
from .store import Result, read_result, score_result, stored
from .tuning import BC_TUNED, ONLINE_TUNED, TUNED, itlinq_surface

LINEAGE_BASELINES = ("Random walk", "TDM", "Full reuse", "ITLinQ")  # as the paper's lineage sets them
CURVE_POINTS = 10  # evaluations along a training, `study`


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


def offline_jobs(study: Study, data: Path, backbones: Sequence[str] = ("sac", "dqn")) -> dict[str, OfflineJob]:
    """Behaviour cloning and the three paradigms with their chosen hyper-parameters on one dataset, all seeds."""
    agents = [AgentConfig(paradigm, backbone, **choice) for (paradigm, backbone), choice in TUNED.items()]
    agents = [AgentConfig.behaviour_cloning(**BC_TUNED), *(agent for agent in agents if agent.backbone in backbones)]
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
    stacks, sizes = network_shapes(agent, network)
    heads = stacks["critic"][-1]
    products = sum(a * b for a, b in itertools.pairwise(sizes))
    return {
        "heads": heads,
        "inputs": sizes[0],
        "outputs": sizes[-1],
        "parameters": heads * (products + sum(sizes[1:])),
        "multiply_adds": heads * products,
    }
