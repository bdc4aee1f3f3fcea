"""Running a scheduler or a policy in the environment, and scoring it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check_kind, known_device, whole_number
from ..config import NetworkConfig
from .env import RRMEnv
from .radio import Deployment
from .schedulers import Behaviour, check_behaviour

TAIL_PERCENTILE = 5.0  # `paper`


def sum_rate(rates: np.ndarray) -> np.ndarray:
    """Mean over deployments of the users' summed mean rates: rates (..., D, J) -> (...), bit/s/Hz."""
    return rates.sum(-1).mean(-1)


def tail_rate(rates: np.ndarray) -> np.ndarray:
    """5th percentile (linear interpolation) of the pooled D * J mean rates: rates (..., D, J) -> (...), bit/s/Hz."""
    return np.percentile(rates.reshape(*rates.shape[:-2], -1), TAIL_PERCENTILE, axis=-1)


def score(rates: np.ndarray, tail_weight: float = 3.0) -> np.ndarray:
    """R_score = mu1 * sum rate + mu2 * tail rate with mu1 = 1/J: rates (..., D, J) -> (...)."""
    return sum_rate(rates) / rates.shape[-1] + tail_weight * tail_rate(rates)


EVALUATION_ENVS = 1000  # environments stepped at once


@dataclass(frozen=True)
class Scores:
    """One method's result on the evaluation deployments.

    Attributes:
        sum_rate: mean over deployments of the summed mean rates, bit/s/Hz.
        tail_rate: 5th percentile of all users' mean rates, pooled over deployments, bit/s/Hz.
        score: R_score = sum_rate / J + tail_weight * tail_rate.
        rates: (D, J) mean rate of each user over the episode, bit/s/Hz.
        rewards: (D,) mean reward per TTI.
    """

    sum_rate: float
    tail_rate: float
    score: float
    rates: np.ndarray = field(repr=False)
    rewards: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, rates: np.ndarray, rewards: np.ndarray, tail_weight: float) -> Scores:
        """Scores of the users' mean rates (D, J)."""
        return cls(
            sum_rate=float(sum_rate(rates)),
            tail_rate=float(tail_rate(rates)),
            score=float(score(rates, tail_weight)),
            rates=rates,
            rewards=rewards,
        )


def run_episode(
    behaviour: Behaviour, env: RRMEnv, deployment: Deployment | None = None
) -> Iterator[tuple[Any, Tensor, Tensor, Tensor]]:
    """Reset and run to truncation, yielding (view, users, reward (E,), rates (E, J)) of each TTI."""
    env.reset(deployment)
    behaviour.begin(env.deployment.key)
    truncated = False
    while not truncated:
        view = env.view(behaviour.knowledge)
        users = behaviour.serve(view)
        _, reward, _, ended, info = env.step_users(users)
        yield view, users, reward, info["rates"]
        truncated = bool(ended.any())


def check_fits(behaviour: Behaviour, config: NetworkConfig) -> None:
    """ValueError if a policy was trained for another I or N; schedulers fit everywhere."""
    if hasattr(behaviour, "check_fits"):
        behaviour.check_fits(config)


def on_device(behaviour: Any, device: str | torch.device) -> Any:
    """A policy moved to a device; schedulers compute where their view is."""
    return behaviour.to(device) if hasattr(behaviour, "to") else behaviour


def evaluate(
    behaviour: Behaviour,
    config: NetworkConfig,
    num_episodes: int = 100,
    seed: int = 0,
    split: str = "test",
    device: str | torch.device = "cpu",
) -> Scores:
    """Score a scheduler or a policy on the first `num_episodes` deployments of a split.

    Everything scored with the same (config, split, seed) sees the same channels (common random numbers).

    Args:
        behaviour: anything with `begin` and `serve`; a learned policy acts greedily unless made to sample.
        config: the network; `episode_ttis` is the length that is scored.
        num_episodes: D.
        seed: of the deployments.
        split: "test" for results, "validation" for tuning.
        device: where to run.

    Raises:
        ValueError: `num_episodes` below 1, an unknown split or device, no behaviour, or a policy that does not fit the
            network.
    """
    check_behaviour("behaviour", behaviour)
    return evaluate_copies(on_device(behaviour, known_device(device)), 1, config, num_episodes, seed, split, device)[0]


def evaluate_copies(
    behaviour: Behaviour, copies: int, config: NetworkConfig, num_episodes: int, seed: int, split: str, device: Any
) -> list[Scores]:
    """Scores of `copies` groups of environments that all see the same deployments."""
    check_kind("config", config, NetworkConfig)
    num_episodes = whole_number("num_episodes", num_episodes)
    if num_episodes < 1:
        raise ValueError(f"num_episodes = {num_episodes}: must be at least 1")
    check_fits(behaviour, config)
    rates, rewards = [], []
    at_once = max(1, EVALUATION_ENVS // copies)
    with torch.no_grad():
        for first in range(0, num_episodes, at_once):
            num = min(at_once, num_episodes - first)
            deployment = Deployment.draw(config, num, seed, split, first)
            env = RRMEnv(config, num * copies, seed, split, device, copies=copies)
            total, earned = torch.zeros((), device=device), torch.zeros((), device=device)
            for _, _, reward, rate in run_episode(behaviour, env, deployment):
                total, earned = total + rate.double(), earned + reward.double()
            rates.append(total.cpu().numpy().reshape(copies, num, -1) / config.episode_ttis)
            rewards.append(earned.cpu().numpy().reshape(copies, num) / config.episode_ttis)
    return [
        Scores.of(rate, reward, config.tail_weight)
        for rate, reward in zip(np.concatenate(rates, 1), np.concatenate(rewards, 1), strict=True)
    ]
