"""Running a scheduler or a policy in the environment, and scoring it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import metrics
from .agents.policy import Policy, PolicyStack
from .config import NetworkConfig, check_kind, several, whole_number
from .env import RRMEnv, known_device
from .radio import Deployment
from .reports import BadReports
from .schedulers import Behaviour, ITLinQ, check_behaviour

EVALUATION_ENVS = 1000  # environments stepped at once


@dataclass(frozen=True)
class Scores:
    """One method's result on the evaluation deployments.

    Attributes:
        sum_rate: mean over deployments of the summed mean rates, bit/s/Hz.
        tail_rate: 5th percentile of all users' mean rates, pooled over deployments, bit/s/Hz.
        score: R_score = sum_rate / J + tail_weight * tail_rate.
        deployment_tail_rate: mean of the deployments' own 5th percentiles, bit/s/Hz.
        rates: (D, J) mean rate of each user over the episode, bit/s/Hz.
        rewards: (D,) mean reward per TTI.
    """

    sum_rate: float
    tail_rate: float
    score: float
    deployment_tail_rate: float
    rates: np.ndarray = field(repr=False)
    rewards: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, rates: np.ndarray, rewards: np.ndarray, tail_weight: float) -> Scores:
        """Scores of the users' mean rates (D, J)."""
        return cls(
            sum_rate=float(metrics.sum_rate(rates)),
            tail_rate=float(metrics.tail_rate(rates)),
            score=float(metrics.score(rates, tail_weight)),
            deployment_tail_rate=float(metrics.tail_rate(rates[:, None]).mean()),
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
    return _evaluate(on_device(behaviour, known_device(device)), 1, config, num_episodes, seed, split, device)[0]


def evaluate_seeds(
    policies: Sequence[Policy],
    config: NetworkConfig,
    num_episodes: int = 100,
    seed: int = 0,
    split: str = "test",
    device: str | torch.device = "cpu",
    delay_ttis: int = 0,
    noise_db: float = 0.0,
) -> list[Scores]:
    """`evaluate` for the policies of several training seeds of one configuration, run side by side.

    Args:
        policies: of one configuration; the others are those of `evaluate`.
        delay_ttis, noise_db: with late or noisy reports, see `BadReports`.
    """
    if not isinstance(policies, list | tuple) or not all(isinstance(policy, Policy) for policy in policies):
        raise ValueError("policies: must be a list of Policy")
    device = known_device(device)
    stack = PolicyStack([on_device(policy, device) for policy in policies])
    heard = BadReports(stack, delay_ttis, noise_db) if delay_ttis or noise_db else stack
    return _evaluate(heard, len(policies), config, num_episodes, seed, split, device)


def _evaluate(
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


def tune_itlinq(
    config: NetworkConfig, m_db: Sequence[float], eta: Sequence[float], num_episodes: int = 100, seed: int = 0
) -> list[dict[str, float]]:
    """R_score of ITLinQ over a grid of (M, eta) on validation deployments, best first.

    Returns:
        one dict per point: m_db, eta, sum_rate, tail_rate, score.

    Raises:
        ValueError: numbers that `ITLinQ` refuses, or what `evaluate` does.
    """
    rows, eta = [], several("eta", eta)
    for m in several("m_db", m_db):
        for exponent in eta:
            scores = evaluate(ITLinQ(m, exponent), config, num_episodes, seed, split="validation")
            rows.append(
                dict(m_db=m, eta=exponent, sum_rate=scores.sum_rate, tail_rate=scores.tail_rate, score=scores.score)
            )
    return sorted(rows, key=lambda row: -row["score"])
