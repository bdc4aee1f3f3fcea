"""How much log is enough: authors of logs, logs drawn anew and in a row, and what learners make of each.

Shapes: K trainings, D evaluation deployments, J users.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..agents import losses
from ..agents.config import AgentConfig
from ..agents.graph import Factors, joint_values
from ..agents.paradigms import PARADIGMS
from ..agents.policy import Policy
from ..agents.stack import evaluate_seeds
from ..config import NetworkConfig
from ..game.behaviours import Behaviour
from ..game.evaluation import evaluate
from ..game.messages import SlotReports
from ..game.observations import OBSERVATIONS
from ..game.schedulers import Mixture, RandomWalk, make_scheduler
from ..game.views import ObservationView
from ..learning.collection import collect
from ..learning.coverage import coverage
from ..learning.dataset import Dataset
from ..learning.fitted_q import CRITIC, actions_on, fitted_q
from ..learning.offline import train_offline
from ..storage import SUMS, sha256, verify
from .jobs import OnlineJob, run_jobs
from .logs import log_writer, online_jobs
from .notebook import Study
from .scoring import Scoring
from .store import read_table, score_result, stored

FIRST_LOG = 1_000  # seed of the deployments of log 0, `study`: no other log of the study has these
EPSILONS = (0.6, 0.3, 0.1, 0.0)  # share of the TTIs in which an agent acts at random
PARTS = (0.05, 0.25)  # of a whole online training
MEASURES = ("coverage.csv", "measures.csv")
FQE_LOG = 20_000  # transitions at most that are evaluated, `study`


class OwnCell:
    """An author that sees its own cell alone, in a network whose observation has neighbours too: what it logs holds
    both."""

    def __init__(self, behaviour: Any) -> None:
        self.behaviour, self.name, self.knowledge = behaviour, behaviour.name, behaviour.knowledge

    def begin(self, key: Tensor) -> None:
        self.behaviour.begin(key)

    def serve(self, view: ObservationView) -> Tensor:
        return self.behaviour.serve(self._seen(view))

    def log_prob(self, view: ObservationView, actions: Tensor) -> Tensor:
        return self.behaviour.log_prob(self._seen(view), actions)

    @staticmethod
    def _seen(view: ObservationView) -> ObservationView:
        return replace(view, obs=own_features(view.obs, view.slots.shape[-1]))


def own_features(obs: Tensor, top_n: int) -> Tensor:
    """The features of `local` of observations that begin with them, raw: (..., N F) -> (..., 2 N)."""
    return obs.unflatten(-1, (top_n, -1))[..., : len(OBSERVATIONS["local"].features)].flatten(-2)


def own_cells(data: Dataset) -> Dataset:
    """A log with neighbours as those see it who see their own cell alone."""
    network = replace(data.network, observation="local")
    obs = own_features(data.obs, network.top_n).contiguous()
    return replace(data, obs=obs, metadata={**data.metadata, "network": network.to_dict()})


def first(data: Dataset, num: int, skip: int = 0) -> Dataset:
    """`num` transitions in a row behind the first `skip` ones, with their own observations alone."""
    part = data.select(torch.arange(skip, skip + num, device="cpu"))
    begin, end = int(part.rows[0]), int(part.rows[-1]) + 2
    truncated = part.truncated.clone()
    truncated[-1] = True
    own: dict[str, Any] = {"obs": data.obs[begin:end], "mask": data.mask[begin:end], "rows": part.rows - begin}
    return replace(part, **own, truncated=truncated)


def author_names() -> list[str]:
    """All authors, from the widest log to the narrowest by the entropy of the logged actions given the state."""
    *exploring, last = (f"ε = {epsilon:g}" for epsilon in EPSILONS)
    return ["random walk", *exploring, *(f"{part:.0%} trained" for part in PARTS), last, "mixture", "full reuse"]


def author_agents(study: Study, num: int) -> dict[str, Path]:
    """Folders of the runs of the online SAC agents that write logs, `num` of each: trained to the end, and for a part
    of that; what is not stored yet is trained first."""
    whole = online_jobs(study)["Online SAC"]
    jobs: dict[Any, OnlineJob] = {"": whole}
    for part in PARTS:
        total = int(part * whole.num_transitions)
        jobs[f"{part:.0%} trained"] = replace(whole, seeds=study.seeds[:num], num_transitions=total, logs=0, curve=None)
    return {name: result.folder for name, result in run_jobs(study.data, jobs).items()}


def author(name: str, number: int, agents: Mapping[str, Path]) -> Behaviour:
    """Author of log `number`, with the agent of that number: it draws its actions, and in a share ε of the TTIs all APs
    act at random."""
    if name in ("random walk", "full reuse"):
        return make_scheduler(name.replace(" ", "_"))
    if name == "mixture":
        return log_writer(name)
    folder = agents.get(name, agents[""])
    policy = Policy.load(sorted(folder.glob("policy_*"), key=lambda path: int(path.name[7:]))[number]).sampled()
    epsilon = float(name.removeprefix("ε = ")) if name.startswith("ε") else 0.0
    return Mixture([RandomWalk(seed=1), policy], [epsilon, 1 - epsilon]) if epsilon else policy


@dataclass(frozen=True)
class LogJob:
    """One log, drawn anew, and what learners make of it.

    Attributes:
        author: see `author_names`.
        number: of the log; its deployments, its agent and the training seed.
        agents: of `author_agents`.
        network: of the log, with neighbours.
        scoring: of authors and policies, without; graph policies see them anyway.
        entries: what is trained: transitions in a row from the log's start, transitions behind them that are held out,
            and the agent.
        lams: graph policies are also scored at these λ.
    """

    author: str
    number: int
    agents: Mapping[str, Path]
    network: NetworkConfig
    scoring: Scoring
    entries: Sequence[tuple[int, int, AgentConfig]]
    lams: Sequence[float] = ()

    def run(self, root: Path) -> Path:
        """Collect, train and measure, or find it done; the folder."""
        spec = {**asdict(self), "agents": {name: sha256(folder / SUMS) for name, folder in self.agents.items()}}
        spec["entries"] = [(size, held, agent.to_dict()) for size, held, agent in self.entries]
        code = (LogJob, collect, train_offline, evaluate_seeds, coverage, fitted_q, Mixture, Scoring, score_result)
        return stored(root, "thresholds", spec, code, self._build)

    def _build(self, folder: Path) -> None:
        start = time.perf_counter()
        writer = author(self.author, self.number, self.agents)
        size = max(train + held for train, held, _ in self.entries)
        log = collect(OwnCell(writer), self.network, size, FIRST_LOG + self.number)
        scores = [evaluate(writer, *self.scoring.arguments)]
        facts = {"author": self.author, "log": self.number, "author_score": scores[0].score}
        rows: list[dict[str, Any]] = []
        sizes: dict[int, Dataset] = {}
        for train, held, agent in self.entries:
            entry = _Entry(log, train, held, agent, self.number, self.scoring)
            sizes.setdefault(train, entry.own)
            scores.append(entry.scores)
            learner = {"num_samples": train, "paradigm": agent.paradigm, "mixer": agent.mixer}
            rows.append(facts | learner | entry.measures())
            if agent.paradigm == "graph" and self.lams:
                rows[-1]["lam"] = agent.lam
                for lam in self.lams:
                    scores.append(entry.scores if lam == agent.lam else entry.at(lam))
                    rows.append(rows[-1] | {"lam": lam} | entry.predicted(lam))
        covered = [facts | {"num_samples": num} | asdict(coverage(data)) for num, data in sizes.items()]
        for name, table in zip(MEASURES, (covered, rows), strict=True):
            pd.DataFrame(table).to_csv(folder / name, index=False)
        score_result(folder, scores, time.perf_counter() - start)


class _Entry:
    """One training on a log's beginning, and what is measured of it."""

    def __init__(self, log: Dataset, train: int, held: int, agent: AgentConfig, seed: int, scoring: Scoring) -> None:
        graph = agent.paradigm == "graph"
        log = log if graph else own_cells(log)
        self.scoring = replace(scoring, network=replace(scoring.network, observation=log.network.observation))
        self.own, self.held, self.all = first(log, train), held and first(log, held, train), first(log, train + held)
        late = max(1, 3 * agent.num_updates // 4)  # once, where the last quarter begins
        (self.policy,) = train_offline(
            self.own, agent, [seed], evaluate_every=late, evaluation=self._score, progress=False
        )
        (self.scores,) = self._score([self.policy])

    def _score(self, policies: list[Policy]) -> list[Any]:
        return evaluate_seeds(policies, *self.scoring.arguments)

    def at(self, lam: float) -> Any:
        """The graph policy's scores at another λ."""
        return self._score([self.policy.deciding(lam=lam)])[0]

    def measures(self) -> dict[str, float]:
        """What can be said of the policy: its score at three quarters of the training; and for C and CTDE, from the log
        alone, fitted Q evaluation with a joint critic, with an additive one and the lesser of both, and what `held_out`
        gives."""
        found = {"alpha": self.policy.config.alpha, "score_before": float(self.policy.history["eval_score"][0])}
        config = self.policy.config
        if config.paradigm not in ("centralized", "ctde") or config.mixer != "sum":
            return found
        data = first(self.all, min(len(self.all), FQE_LOG))
        updates = max(1, config.num_updates // 4)
        for name, paradigm in (("fqe_joint", "centralized"), ("fqe_sum", "ctde")):
            found[name] = fitted_q(data, self.policy, replace(CRITIC, paradigm=paradigm, num_updates=updates))
        found["fqe_least"] = min(found["fqe_joint"], found["fqe_sum"])
        return found | (held_out(self.policy, self.held) if self.held else {})

    def predicted(self, lam: float) -> dict[str, float]:
        """Sum and 5-percentile rate that the graph policy would have at another λ, from the log alone."""
        data = first(self.own, min(len(self.own), FQE_LOG // 10))
        obs, mask = data.obs[data.rows], data.mask[data.rows]
        slots = SlotReports.of(self.policy.scale.obs(obs).unsqueeze(0))
        rates = Factors(self.policy.nets, "rate", 0.0)  # λ = 0 leaves the learned rates
        spread = float(self.policy.scale.tensors["reward_std"])
        features = obs.unflatten(-1, (data.network.top_n, -1))
        average = (-features[..., 1]).exp()  # (B, I, N) averaged rate of each user, 1 / w
        weak = average[mask[..., 1:]].quantile(0.2)
        given = {}
        for who, actions in (("author", data.actions), ("policy", self.policy.deciding(lam=lam).act(obs, mask))):
            own = spread * joint_values(rates, slots, actions.unsqueeze(0))[0].detach()  # (B, I)
            served = average.gather(-1, (actions - 1).clamp(min=0).unsqueeze(-1)).squeeze(-1)
            given[who] = float(own.sum(-1).mean()), float((own * (served <= weak)).sum(-1).mean())
        tail = float(average[mask[..., 1:]].quantile(0.05))
        share = given["policy"][1] / given["author"][1] if given["author"][1] > 0 else float("nan")
        return {"predicted_sum": given["policy"][0], "predicted_tail": tail * share}


def held_out(policy: Policy, data: Dataset) -> dict[str, float]:
    """Of a part of the log that was not learned from: the squared TD error of the learned values (standardised
    reward²), and the mean reward by importance sampling of single TTIs, with the share of TTIs in which the policy does
    what the log did."""
    obs, mask, paradigm = data.obs, data.mask, PARADIGMS[policy.config.paradigm]
    q = policy.q_values(obs, mask)  # (H, R, A)
    own = paradigm.to_heads(data.actions, mask.shape[-1])  # (H, n)
    greedy = paradigm.to_heads(actions_on(policy, data), mask.shape[-1])
    after = losses.taken(q, greedy).sum(0)[data.rows + 1]
    error = losses.taken(q[:, data.rows], own).sum(0) - policy.scale.reward(data.rewards) - policy.config.gamma * after
    same = (policy.act(obs[data.rows], mask[data.rows]) == data.actions).all(-1)
    weight = same.double() * (-data.log_prob).exp()
    reward = float((weight * data.rewards).sum() / weight.sum()) if bool(same.any()) else float("nan")
    return {"td_error": float(error.square().mean()), "sampled": reward, "matches": float(same.double().mean())}


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the log covers, and the measures of its trainings, of a stored `LogJob`: the rows of the latter are its
    policies in the order of `Result.rates` from the second on (the first is the author)."""
    verify(folder, *MEASURES)
    covered, measured = (read_table(folder / name) for name in MEASURES)
    return covered, measured
