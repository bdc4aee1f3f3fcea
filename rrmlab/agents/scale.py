"""Standardisation of observations and rewards by the training data.

Shapes: I APs, N top users, F features of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Scale:
    """Mean and spread of each number of an observation (N F), and of the rewards, in the training data.

    The APs' own rewards have one mean and one spread over all APs, in which the 0 of a silent AP counts: their scale is
    the same for all APs, so that their sum, standardised, still ranks joint actions as the team's reward does.
    """

    def __init__(self, obs_mean: Tensor, obs_std: Tensor, reward_mean: Tensor, reward_std: Tensor) -> None:
        self.tensors = {"obs_mean": obs_mean, "obs_std": obs_std, "reward_mean": reward_mean, "reward_std": reward_std}

    @classmethod
    def of(cls, obs: Tensor, mask: Tensor, rewards: Tensor) -> Scale:
        """From raw obs (..., I, N F), masks (..., I, N+1) and rewards of any shape, the team's or each AP's own; empty
        slots do not count."""
        features = obs.shape[-1] // (mask.shape[-1] - 1)
        filled = mask[..., 1:].repeat_interleave(features, -1).flatten(0, -2).double()
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

    @classmethod
    def stacked(cls, scales: Sequence[Scale]) -> Scale:
        """Those of S seeds as one, for observations (S, E, I, N F)."""
        names = ("obs_mean", "obs_std", "reward_mean", "reward_std")
        return cls(*(torch.stack([scale.tensors[name] for scale in scales])[:, None, None] for name in names))

    def with_raw_rewards(self) -> Scale:
        """The same for observations; rewards stay as they are."""
        mean, std = (self.tensors[name] for name in ("reward_mean", "reward_std"))
        return Scale(self.tensors["obs_mean"], self.tensors["obs_std"], torch.zeros_like(mean), torch.ones_like(std))

    def obs(self, obs: Tensor) -> Tensor:
        """Standardised observations."""
        return (obs - self.tensors["obs_mean"].to(obs)) / self.tensors["obs_std"].to(obs)

    def reward(self, reward: Tensor) -> Tensor:
        """Standardised rewards."""
        return (reward - self.tensors["reward_mean"].to(reward)) / self.tensors["reward_std"].to(reward)
