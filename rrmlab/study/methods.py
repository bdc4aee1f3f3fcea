"""The methods of the study, one record each: how it is made, what it must know, how it is drawn.

Which schedulers are scored, the table of what each method must know, the styles of the figures, the rows of the README
and the choices of notebook 00 all come from these records. A scheduler is added by its class, its short name in
`game/schedulers.py` and one record in `METHODS`; outside the package, by `SCHEDULERS["short_name"] = cls` and `add`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.colors import is_color_like

from ..agents.config import AgentConfig, method_name
from ..agents.paradigms import PARADIGMS
from ..config import NetworkConfig
from ..game.evaluation import evaluate
from ..game.messages import messages_sent
from ..game.schedulers import make_scheduler
from . import tuning
from .notebook import Study
from .observed_oracle import observed_oracle
from .scoring import Scoring, score_scheduler
from .store import Result, read_result, score_result, stored

COLOURS = dict(
    zip(
        ("blue", "orange", "green", "red", "purple", "brown", "pink", "grey", "yellow", "cyan"),
        sns.color_palette("colorblind"),
        strict=True,
    )
)


@dataclass(frozen=True)
class Knowledge:
    """What a method must know in a TTI, and how many numbers that moves.

    Attributes:
        knows: in words.
        reports: numbers that users send to their own AP, as a function of the network.
        exchanged: numbers that travel between cells or to and from a controller, as a function of the network.
    """

    knows: str = ""
    reports: Callable[[NetworkConfig], int] = lambda network: 0
    exchanged: Callable[[NetworkConfig], int] = lambda network: 0


@dataclass(frozen=True)
class Style:
    """How a method is drawn in every figure: a colour of `COLOURS` or of Matplotlib, Matplotlib's marker and
    line style, and whether markers are filled with white."""

    colour: str = "black"
    marker: str = "o"
    line: str = "-"
    hollow: bool = False


@dataclass(frozen=True)
class Method:
    """One method of the study.

    Attributes:
        name: as it stands in tables and figures.
        scheduler: short name and arguments for `make_scheduler`, if it is a scheduler.
        agent: configuration, if it is trained by `train_offline` or `train_online`.
        oracle: paradigm of `observed_oracle`, if it is one of these.
        knowledge: what it must know: OWN_USERS, ALL_USERS, CHOSEN_GAINS, ALL_GAINS, or a `Knowledge` of your own.
        style: how it is drawn.
        observation: what it must see, for `NetworkConfig`.
        provenance: "lineage" for the baselines as the paper's lineage sets them, "paper", or "study".
        in_readme: the README's table of results has a row for it.
    """

    name: str
    scheduler: dict[str, Any] | None = None
    agent: AgentConfig | None = None
    oracle: str = ""
    knowledge: Knowledge = Knowledge()
    style: Style = Style()
    observation: str = "local"
    provenance: str = "study"
    in_readme: bool = False


# Own users' SINR is one number per user; weights are known where rates are made.
OWN_USERS = Knowledge("own users' SINR and weight", lambda network: network.num_users)
# Every AP's observation goes to a controller, and a decision comes back to each AP.
ALL_USERS = Knowledge(
    "everybody's top users' SINR and weight",
    lambda network: network.num_users,
    lambda network: 2 * network.top_n * network.num_aps + network.num_aps,
)
# Gains of the other APs to each chosen user, its own gain, its PF factor (for the best subset, which has no order, its
# weight); back comes a decision per AP.
CHOSEN_GAINS = Knowledge(
    "own users' SINR and weight; cross gains to the chosen users",
    lambda network: network.num_users + network.num_aps * (network.num_aps - 1),
    lambda network: network.num_aps**2 + 2 * network.num_aps,
)
# Greedy marginal wants both of each chosen user: the PF factor for the order and the weight for the sum.
ORDERED_GAINS = replace(CHOSEN_GAINS, exchanged=lambda network: network.num_aps**2 + 3 * network.num_aps)
ALL_GAINS = Knowledge(
    "own users' SINR and weight; cross gains to all top users",
    lambda network: network.num_users + network.num_aps * network.top_n * (network.num_aps - 1),
    lambda network: network.num_aps**2 * network.top_n + network.num_aps * network.top_n + network.num_aps,
)
# A user reports its SINR, its SNR and the INR of every other AP. Two rounds after the admission.
MESSAGES = Knowledge(
    "own users' SINR, weight and gains of all APs; what the other APs broadcast of their chosen users",
    lambda network: network.num_users * (network.num_aps + 1),
    lambda network: messages_sent(network.num_aps, AgentConfig().rounds),
)


def learner(agent: AgentConfig, online: bool = False, in_readme: bool = False) -> Method:
    """The record of an agent that is trained offline or online.

    Its name and the rest follow from the configuration: the paradigm decides what it knows, its colour, marker and
    line; markers are hollow with DQN or without a penalty.
    """
    if agent.paradigm == "graph":
        style = Style("crimson", "*", "-")
        return Method(method_name(agent), None, agent, "", MESSAGES, style, "neighbours", "study", in_readme)
    joint, dqn = PARADIGMS[agent.paradigm].joint, agent.backbone == "dqn" and not agent.clones
    free = agent.alpha == 0 and not (agent.clones or online)
    looks = {
        "centralized": ("blue", "s", "-", "--"),
        "independent": ("red", "^", ":", "-."),
        "ctde": ("green", "o", "--", ":"),
    }
    colour, marker, *lines = looks[agent.paradigm]
    line = lines[free or (online and dqn)]
    if agent.mixer != "sum":
        colour, marker, line = "pink", "v", ("-.", ":")[free]
    if agent.clones:
        colour, marker, line = "purple", "h", "-."
    if online and agent.paradigm == "ctde":
        colour, marker, line = "orange", "D" if dqn else "o", "--" if dqn else "-"
    style = Style(colour, marker, line, hollow=not online and dqn != free)
    knowledge = ALL_USERS if joint else OWN_USERS
    return Method(method_name(agent, online), None, agent, "", knowledge, style, "local", "paper", in_readme)


def _in_readme(agent: AgentConfig) -> bool:
    """The decentralized agents score alike with either backbone: the README shows one, and the paper's mixer."""
    return agent.clones or agent.paradigm == "centralized" or (agent.backbone, agent.mixer) == ("sac", "sum")


_OFFLINE = list(tuning.offline_agents(AgentConfig().num_updates).values())
_ONLINE = list(tuning.online_agents(tuple(PARADIGMS)).values())
# Learners in strong colours, baselines in quiet ones.
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("Random walk", {"name": "random_walk"}, knowledge=OWN_USERS, style=Style("grey", "x", ":"),
               provenance="lineage", in_readme=True),
        Method("TDM", {"name": "tdm"}, knowledge=Knowledge("the common turn"), style=Style("grey", "d", "-."),
               provenance="lineage", in_readme=True),
        Method("Full reuse", {"name": "full_reuse"}, knowledge=OWN_USERS, style=Style("brown", "X", "--"),
               provenance="lineage", in_readme=True),
        Method("Max-SINR", {"name": "max_sinr"}, style=Style("yellow", "D", ":"),
               knowledge=Knowledge("own users' SINR", lambda network: network.num_users)),
        Method("ITLinQ", {"name": "itlinq", "m_db": 25.0, "eta": 0.7}, knowledge=CHOSEN_GAINS,
               style=Style("cyan", "^", "--"), provenance="lineage", in_readme=True),
        # The lineage's public code has both exponents.
        Method("ITLinQ (η = 0.5)", {"name": "itlinq", "m_db": 25.0, "eta": 0.5}, knowledge=CHOSEN_GAINS,
               style=Style("cyan", ">", ":"), provenance="lineage", in_readme=True),
        Method("ITLinQ (tuned)", {"name": "itlinq", **tuning.ITLINQ_TUNED}, knowledge=CHOSEN_GAINS,
               style=Style("cyan", "v", "-"), in_readme=True),
        Method("Threshold", {"name": "threshold", **tuning.THRESHOLD_TUNED}, knowledge=OWN_USERS,
               style=Style("brown", "s", "-"), in_readme=True),
        Method("Threshold (one parameter)", {"name": "threshold", **tuning.THRESHOLD_ONE_TUNED}, knowledge=OWN_USERS,
               style=Style("brown", "s", ":", hollow=True)),
        Method("Greedy marginal", {"name": "greedy_marginal", **tuning.LAM_TUNED}, knowledge=ORDERED_GAINS,
               style=Style("olive", ">", "-"), in_readme=True),
        Method("Best subset", {"name": "best_subset", **tuning.LAM_TUNED}, knowledge=CHOSEN_GAINS,
               style=Style("olive", "<", "--"), in_readme=True),
        *(learner(agent, in_readme=_in_readme(agent)) for agent in _OFFLINE),
        *(learner(replace(agent, alpha=0.0)) for agent in _OFFLINE if not agent.clones),
        *(learner(agent, True, (agent.paradigm, agent.backbone) == ("ctde", "sac")) for agent in _ONLINE),
        Method("Observed oracle (joint)", oracle="centralized", knowledge=ALL_USERS, style=Style("black", "P", "--"),
               in_readme=True),
        Method("Observed oracle (local)", oracle="ctde", knowledge=OWN_USERS, style=Style("black", "p", ":"),
               in_readme=True),
        learner(tuning.graph_agent(AgentConfig().num_updates // 2), in_readme=True),
        Method("G-formula", {"name": "graph_formula"}, knowledge=MESSAGES, style=Style("crimson", "*", "--", True),
               observation="neighbours", in_readme=True),
        Method("Exhaustive", {"name": "exhaustive", "lam": NetworkConfig().lam}, knowledge=ALL_GAINS,
               style=Style("black", "*", "-"), in_readme=True),
        # The best R_score of all: λ = 0.8 maximises the reward.
        Method("Exhaustive (λ = 1)", {"name": "exhaustive", **tuning.LAM_TUNED}, knowledge=ALL_GAINS,
               style=Style("black", "*", ":", hollow=True), in_readme=True),
    )
}  # fmt: skip
LINEAGE_BASELINES = tuple(name for name, method in METHODS.items() if method.provenance == "lineage")


def add(method: Method) -> None:
    """Register a method.

    Raises:
        ValueError: its name is taken, it is not made in exactly one way, or its scheduler, knowledge or colour is none.
    """
    if method.name in METHODS:
        raise ValueError(f"method {method.name!r}: there is one of this name already")
    if sum((method.scheduler is not None, method.agent is not None, bool(method.oracle))) != 1:
        raise ValueError(f"method {method.name!r}: must have one of scheduler, agent and oracle")
    if method.scheduler is not None:
        make_scheduler(**method.scheduler)
    if not isinstance(method.knowledge, Knowledge):
        raise ValueError(
            f"method {method.name!r}: knowledge must be a methods.Knowledge such as methods.OWN_USERS, got "
            f"{getattr(method.knowledge, '__name__', method.knowledge)}"
        )
    if method.style.colour not in COLOURS and not is_color_like(method.style.colour):
        raise ValueError(
            f"method {method.name!r}: colour = {method.style.colour!r}: must be one of {', '.join(COLOURS)}"
        )
    METHODS[method.name] = method


def find(name: str) -> Method:
    """The record of a method.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in METHODS:
        raise ValueError(f"method {name!r}: not registered (see `methods.add`); there are {', '.join(METHODS)}")
    return METHODS[name]


def schedulers(study: Study) -> dict[str, Result]:
    """All schedulers and the exhaustive oracle, scored on the test deployments; some tuned first, at its sizes."""
    specs = {name: method.scheduler for name, method in METHODS.items() if method.scheduler is not None}
    specs |= tuning.tuned_schedulers(tuning.itlinq_surface(study), tuning.threshold_surface(study))
    return {name: score_scheduler(study.data, spec, scoring(study, name)) for name, spec in specs.items()}


def scoring(study: Study, method: str) -> Scoring:
    """The test deployments, seen by a method as it must see them."""
    network = replace(study.network, observation=find(method).observation)
    return replace(study.scoring, network=network)


def observed_oracles(study: Study) -> dict[str, Result]:
    """The oracles restricted to the joint observation and to each AP's own, trained and scored."""
    results = {}
    for name, method in METHODS.items():
        if not method.oracle:
            continue
        spec = {"observed_oracle": method.oracle, "steps": study.sizes.oracle_steps, "seed": study.seed}

        def build(folder: Path, paradigm: str = method.oracle) -> None:
            start = time.perf_counter()
            oracle = observed_oracle(study.network, paradigm, study.sizes.oracle_steps, study.seed)
            scores = evaluate(oracle, *study.scoring.arguments)
            score_result(folder, [scores], time.perf_counter() - start)

        code = (observed_oracle, evaluate, Scoring, score_result)
        folder = stored(study.data, "schedulers", {**spec, "scoring": study.scoring.to_dict()}, code, build)
        results[name] = read_result(folder)
    return results


def knowledge(network: NetworkConfig, names: Sequence[str]) -> pd.DataFrame:
    """What methods must know in a TTI, and how many numbers that moves: columns method and those of `Knowledge`."""
    facts = [(name, find(name).knowledge) for name in names]
    return pd.DataFrame([
        {"method": name, "knows": k.knows, "reports": k.reports(network), "exchanged": k.exchanged(network)}
        for name, k in facts
    ])  # fmt: skip
