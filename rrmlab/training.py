"""Offline training: all seeds of a configuration as one batched program.

Shapes: S seeds, B batch, n transitions, I APs, N top users.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .agents.learner import AgentConfig, Batch, Learner, seeded_generators
from .agents.policy import Policy, method_name
from .checkpoint import digest, load, save
from .config import NetworkConfig, check_kind, seed_number, several, whole_number
from .datasets import Dataset
from .env import known_device
from .history import LOG_POINTS, History, Watch
from .storage import as_path, reading

INDEX_BLOCK = 1000  # updates whose minibatches a seed draws at once, `study`
CHECKPOINT_UPDATES = 500  # between two savings of an interruptible training: some seconds' work, `study`
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
    watch, done = Watch(learner, seeds), 0
    if checkpoint is not None:
        columns = (data.obs, data.mask, data.rows, data.actions, data.rewards, data.terminated)
        facts = {"agent": config.to_dict(), "seeds": seeds, "data": digest(columns), "evaluate_every": evaluate_every}
        facts |= {"network": network.to_dict(), "version": version("rrmlab")}
        if (stored := load(as_path(checkpoint), facts)) is not None:
            with reading(as_path(checkpoint) / "state"):
                done = int(stored["done"])
                learner.restore(stored)
                history.restore(stored)
                watch.restore(stored)
            source.skip(done)
    bar = progress_bar(config.num_updates, f"{method_name(config)}, {len(seeds)} seeds", progress)
    bar.update(done)
    for update in range(done + 1, config.num_updates + 1):
        # Down to nothing, so that the last parameters are not one point of a noisy walk.
        learner.scale_learning_rate(1 - (update - 1) / config.num_updates)
        metrics = learner.update(source.next())
        watch.look(update, metrics, last=update == config.num_updates)
        history.add(update, metrics, last=update == config.num_updates)
        if evaluation and evaluate_every and update % evaluate_every == 0:
            history.add_scores(update, evaluation(policies_of(learner, network, scale, seeds)))
        if checkpoint is not None and update % checkpoint_every == 0:
            state = learner.state() | history.state() | watch.state()
            save(as_path(checkpoint), facts, {"done": torch.tensor(update), **state})
        bar.update()
    bar.close()
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
