"""Running a scheduler or a policy in the environment, and scoring it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from . import metrics
from .config import NetworkConfig
from .env import RRMEnv
from .radio import Deployment
from .schedulers import Behaviour

EVALUATION_ENVS = 200  # environments stepped at once


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


def run_episode(behaviour: Behaviour, env: RRMEnv, deployment: Deployment | None = None) -> Iterator[tuple]:
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
        ValueError: `num_episodes` below 1, an unknown split, or a policy that does not fit the network.
    """
    if num_episodes < 1:
        raise ValueError(f"num_episodes = {num_episodes}: must be at least 1")
    if hasattr(behaviour, "check_fits"):
        behaviour.check_fits(config)
    rates, rewards = [], []
    with torch.no_grad():
        for first in range(0, num_episodes, EVALUATION_ENVS):
            num = min(EVALUATION_ENVS, num_episodes - first)
            env = RRMEnv(config, num, seed, split, device)
            deployment = Deployment.draw(config, num, seed, split, first)
            total, earned = 0.0, 0.0
            for _, _, reward, rate in run_episode(behaviour, env, deployment):
                total, earned = total + rate.double(), earned + reward.double()
            rates.append(total.cpu().numpy() / config.episode_ttis)
            rewards.append(earned.cpu().numpy() / config.episode_ttis)
    return Scores.of(np.concatenate(rates), np.concatenate(rewards), config.tail_weight)


def tune_itlinq(
    config: NetworkConfig, m_db: list[float], eta: list[float], num_episodes: int = 100, seed: int = 0
) -> list[dict[str, float]]:
    """R_score of ITLinQ over a grid of (M, eta) on validation deployments, best first.

    Returns:
        one dict per point: m_db, eta, sum_rate, tail_rate, score.
    """
    from .schedulers import ITLinQ

    rows = []
    for m in m_db:
        for exponent in eta:
            scores = evaluate(ITLinQ(m, exponent), config, num_episodes, seed, split="validation")
            rows.append(
                dict(m_db=m, eta=exponent, sum_rate=scores.sum_rate, tail_rate=scores.tail_rate, score=scores.score)
            )
    return sorted(rows, key=lambda row: -row["score"])
