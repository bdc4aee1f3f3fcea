"""Standardisation of observations and rewards by the training data.

Shapes: I APs, N top users."""

from __future__ import annotations

import torch
from torch import Tensor


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
