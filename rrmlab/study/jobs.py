"""The runs that the study is made of, each stored once: schedulers scored, trainings, policies with bad reports."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError

from ..agents.config import AgentConfig
from ..agents.losses import PENALTIES
from ..agents.mixers import MIXERS
from ..agents.policy import Policy
from ..agents.stack import evaluate_seeds
from ..config import NetworkConfig
from ..game.evaluation import Scores
from ..game.observations import observation_of
from ..learning.dataset import load_dataset
from ..learning.offline import train_offline
from ..learning.online import NUM_ENVS, OnlineRun, train_online
from ..learning.progress import progress_bar
from ..memory import keep_freed_memory, release_freed_memory
from ..storage import SUMS, CorruptFileError, sha256
from .cells import CellJob
from .cluster import DASK, compute
from .scoring import ScoreJob, Scoring
from .store import Result, read_result, score_result, stored

CURVE_POINTS = 10  # evaluations along a training, `study`


def _from(checkpoint: Path, train: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What a training returns, from its checkpoint on; without it, if that was damaged."""
    try:
        return train(*arguments, checkpoint=checkpoint / "training", **options)
    except CorruptFileError as error:
        print(f"starting the training again: {error}")
        shutil.rmtree(checkpoint)
        return train(*arguments, checkpoint=checkpoint / "training", **options)


def chosen_code(agent: AgentConfig, network: NetworkConfig) -> list[Callable[..., Any]]:
    """The user's own mixer, penalty and observation, which count for a run's name; the package's own count anyway."""
    chosen = (MIXERS[agent.mixer], PENALTIES.get(agent.penalty), observation_of(network).measure)
    return [part for part in chosen if part is not None and part.__module__.partition(".")[0] != "rrmlab"]


@dataclass(frozen=True)
class OnlineJob:
    """One configuration trained online with several seeds, and scored.

    A job is `train_online(network, agent, seeds, num_transitions, num_envs)` and then `evaluate_seeds` of the policies,
    stored in a folder whose name is made of its content: what is asked, and the code that computes it.

    Attributes:
        network: where it acts.
        agent: the configuration.
        seeds: training seeds.
        scoring: of the last parameters.
        num_transitions: of each seed.
        num_envs: environments of each seed.
        logs: seeds, from the first on, whose second half is kept as a dataset.
        curve: scoring along the training, CURVE_POINTS times, or None.
        device: where to train.
    """

    network: NetworkConfig
    agent: AgentConfig
    seeds: tuple[int, ...]
    scoring: Scoring
    num_transitions: int
    num_envs: int = NUM_ENVS
    logs: int = 0
    curve: Scoring | None = None
    device: str = "cpu"

    def run(self, root: Path) -> Path:
        """Train and score, or find it done; the folder."""
        spec = {**asdict(self), "agent": self.agent.to_dict(), "seeds": list(self.seeds)}
        code = [OnlineJob, *chosen_code(self.agent, self.network)]
        return stored(root, "online", spec, code, self._build, train=self._train)

    def datasets(self, folder: Path) -> list[Path]:
        """The logs in the folder of the run."""
        return [folder / f"{self.agent.backbone}-{seed}-v0" for seed in self.seeds[: self.logs]]

    def _train(self, checkpoint: Path) -> tuple[list[OnlineRun], float]:
        curve = self.curve
        evaluation = None if curve is None else lambda policies: evaluate_seeds(policies, *curve.arguments, self.device)
        start = time.perf_counter()
        runs = _from(
            checkpoint, train_online, self.network, self.agent, self.seeds, self.num_transitions, self.num_envs,
            self.device, self.num_transitions // CURVE_POINTS if curve else 0, evaluation, progress=False,
        )  # fmt: skip
        return runs, time.perf_counter() - start

    def _build(self, folder: Path, trained: tuple[list[OnlineRun], float]) -> None:
        runs, seconds = trained
        policies = [run.policy.to("cpu") for run in runs]
        score_result(folder, evaluate_seeds(policies, *self.scoring.arguments), seconds, policies)
        for run, path in zip(runs, self.datasets(folder), strict=False):
            run.data.save(path)


@dataclass(frozen=True)
class OfflineJob:
    """One configuration trained on one dataset with several seeds, and scored.

    A job is `train_offline(load_dataset(data), agent, seeds)` and then `evaluate_seeds` of the policies, stored in a
    folder whose name is made of its content: what is asked, the dataset's checksums, and the code that computes it.

    Attributes:
        data: folder of the dataset.
        agent: the configuration.
        seeds: training seeds.
        scoring: of the last parameters.
        curve: scoring along the training, CURVE_POINTS times, or None.
        num_transitions: random subset of the dataset, 0 for all.
        device: where to train.
        reports: with which the last parameters are scored, arguments of `ImperfectReports`.
    """

    data: Path
    agent: AgentConfig
    seeds: tuple[int, ...]
    scoring: Scoring
    curve: Scoring | None = None
    num_transitions: int = 0
    device: str = "cpu"
    reports: dict[str, Any] = field(default_factory=dict)

    def run(self, root: Path) -> Path:
        """Train and score, or find it done; the folder."""
        spec = {
            **asdict(self),
            "data": sha256(self.data / SUMS),
            "agent": self.agent.to_dict(),
            "seeds": list(self.seeds),
        }
        code = [OfflineJob, *chosen_code(self.agent, self.scoring.network)]
        return stored(root, "offline", spec, code, self._build, train=self._train)

    def _train(self, checkpoint: Path) -> tuple[list[Policy], float]:
        data = load_dataset(self.data)
        if self.num_transitions:
            data = data.take(self.num_transitions)
        spent = 0.0

        def evaluation(policies: list[Policy]) -> list[Scores]:
            nonlocal spent
            begin = time.perf_counter()
            scores = evaluate_seeds(policies, *(self.curve or self.scoring).arguments, self.device)
            spent += time.perf_counter() - begin
            return scores

        every = max(1, self.agent.num_updates // CURVE_POINTS) if self.curve else 0
        start = time.perf_counter()
        options = {"evaluate_every": every, "evaluation": evaluation if every else None, "progress": False}
        policies = _from(checkpoint, train_offline, data, self.agent, self.seeds, self.device, **options)
        return policies, time.perf_counter() - start - spent

    def _build(self, folder: Path, trained: tuple[list[Policy], float]) -> None:
        policies, seconds = trained
        policies = [policy.to("cpu") for policy in policies]
        score_result(folder, evaluate_seeds(policies, *self.scoring.arguments, **self.reports), seconds, policies)


Job = OfflineJob | OnlineJob | ScoreJob | CellJob


def run_jobs(root: Path, jobs: Mapping[Any, Job], workers: int | None = None) -> dict[Any, Result]:
    """Run jobs in processes of one thread each; results by the jobs' keys.

    The processes are the workers of the Dask cluster that the environment variable `RRMLAB_DASK` names; without it
    `workers` on this machine, left out as many as this process has threads.
    """
    workers = min(workers or torch.get_num_threads(), len(jobs))
    bar = progress_bar(len(jobs), "training", True)
    if address := os.environ.get(DASK):
        folders = compute(address, root, partial(_run_single_threaded, root=root), jobs.values(), bar.update)
    elif workers <= 1:
        folders = []
        for job in jobs.values():
            folders.append(job.run(root))
            bar.update()
    else:
        parallel = joblib.Parallel(n_jobs=workers, return_as="generator", batch_size=1)
        # The longest first would be better still; jobs of one kind are alike enough.
        folders = []
        try:
            for folder in parallel(joblib.delayed(_run_single_threaded)(job, root) for job in jobs.values()):
                folders.append(folder)
                bar.update()
        except TerminatedWorkerError as error:
            raise RuntimeError("a worker was killed, by hand or for want of memory: the same call goes on") from error
    bar.close()
    return {key: read_result(folder) for key, folder in zip(jobs, folders, strict=True)}


def _run_single_threaded(job: Job, root: Path) -> Path:
    torch.set_num_threads(1)
    keep_freed_memory()
    os.environ["TQDM_DISABLE"] = "1"
    try:
        return job.run(root)
    finally:
        # joblib takes a worker that stays large for one that leaks, and starts another.
        release_freed_memory()
