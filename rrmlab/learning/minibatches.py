"""Minibatches of all seeds: from a dataset, or from the replay buffer of an online training.

Shapes: S seeds, B batch, E environments of each seed, I APs, N top users."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..agents.learner import Batch
from ..agents.scale import Scale
from ..config import NetworkConfig
from ..game.observations import observation_of
from ..random_streams import INDEX_BLOCK, MinibatchStream
from .dataset import Dataset

STEPS = ("actions", "rewards", "own_rewards", "log_prob")  # what a replay holds of each step


class Minibatches:
    """Minibatches of all seeds from a dataset held in contiguous tensors, with `Dataset.rewards_of` a kind."""

    def __init__(
        self,
        data: Dataset,
        scale: Scale,
        size: int,
        seeds: Sequence[int],
        device: str | torch.device,
        reward: str = "team",
    ) -> None:
        self.obs, self.mask = scale.obs(data.obs).to(device), data.mask.to(device)
        self.rows, self.actions = data.rows.to(device), data.actions.to(device)
        self.reward = scale.reward(data.rewards_of(reward)).to(device)
        self.terminated = data.terminated.to(device)
        self.stream = MinibatchStream(
            seeds,
            lambda g: torch.randint(len(self.rows), (INDEX_BLOCK, size), generator=g, device="cpu"),
            self.rows.device,
        )

    def next(self) -> Batch:
        """The next minibatch of every seed."""
        index = self.stream.next()  # (S, B)
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


class Replay:
    """Everything seen: a row per step, and one more at an episode's end for the true last observation."""

    def __init__(
        self, steps: int, episode: int, seeds: int, envs: int, network: NetworkConfig, device: str | torch.device
    ) -> None:
        rows, aps, n = steps + math.ceil(steps / episode), network.num_aps, network.top_n
        size = observation_of(network).size(network)
        self.size = (seeds, envs)
        self.obs = torch.empty(rows, seeds, envs, aps, size, dtype=torch.float32, device=device)
        self.mask = torch.empty(rows, seeds, envs, aps, n + 1, dtype=torch.bool, device=device)
        small = torch.uint8 if n < 256 else torch.int64
        self.actions = torch.empty(steps, seeds, envs, aps, dtype=small, device=device)
        self.rewards = torch.empty(steps, seeds, envs, dtype=torch.float32, device=device)
        self.own_rewards = torch.empty(steps, seeds, envs, aps, dtype=torch.float32, device=device)
        self.log_prob = torch.empty(steps, seeds, envs, dtype=torch.float64, device=device)
        self.rows = torch.empty(steps, dtype=torch.int64, device=device)
        self.last = torch.zeros(steps, dtype=torch.bool, device=device)
        self.steps = self._row = 0

    def add(self, obs: Tensor, mask: Tensor, *step: Tensor) -> None:
        """Append one step of all S * E environments: its observation and mask, and the columns `STEPS`."""
        self._put(obs, mask)
        self.rows[self.steps] = self._row - 1
        for name, values in zip(STEPS, step, strict=True):
            getattr(self, name)[self.steps] = values.unflatten(0, self.size)
        self.steps += 1

    def close(self, obs: Tensor, mask: Tensor) -> None:
        """Append the last observation of an episode."""
        self.last[self.steps - 1] = True
        self._put(obs, mask)

    def _put(self, obs: Tensor, mask: Tensor) -> None:
        self.obs[self._row] = obs.unflatten(0, self.size)
        self.mask[self._row] = mask.unflatten(0, self.size)
        self._row += 1

    def last_episode(self) -> dict[str, Tensor]:
        """What the episode that just ended has added, by name."""
        before = self.last[: self.steps - 1].nonzero()
        first = int(before[-1]) + 1 if len(before) else 0
        columns = {name: getattr(self, name)[first : self.steps] for name in STEPS}
        rows = slice(int(self.rows[first]), self._row)
        return columns | {"obs": self.obs[rows], "mask": self.mask[rows]}

    def append(self, episode: dict[str, Tensor]) -> None:
        """Add an episode that `last_episode` gave."""
        rows, steps = len(episode["obs"]), len(episode["actions"])
        self.rows[self.steps : self.steps + steps] = torch.arange(self._row, self._row + steps, device="cpu")
        for name in STEPS:
            getattr(self, name)[self.steps : self.steps + steps] = episode[name].to(self.rows.device)
        for name in ("obs", "mask"):
            getattr(self, name)[self._row : self._row + rows] = episode[name].to(self.rows.device)
        self.steps, self._row = self.steps + steps, self._row + rows
        self.last[self.steps - 1] = True

    def second_halves(self, metadata: Sequence[dict[str, Any]]) -> list[Dataset]:
        """The transitions of each seed's second half, environment after environment. Afterwards the replay is empty, so
        that nothing is held twice."""
        seeds, envs = self.size
        begin = self.steps // 2
        start = int(self.rows[begin])
        count = self._row - start
        rows = (
            torch.arange(envs, device="cpu")[:, None] * count + self.rows[begin : self.steps].cpu() - start
        ).flatten()
        truncated = self.last[begin:].cpu().repeat(envs)
        columns = {}
        for name in ("obs", "mask", *STEPS):
            kept = getattr(self, name)[begin : self.steps] if name in STEPS else getattr(self, name)[start : self._row]
            delattr(self, name)
            parts = [kept[:, k].transpose(0, 1).flatten(0, 1).cpu() for k in range(seeds)]
            columns[name] = [part.long() for part in parts] if name == "actions" else parts
        return [
            Dataset(
                rows=rows.clone(),
                terminated=torch.zeros_like(truncated),
                truncated=truncated.clone(),
                metadata=metadata[k],
                **{name: parts[k] for name, parts in columns.items()},
            )
            for k in range(seeds)
        ]


class ReplaySampler:
    """Minibatches of all seeds from the replay, uniform over what is there, each seed from its own generator."""

    def __init__(self, replay: Replay, scale: Scale, size: int, seeds: Sequence[int], reward: str = "team") -> None:
        self.replay, self.scale = replay, scale
        self._rewards = replay.own_rewards if reward == "own" else replay.rewards
        self._seed = torch.arange(len(seeds), device=replay.rows.device)[:, None]
        # The buffer grows, so what is drawn ahead is a place in [0, 1), not an index.
        self.stream = MinibatchStream(
            seeds,
            lambda g: torch.rand(INDEX_BLOCK, size, generator=g, dtype=torch.float64, device="cpu"),
            replay.rows.device,
        )

    def next(self) -> Batch:
        """The next minibatch of every seed."""
        replay = self.replay
        # The newest step is left out: its next observation is stored with the step after it.
        count = (replay.steps - 1) * replay.size[1]
        index = (self.stream.next() * count).long()  # (S, B)
        step, env = index // replay.size[1], index % replay.size[1]
        row = replay.rows[step]
        return Batch(
            self.scale.obs(replay.obs[row, self._seed, env]),
            replay.mask[row, self._seed, env],
            replay.actions[step, self._seed, env].long(),
            self.scale.reward(self._rewards[step, self._seed, env]),
            torch.zeros_like(step, dtype=torch.bool),
            self.scale.obs(replay.obs[row + 1, self._seed, env]),
            replay.mask[row + 1, self._seed, env],
        )
