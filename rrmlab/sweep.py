"""Many runs, each stored once under a name made of its content: what it was asked and the code that computes it.

A run is a folder `data/<kind>/<key>/` with spec.json, its arrays, its policies and SHA256SUMS. Asked again, it is
loaded; asked of other code, data or numbers, it has another key.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.numpy import save as to_safetensors

from .agents.learner import AgentConfig
from .agents.policy import Policy
from .config import NetworkConfig
from .datasets import load_dataset
from .memory import release_freed_memory
from .online import NUM_ENVS, OnlineRun, train_online
from .rollout import Scores, evaluate, evaluate_seeds
from .schedulers import make_scheduler
from .storage import SUMS, CorruptFileError, lock, new_folder, reading, sha256, verify
from .training import progress_bar, train_offline

# Modules that draw, describe or start, and decide no number; all others count for a run's name.
_NOT_NUMERIC = (
    "command",
    "reproduce",
    "readme",
    "plotting",
    "study",
    "storage",
    "sweep",
    "reference",
    "interop",
    "explore",
    "benchmarks",
    "workloads",
)


@dataclass(frozen=True)
class Scoring:
    """On which deployments a run is scored, and how long the episodes are."""

    network: NetworkConfig
    episodes: int = 100
    seed: int = 0
    split: str = "test"

    @property
    def arguments(self) -> tuple[NetworkConfig, int, int, str]:
        """For `evaluate` and `evaluate_seeds`, after the policy."""
        return self.network, self.episodes, self.seed, self.split

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Result:
    """A stored run.

    Attributes:
        arrays: by name; `rates` (S, D, J) in bit/s/Hz, `rewards` (S, D), `seconds` of computing (of a training that was
            interrupted: since it went on).
        policies: one per training seed; empty for schedulers.
        folder: where it lies.
    """

    arrays: dict[str, np.ndarray]
    policies: list[Policy]
    folder: Path

    @property
    def rates(self) -> np.ndarray:
        return self.arrays["rates"]

    @property
    def seconds(self) -> float:
        return float(self.arrays["seconds"])


@functools.cache
def code_fingerprint() -> str:
    """Digest of the package's code that decides numbers; comments, docstrings and layout do not count."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).with_suffix("").parts[0] in _NOT_NUMERIC:
            continue
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if (
                isinstance(body, list)
                and body
                and isinstance(body[0], ast.Expr)
                and isinstance(body[0].value, ast.Constant)
            ):
                body.pop(0)
        digest.update(f"{path.relative_to(root)} {ast.dump(tree)}".encode())
    return digest.hexdigest()


def stored(
    root: Path,
    kind: str,
    spec: dict[str, Any],
    build: Callable[..., None],
    suffix: str = "",
    train: Callable[[Path], Any] | None = None,
) -> Path:
    """The folder of a run, built first if it is not there or damaged; once, where several processes ask for it at once.

    A training that was killed goes on from its checkpoint, in the hidden folder `.<name>.checkpoint` beside the run's;
    it is removed when the run is complete.

    Args:
        root: the data folder.
        kind: subfolder.
        spec: plain values that say what is asked; they and the code's fingerprint make the name.
        build: fills a folder with the results; it is given what `train` returned, if there is one.
        suffix: appended to the name.
        train: a training before it, that keeps its checkpoint in a given folder.
    """
    text = json.dumps({**spec, "code": code_fingerprint()}, sort_keys=True, indent=1)
    folder = Path(root) / kind / (hashlib.sha256(text.encode()).hexdigest()[:16] + suffix)
    checkpoint = folder.with_name(f".{folder.name}.checkpoint")
    with suppress(FileNotFoundError, CorruptFileError):
        verify(folder)
        shutil.rmtree(checkpoint, ignore_errors=True)  # one was killed after all was done but this
        return folder
    with lock(folder):
        try:
            return verify(folder)  # another process was making it
        except FileNotFoundError:
            pass
        except CorruptFileError as error:
            print(f"making it again: {error}")
            shutil.rmtree(folder)
        trained = () if train is None else (train(checkpoint),)
        with new_folder(folder) as beside:
            build(beside, *trained)
            (beside / "spec.json").write_text(text)
        shutil.rmtree(checkpoint, ignore_errors=True)
    return folder


def _from(checkpoint: Path, train: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What a training returns, from its checkpoint on; without it, if that was damaged."""
    try:
        return train(*arguments, checkpoint=checkpoint / "state", **options)
    except CorruptFileError as error:
        print(f"starting the training again: {error}")
        shutil.rmtree(checkpoint)
        return train(*arguments, checkpoint=checkpoint / "state", **options)


def score_result(folder: Path, scores: Sequence[Scores], seconds: float, policies: Sequence[Policy] = ()) -> None:
    """Write the scores of a run, one per training seed, and its policies."""
    rates, rewards = np.stack([s.rates for s in scores]), np.stack([s.rewards for s in scores])
    arrays = {"rates": rates, "rewards": rewards, "seconds": np.array(float(seconds))}
    (folder / "arrays.safetensors").write_bytes(to_safetensors(arrays))
    for policy in policies:
        policy.save(folder / f"policy_{policy.seed}")


def read_result(folder: Path) -> Result:
    """Load what `score_result` wrote, after checking it against its SHA256SUMS; then what it holds is checked.

    Raises:
        FileNotFoundError: no such folder.
        CorruptFileError: a file is missing or was changed, or does not hold what a result holds.
    """
    folder = verify(folder)
    file = folder / "arrays.safetensors"
    with reading(file):
        arrays = load_file(file)
        if arrays.keys() != {"rates", "rewards", "seconds"}:
            raise ValueError(f"it has {', '.join(sorted(arrays))} where rates, rewards, seconds are wanted")
        shapes = {name: values.shape for name, values in arrays.items()}
        if len(shapes["rates"]) != 3 or shapes["rewards"] != shapes["rates"][:2] or shapes["seconds"] != ():
            raise ValueError(f"its arrays do not fit each other: {shapes}")
        for name, values in arrays.items():
            if values.dtype.kind != "f" or not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite floating-point numbers")
    paths = list(folder.glob("policy_*"))
    if not all(path.name.removeprefix("policy_").isdecimal() for path in paths):
        raise CorruptFileError(f"{folder} is not what rrmlab writes (a policy's name does not end in its seed)")
    policies = [Policy.load(path) for path in sorted(paths, key=lambda p: int(p.name.removeprefix("policy_")))]
    if len(policies) not in (0, len(arrays["rates"])):
        raise CorruptFileError(f"{file} has the rates of {len(arrays['rates'])} seeds beside {len(policies)} policies")
    return Result(arrays, policies, folder)


def score_scheduler(root: Path, spec: dict[str, Any], scoring: Scoring) -> Result:
    """Score the scheduler that `spec` describes: its short name and its arguments."""

    def build(folder: Path) -> None:
        start = time.perf_counter()
        score_result(folder, [evaluate(make_scheduler(**spec), *scoring.arguments)], time.perf_counter() - start)

    return read_result(stored(root, "schedulers", {"scheduler": spec, "scoring": scoring.to_dict()}, build))


def online_runs(
    root: Path,
    network: NetworkConfig,
    agent: AgentConfig,
    seeds: Sequence[int],
    num_transitions: int,
    scoring: Scoring,
    curve: Scoring,
    curve_points: int,
    num_envs: int = NUM_ENVS,
    device: str = "cpu",
) -> tuple[Result, Path]:
    """Online training of several seeds, scored; and the dataset of the first seed's second half (its folder)."""
    spec = {
        "network": network.to_dict(), "agent": agent.to_dict(), "seeds": list(seeds), "transitions": num_transitions,
        "scoring": scoring.to_dict(), "curve": [curve.to_dict(), curve_points], "envs": num_envs, "device": device,
    }  # fmt: skip

    def train(checkpoint: Path) -> tuple[list[OnlineRun], float]:
        start = time.perf_counter()
        runs = _from(
            checkpoint, train_online, network, agent, seeds, num_transitions, num_envs, device,
            num_transitions // curve_points, lambda policies: evaluate_seeds(policies, *curve.arguments, device),
        )  # fmt: skip
        return runs, time.perf_counter() - start

    def build(folder: Path, trained: tuple[list[OnlineRun], float]) -> None:
        runs, seconds = trained
        policies = [run.policy.to("cpu") for run in runs]
        score_result(folder, evaluate_seeds(policies, *scoring.arguments), seconds, policies)
        runs[0].data.save(folder / f"{agent.backbone}-v0")

    folder = stored(root, "online", spec, build, train=train)
    return read_result(folder), folder / f"{agent.backbone}-v0"


@dataclass(frozen=True)
class OfflineJob:
    """One configuration trained on one dataset with several seeds, and scored.

    Attributes:
        data: folder of the dataset.
        agent: the configuration.
        seeds: training seeds.
        scoring: of the last parameters.
        curve: scoring along the training, or None.
        curve_points: how often.
        num_transitions: random subset of the dataset, 0 for all.
        device: where to train.
    """

    data: Path
    agent: AgentConfig
    seeds: tuple[int, ...]
    scoring: Scoring
    curve: Scoring | None = None
    curve_points: int = 10
    num_transitions: int = 0
    device: str = "cpu"

    def run(self, root: Path) -> Path:
        """Train and score, or find it done; the folder."""
        spec = {
            **asdict(self),
            "data": sha256(self.data / SUMS),
            "agent": self.agent.to_dict(),
            "seeds": list(self.seeds),
        }
        return stored(root, "offline", spec, self._build, train=self._train)

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

        every = max(1, self.agent.num_updates // self.curve_points) if self.curve else 0
        start = time.perf_counter()
        options = {"evaluate_every": every, "evaluation": evaluation, "progress": False}
        policies = _from(checkpoint, train_offline, data, self.agent, self.seeds, self.device, **options)
        return policies, time.perf_counter() - start - spent

    def _build(self, folder: Path, trained: tuple[list[Policy], float]) -> None:
        policies, seconds = trained
        policies = [policy.to("cpu") for policy in policies]
        score_result(folder, evaluate_seeds(policies, *self.scoring.arguments), seconds, policies)


def run_jobs(root: Path, jobs: dict[Any, OfflineJob], workers: int | None = None) -> dict[Any, Result]:
    """Run jobs in processes of one thread each, as many as this process has threads; results by the jobs' keys."""
    workers = min(workers or torch.get_num_threads(), len(jobs))
    bar = progress_bar(len(jobs), "training", True)
    if workers <= 1:
        folders = []
        for job in jobs.values():
            folders.append(job.run(root))
            bar.update()
    else:
        parallel = joblib.Parallel(n_jobs=workers, return_as="generator", batch_size=1)
        # The longest first would be better still; jobs of one kind are alike enough.
        folders = []
        for folder in parallel(joblib.delayed(_run_single_threaded)(job, root) for job in jobs.values()):
            folders.append(folder)
            bar.update()
    bar.close()
    return {key: read_result(folder) for key, folder in zip(jobs, folders, strict=True)}


def _run_single_threaded(job: OfflineJob, root: Path) -> Path:
    torch.set_num_threads(1)
    os.environ["TQDM_DISABLE"] = "1"
    try:
        return job.run(root)
    finally:
        # joblib takes a worker that stays large for one that leaks, and starts another.
        release_freed_memory()
