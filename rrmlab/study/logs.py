"""The logged datasets of the study, what wrote them, and their folders."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..config import NetworkConfig
from ..game.behaviours import Behaviour, Scheduler
from ..game.evaluation import evaluate
from ..game.schedulers import Mixture, make_scheduler
from ..learning.collection import collect
from ..learning.dataset import join, load_dataset
from ..storage import SUMS, sha256
from .jobs import OnlineJob, run_jobs
from .notebook import Study
from .scoring import Scoring
from .store import Result, read_result, score_result, stored
from .tuning import online_agents

NUM_LOGS = 5  # of each online agent, `study`


@dataclass(frozen=True)
class Logs:
    """Folders of the study's datasets, and the online agents that wrote some of them.

    Attributes:
        all_sac: second halves of the trainings of the first NUM_LOGS seeds of "Online SAC".
        all_dqn: the same of "Online DQN".
        random: of a random walk.
        mixture: of random walk, full reuse and ITLinQ, one of them drawn in each TTI.
        online: the scored online agents by method name.
    """

    all_sac: list[Path]
    all_dqn: list[Path]
    random: Path
    mixture: Path
    online: dict[str, Result]

    @property
    def sac(self) -> Path:
        """Of the first seed of "Online SAC": the log of most trainings."""
        return self.all_sac[0]

    @property
    def second_sac(self) -> Path:
        """Of its second seed."""
        return self.all_sac[1]

    @property
    def dqn(self) -> Path:
        """Of the first seed of "Online DQN"."""
        return self.all_dqn[0]


def online_jobs(study: Study) -> dict[str, OnlineJob]:
    """The trainings of the online agents "Online SAC" and "Online DQN" (CTDE), whose second halves are datasets."""
    return {
        method: OnlineJob(
            study.network, agent, study.seeds, study.scoring, 2 * study.sizes.transitions, study.sizes.envs,
            logs=NUM_LOGS, curve=study.curve, device=study.device,
        )
        for method, agent in online_agents().items()
    }  # fmt: skip


def study_logs(study: Study) -> Logs:
    """The study's datasets; what is not stored yet is trained or collected first."""
    jobs = online_jobs(study)
    online = run_jobs(study.data, jobs)
    sac, dqn = (jobs[name].datasets(online[name].folder) for name in ("Online SAC", "Online DQN"))
    random, mixture = (collected(study, name, study.sizes.transitions) for name in ("random", "mixture"))
    return Logs(sac, dqn, random, mixture, online)


def log_writer(name: str) -> Scheduler:
    """The scheduler that writes the dataset "random", "full reuse" or "mixture"."""
    if name != "mixture":
        return make_scheduler({"random": "random_walk", "full reuse": "full_reuse"}[name])
    return Mixture([make_scheduler("random_walk", seed=1), make_scheduler("full_reuse"), make_scheduler("itlinq")])


def score_writers(study: Study, online: dict[str, Result]) -> dict[str, Result]:
    """What wrote the four datasets, scored on the test deployments: SAC's last policy as it acted, by sampling; DQN's
    without its exploration; the schedulers."""
    wrote: dict[str, tuple[Any, Behaviour]] = {}
    for name, method in (("sac", "Online SAC"), ("dqn", "Online DQN")):
        policy = online[method].policies[0]
        wrote[name] = sha256(online[method].folder / SUMS), policy.sampled() if name == "sac" else policy
    wrote |= {name: (log_writer(name).parameters(), log_writer(name)) for name in ("random", "mixture")}
    results = {}
    for name, (origin, writer) in wrote.items():

        def build(folder: Path, writer: Behaviour = writer) -> None:
            start = time.perf_counter()
            score_result(folder, [evaluate(writer, *study.scoring.arguments)], time.perf_counter() - start)

        spec = {"writer of": name, "policy": origin, "scoring": study.scoring.to_dict()}
        code: list[Callable[..., Any]] = [evaluate, Scoring, score_result]
        results[name] = read_result(stored(study.data, "schedulers", spec, [*code, *_classes(writer)], build))
    return results


def collected(
    study: Study,
    name: str,
    size: int,
    writer: Any = None,
    network: NetworkConfig | None = None,
    seed: int | None = None,
) -> Path:
    """The folder of a dataset of a behaviour, by default `log_writer(name)`; collected if it is not there. The network
    and the seed are by default the study's."""
    writer, file = writer or log_writer(name), f"{name.replace(' ', '-')}-v0"
    network, seed = network or study.network, study.seed if seed is None else seed
    spec = {
        "behaviour": {"name": name, **writer.parameters()},
        "network": network.to_dict(),
        "transitions": size,
        "seed": seed,
    }

    def build(folder: Path) -> None:
        collect(writer, network, size, seed).save(folder / file)

    return stored(study.data, "datasets", spec, (collect, *_classes(writer)), build) / file


def joined(study: Study, parts: Sequence[Path], size: int, network: NetworkConfig | None = None) -> Path:
    """The folder of a dataset of the first transitions of others in equal shares, `size` in all; made if it is not
    there. Whole runs of transitions, so that the file stays one of episodes. Of parts of several networks with the same
    APs and slots, `network` says of which one the dataset is to be."""
    spec: dict[str, Any] = {"joined": [sha256(part / SUMS) for part in parts], "transitions": size}
    of_network = {} if network is None else {"network": network.to_dict()}

    def build(folder: Path) -> None:
        shares = [load_dataset(part).select(torch.arange(size // len(parts), device="cpu")) for part in parts]
        shares = [replace(share, metadata=share.metadata | of_network) for share in shares]
        names = [str(share.metadata.get("behaviour")) for share in shares]
        join(shares, {**shares[0].metadata, "behaviour": " + ".join(names)}).save(folder / "joined-v0")

    return stored(study.data, "datasets", spec | of_network, (load_dataset, join), build) / "joined-v0"


def _classes(writer: Behaviour) -> list[type]:
    """The classes whose code acts: of a mixture also those of its members, of what wraps another also that one's."""
    inner = [*getattr(writer, "members", ()), *filter(None, [getattr(writer, "behaviour", None)])]
    return [type(writer), *(type(member) for member in inner)]
