"""The logged datasets of the study, what wrote them, and their folders."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..game.evaluation import evaluate
from ..game.schedulers import Behaviour, Mixture, Scheduler, make_scheduler
from ..learning.collection import collect
from ..learning.dataset import join, load_dataset
from ..storage import SUMS, sha256
from .notebook import Study
from .store import Result, read_result, score_result, stored


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
    writer, file = writer or behaviour(name), f"{name.replace(' ', '-')}-v0"
    spec = {
        "behaviour": {"name": name, **writer.parameters()},
        "network": study.network.to_dict(),
        "transitions": size,
        "seed": study.seed,
    }

    def build(folder: Path) -> None:
        collect(writer, study.network, size, study.seed).save(folder / file)

    return stored(study.data, "datasets", spec, build) / file


def joined(study: Study, parts: Sequence[Path], size: int) -> Path:
    """The folder of a dataset of the first transitions of others in equal shares, `size` in all; made if it is not
    there. Whole runs of transitions, so that the file stays one of episodes."""
    spec = {"joined": [sha256(part / SUMS) for part in parts], "transitions": size}

    def build(folder: Path) -> None:
        shares = [load_dataset(part).select(torch.arange(size // len(parts))) for part in parts]
        names = [str(share.metadata.get("behaviour")) for share in shares]
        join(shares, {**shares[0].metadata, "behaviour": " + ".join(names)}).save(folder / "joined-v0")

    return stored(study.data, "datasets", spec, build) / "joined-v0"
