"""Offline training: all seeds of a configuration as one batched program.

Shapes: S seeds, B batch, n transitions, I APs, N top users.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from .agents.learner import AgentConfig, Batch, Learner, Metrics, seeded_generators
from .agents.policy import Policy, method_name
from .checkpoint import digest, load, save
from .config import NetworkConfig, check_kind, seed_number, several, whole_number
from .datasets import Dataset
from .env import known_device
from .storage import as_path, reading

INDEX_BLOCK = 1000  # updates whose minibatches a seed draws at once
LOG_POINTS = 200  # of the loss curves
WATCH_UPDATES = 50  # between two copies of the parameters, to which a seed that breaks goes back
CHECKPOINT_UPDATES = 500  # between two savings of an interruptible training: some seconds' work
Evaluation = Callable[[list[Policy]], list[Any]]  # policies of all seeds -> their Scores


def train_offline(
    data: Dataset,
    config: AgentConfig,
    seeds: Sequence[int] = range(5),
    device: str | torch.device = "cpu",
    evaluate_every: int = 0,
    evaluation: Evaluation | None = None,
    progress: bool = True,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = CHECKPOINT_UPDATES,
) -> list[Policy]:
    """Train on logged data alone, with a learning rate that falls linearly to 0; the last parameters count.

    Args:
        data: the transitions; all of them are used.
        config: paradigm x backbone x penalty and its numbers.
        seeds: training seeds; each draws its own parameters and minibatches, so a seed does not depend on the others.
        device: where to train.
        evaluate_every: updates between two calls of `evaluation`, 0 for none; never fed back into the training.
        evaluation: scores the policies of all seeds, `lambda p: evaluate_seeds(p, network, 20, split="validation")`.
        progress: show a progress bar.
        checkpoint: folder in which the training keeps where it is; the same call goes on from there, and ends with the
            same bits as if it had never stopped. It stays when the training is done.
        checkpoint_every: updates between two savings, of which an interruption costs at most so many.

    Returns:
        one Policy per seed, with its history: "update", the columns of `Metrics`, and from `evaluation`
        "eval_update", "eval_sum_rate", "eval_tail_rate", "eval_score".

    Raises:
        ValueError: no seeds, seeds named twice, data that do not pass `Dataset.check`, no AgentConfig, a negative
            `evaluate_every`, an `evaluation` that cannot be called, a device that is not there, or a checkpoint of
            another training.
        CorruptFileError: the checkpoint was changed since it was written, or does not hold what one holds.
        FloatingPointError: the losses of all seeds became NaN or infinite.

    A seed whose loss becomes NaN or infinite stops there, with a warning and its last good parameters; others go on.
    """
    check_kind("data", data, Dataset)
    check_kind("config", config, AgentConfig)
    check_options(evaluate_every, evaluation, progress, checkpoint)
    if whole_number("checkpoint_every", checkpoint_every) < 1:
        raise ValueError(f"checkpoint_every = {checkpoint_every}: must be at least 1")
    seeds, device = check_seeds(seeds), known_device(device)
    network = data.network
    data.check()
    scale = Scale.of(data.obs, data.mask, data.rewards)
    learner = Learner(config, network.num_aps, network.top_n, seeds, device)
    source = Minibatches(data, scale, config.batch_size, seeds, device)
    history = History(len(seeds), max(1, config.num_updates // LOG_POINTS))
    done = 0
    if checkpoint is not None:
        columns = (data.obs, data.mask, data.rows, data.actions, data.rewards, data.terminated)
        facts = {"agent": config.to_dict(), "seeds": seeds, "data": digest(columns), "evaluate_every": evaluate_every}
        if (stored := load(Path(checkpoint), facts)) is not None:
            with reading(Path(checkpoint) / "state"):
                done = int(stored["done"])
                learner.restore(stored)
                history.restore(stored)
            source.skip(done)
    bar = progress_bar(config.num_updates, f"{method_name(config)}, {len(seeds)} seeds", progress)
    bar.update(done)
    watch = Watch(learner, seeds, done)
    for update in range(done + 1, config.num_updates + 1):
        # Down to nothing, so that the last parameters are not one point of a noisy walk.
        learner.scale_learning_rate(1 - (update - 1) / config.num_updates)
        metrics = learner.update(source.next())
        watch.look(update, metrics)
        history.add(update, metrics, last=update == config.num_updates)
        if evaluation and evaluate_every and update % evaluate_every == 0:
            history.add_scores(update, evaluation(policies_of(learner, network, scale, seeds)))
        if checkpoint is not None and update % checkpoint_every == 0:
            save(Path(checkpoint), facts, {"done": torch.tensor(update), **learner.state(), **history.state()})
        bar.update()
    bar.close()
    watch.put_back()
    return policies_of(learner, network, scale, seeds, history)


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """The seeds as a list; ValueError if there are none, or one is negative, named twice or not a whole number."""
    seeds = [seed_number(seed, "seeds, one of them") for seed in several("seeds", seeds)]
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds = {seeds}: need at least one, none negative and none twice")
    return seeds


def check_options(evaluate_every: Any, evaluation: Any, progress: Any, checkpoint: Any) -> None:
    """ValueError for what no training, offline or online, takes."""
    if whole_number("evaluate_every", evaluate_every) < 0:
        raise ValueError(f"evaluate_every = {evaluate_every}: must be at least 0")
    if evaluation is not None and not callable(evaluation):
        raise ValueError(f"evaluation = {evaluation!r}: must be a function of the policies")
    check_kind("progress", progress, bool)
    if checkpoint is not None:
        as_path(checkpoint)


def progress_bar(total: int, text: str, show: bool) -> tqdm:
    """A bar that is redrawn on a terminal and in a notebook, and rarely where the output is a log."""
    interactive = sys.stderr.isatty() or "ipykernel" in sys.modules
    # A text bar also in notebooks: the widget freezes at 0% where nobody renders it.
    return tqdm(
        total=total, desc=text, disable=not show, mininterval=1.0 if interactive else 30.0, ncols=100, leave=False
    )


class Scale:
    """Standardisation by the training data: observations per feature (2N), rewards by one mean and spread."""

    def __init__(self, obs_mean: Tensor, obs_std: Tensor, reward_mean: Tensor, reward_std: Tensor) -> None:
        self.tensors = {"obs_mean": obs_mean, "obs_std": obs_std, "reward_mean": reward_mean, "reward_std": reward_std}

    @classmethod
    def of(cls, obs: Tensor, mask: Tensor, rewards: Tensor) -> Scale:
        """From raw obs (..., I, 2N), masks (..., I, N+1) and rewards; empty slots do not count."""
        filled = mask[..., 1:].repeat_interleave(2, -1).flatten(0, -2).double()
        values = obs.flatten(0, -2).double()
        count = filled.sum(0).clamp(min=1)
        mean = (values * filled).sum(0) / count
        std = ((values - mean).square() * filled).sum(0).div(count).sqrt()
        spread = rewards.double().std(correction=0)
        return cls(
            mean.float(),
            torch.where(std > 1e-6, std, 1.0).float(),
            rewards.double().mean().float(),
            torch.where(spread > 1e-6, spread, 1.0).float(),
        )

    def obs(self, obs: Tensor) -> Tensor:
        """Standardised observations."""
        return (obs - self.tensors["obs_mean"].to(obs)) / self.tensors["obs_std"].to(obs)

    def reward(self, reward: Tensor) -> Tensor:
        """Standardised rewards."""
        return (reward - self.tensors["reward_mean"].to(reward)) / self.tensors["reward_std"].to(reward)


class Minibatches:
    """Minibatches of all seeds from a dataset held in contiguous tensors."""

    def __init__(
        self, data: Dataset, scale: Scale, size: int, seeds: Sequence[int], device: str | torch.device
    ) -> None:
        self.obs, self.mask = scale.obs(data.obs).to(device), data.mask.to(device)
        self.rows, self.actions = data.rows.to(device), data.actions.to(device)
        self.reward, self.terminated = scale.reward(data.rewards).to(device), data.terminated.to(device)
        self._generators = seeded_generators(seeds, purpose=1)
        self._size, self._used = size, INDEX_BLOCK

    def skip(self, num: int) -> None:
        """Leave out the first `num` minibatches, as if they had been taken."""
        for _ in range(-(-num // INDEX_BLOCK)):
            self._draw()
        self._used = INDEX_BLOCK - -num % INDEX_BLOCK

    def _draw(self) -> None:
        drawn = [torch.randint(len(self.rows), (INDEX_BLOCK, self._size), generator=g) for g in self._generators]
        self._index, self._used = torch.stack(drawn, 1).to(self.rows.device), 0

    def next(self) -> Batch:
        """The next minibatch of every seed."""
        if self._used == INDEX_BLOCK:
            self._draw()
        index = self._index[self._used]  # (S, B)
        self._used += 1
        rows = self.rows[index]
        return Batch(
            self.obs[rows],
            self.mask[rows],
            self.actions[index],
            self.reward[index],
            self.terminated[index],
            self.obs[rows + 1],
            self.mask[rows + 1],
        )


class Watch:
    """Looks after the seeds' losses: one that is no number any more stops its seed, and no other."""

    def __init__(self, learner: Learner, seeds: Sequence[int], update: int) -> None:
        self._learner, self._seeds = learner, seeds
        self._good, self._since = self._copy(), update
        self._stopped: dict[int, dict[str, Tensor]] = {}  # last good tensors, by the seed's place

    def look(self, update: int, metrics: Metrics) -> None:
        """After an update: warn of seeds that it broke; keep what is good from time to time."""
        finite = torch.stack(metrics).isfinite().all(0)
        if not bool(finite.all()):
            for k in (~finite).nonzero().flatten().tolist():
                if k in self._stopped:
                    continue
                self._stopped[k] = {name: tensor[k].clone() for name, tensor in self._good.items()}
                losses = ", ".join(f"{name} = {float(value[k]):g}" for name, value in metrics._asdict().items())
                warnings.warn(
                    f"seed {self._seeds[k]} stopped at update {update} ({losses}): it keeps its parameters of update "
                    f"{self._since}, the other seeds go on",
                    stacklevel=3,
                )
            if len(self._stopped) == len(self._seeds):
                raise FloatingPointError(f"all seeds stopped, the last one at update {update}: lower learning_rate")
        elif update % WATCH_UPDATES == 0:
            self._good, self._since = self._copy(), update

    def put_back(self) -> None:
        """Give stopped seeds their last good parameters."""
        now = self._learner.parameters()
        with torch.no_grad():
            for k, good in self._stopped.items():
                for name, tensor in good.items():
                    now[name][k] = tensor

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._learner.parameters().items()}


class History:
    """Loss and score curves of all seeds."""

    def __init__(self, seeds: int, every: int) -> None:
        self._every, self._count = every, 0
        self._sum: Tensor | None = None  # of the metrics since the last log point (columns, S)
        self._updates: list[int] = []
        self._points: list[Tensor] = []  # each (columns, S)
        self._eval_updates: list[int] = []
        self._scores: list[np.ndarray] = []  # each (3, S)

    def add(self, update: int, metrics: Metrics, last: bool = False) -> None:
        """Average the metrics over the updates since the last log point."""
        values = torch.stack(metrics)
        self._sum = values if self._sum is None else self._sum.to(values) + values
        self._count += 1
        if update % self._every == 0 or last:
            self._updates.append(update)
            self._points.append((self._sum / self._count).cpu())
            self._sum, self._count = None, 0

    def add_scores(self, update: int, scores: list[Any]) -> None:
        """Log an evaluation of all seeds."""
        self._eval_updates.append(update)
        self._scores.append(
            np.array([[getattr(s, name) for s in scores] for name in ("sum_rate", "tail_rate", "score")])
        )

    def state(self) -> dict[str, Tensor]:
        """Everything logged so far, by name."""
        tensors = {"history.update": torch.tensor(self._updates), "history.count": torch.tensor(self._count)}
        if self._points:
            tensors["history.points"] = torch.stack(self._points)
        if self._sum is not None:
            tensors["history.sum"] = self._sum
        if self._scores:
            tensors["history.eval_update"] = torch.tensor(self._eval_updates)
            tensors["history.scores"] = torch.from_numpy(np.stack(self._scores))
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `state` gave; other names are ignored."""
        self._updates, self._count = tensors["history.update"].tolist(), int(tensors["history.count"])
        self._points = list(tensors.get("history.points", ()))
        self._sum = tensors.get("history.sum")
        self._eval_updates = tensors["history.eval_update"].tolist() if "history.scores" in tensors else []
        self._scores = list(tensors["history.scores"].numpy()) if "history.scores" in tensors else []

    def of_seed(self, k: int) -> dict[str, np.ndarray]:
        """Columns of the k-th seed."""
        points = torch.stack(self._points)[..., k].double().numpy()
        columns = {"update": np.array(self._updates), **dict(zip(Metrics._fields, points.T, strict=True))}
        if self._scores:
            scores = np.stack(self._scores)[..., k]
            columns["eval_update"] = np.array(self._eval_updates)
            columns |= dict(zip(("eval_sum_rate", "eval_tail_rate", "eval_score"), scores.T, strict=True))
        return columns


def policies_of(
    learner: Learner, network: NetworkConfig, scale: Scale, seeds: Sequence[int], history: History | None = None
) -> list[Policy]:
    """One Policy per seed, with copies of its parameters."""
    stacks = {name: p.detach() for name, p in learner.parameters().items()}
    device = learner.log_temperature.device
    scales = {name: tensor.to(device) for name, tensor in scale.tensors.items()}
    return [
        Policy(
            learner.config,
            network,
            {**{name: stack[k].clone() for name, stack in stacks.items()}, **scales},
            seed,
            history.of_seed(k) if history else None,
        )
        for k, seed in enumerate(seeds)
    ]
