"""Running a scheduler or a policy in the environment, and scoring it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check_kind, known_device, several
from ..config import NetworkConfig
from .behaviours import Behaviour, Scheduler, check_behaviour, check_fits, on_device
from .deployment import Deployment
from .env import RRMEnv
from .given import given_or_drawn, number_of
from .population import presence

TAIL_PERCENTILE = 5.0  # `paper`


# Share of the episode for which a user must be there to count in the tail, `study`: 200 TTIs of 2,000. The stays of
# others are not much longer than the turn for which a user waits, so that their rates say when they came.
LEAST_PRESENCE = 0.1


def sum_rate(rates: np.ndarray, presence: np.ndarray | None = None) -> np.ndarray:
    """Mean over deployments of what all users get per TTI: rates (..., D, J) -> (...), bit/s/Hz.

    Args:
        rates: mean rate of each user while it is there.
        presence: (..., D, J), the share of the TTIs in which it is there; left out, 1.
    """
    return (rates if presence is None else rates * presence).sum(-1).mean(-1)


def tail_rate(
    rates: np.ndarray, presence: np.ndarray | None = None, least_presence: float = LEAST_PRESENCE
) -> np.ndarray:
    """5th percentile (linear interpolation) of the pooled D * J mean rates: rates (..., D, J) -> (...), bit/s/Hz; of
    users who are there for a share `least_presence` of the TTIs. NaN where nobody is."""
    if presence is None:
        return np.percentile(rates.reshape(*rates.shape[:-2], -1), TAIL_PERCENTILE, axis=-1)
    pooled = rates.reshape(*rates.shape[:-2], -1)
    counted = np.broadcast_to(presence, rates.shape).reshape(pooled.shape) >= least_presence
    number = counted.sum(-1, keepdims=True)
    place = TAIL_PERCENTILE / 100 * np.maximum(number - 1, 0)
    low = place.astype(int)
    high = np.minimum(low + 1, np.maximum(number - 1, 0))
    ranked = np.partition(np.where(counted, pooled, np.inf), range(low.min(), high.max() + 1))
    below, above = (np.take_along_axis(ranked, at, -1) for at in (low, high))
    with np.errstate(invalid="ignore"):
        return (below + (place - low) * (above - below))[..., 0]


def score(rates: np.ndarray, tail_weight: float = 3.0, presence: np.ndarray | None = None) -> np.ndarray:
    """R_score = mean rate + mu2 * tail rate: rates (..., D, J) -> (...). The mean is the sum rate over the number of
    users, that is J, or with a `presence` (..., D, J) the mean number of those who are there."""
    users = rates.shape[-1] if presence is None else presence.sum(-1).mean(-1)
    return sum_rate(rates, presence) / users + tail_weight * tail_rate(rates, presence)


EPISODES = 100  # deployments of a score, `study`
EVALUATION_ENVS = 1000  # environments stepped at once


@dataclass(frozen=True, eq=False)
class Scores:
    """One method's result on the evaluation deployments.

    Attributes:
        sum_rate: mean over deployments of the summed mean rates, bit/s/Hz.
        tail_rate: 5th percentile of all users' mean rates, pooled over deployments, bit/s/Hz.
        score: R_score = sum_rate / J + tail_weight * tail_rate, bit/s/Hz; J is the mean number of users who are there.
        rates: (D, J) mean rate of each user over the episode, or while it is there, bit/s/Hz.
        rewards: (D,) mean reward per TTI.
        presence: (D, J) share of the counted TTIs in which each user is there; None where all users stay.
    """

    sum_rate: float
    tail_rate: float
    score: float
    rates: np.ndarray = field(repr=False)
    rewards: np.ndarray = field(repr=False)
    presence: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, rates: np.ndarray, rewards: np.ndarray, tail_weight: float, presence: np.ndarray | None = None
    ) -> Scores:
        """Scores of the users' mean rates (D, J)."""
        return cls(
            sum_rate=float(sum_rate(rates, presence)),
            tail_rate=float(tail_rate(rates, presence)),
            score=float(score(rates, tail_weight, presence)),
            rates=rates,
            rewards=rewards,
            presence=presence,
        )


def run_episode(
    behaviour: Behaviour, env: RRMEnv, deployment: Deployment | None = None
) -> Iterator[tuple[Any, Tensor, Tensor, dict[str, Any]]]:
    """Reset and run to truncation, yielding (view, users, reward (E,), info) of each TTI, see `RRMEnv.step`.

    Raises:
        ValueError: the behaviour serves what it may not (the message names it), or it is running in another thread,
            as it keeps the state of one episode.
    """
    with _in_this_thread(behaviour):
        env.reset(deployment)
        behaviour.begin(env.deployment.key)
        truncated = False
        while not truncated:
            view = env.view(behaviour.knowledge)
            users = behaviour.serve(view)
            with naming(behaviour, "serve"):
                _, reward, _, ended, info = env.step_users(users)
            yield view, users, reward, info
            truncated = bool(ended.any())


@contextmanager
def naming(behaviour: Behaviour, method: str) -> Iterator[None]:
    """Put the behaviour's name and its method in front of the message of a ValueError about what it returned."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"behaviour = {behaviour.name}, {method}: {error}") from None


_RUNNING: dict[int, threading.Thread] = {}  # the thread that a behaviour runs in, by its id


@contextmanager
def _in_this_thread(behaviour: Behaviour) -> Iterator[None]:
    if getattr(type(behaviour), "begin", None) is Scheduler.begin:  # no state
        yield
        return
    here = threading.current_thread()
    other = _RUNNING.setdefault(id(behaviour), here)
    if other is not here and other.is_alive():
        raise ValueError(
            f"behaviour = {behaviour.name}: is running in another thread, {other.name}; give each thread its own, "
            "copy.deepcopy(behaviour)"
        )
    _RUNNING[id(behaviour)] = here
    try:
        yield
    finally:
        _RUNNING.pop(id(behaviour), None)


def evaluate(
    behaviour: Behaviour,
    config: NetworkConfig,
    num_episodes: int | None = None,
    seed: int = 0,
    split: str = "test",
    device: str | torch.device = "cpu",
    deployments: Deployment | None = None,
) -> Scores:
    """Score a scheduler or a policy on the first `num_episodes` deployments of a split, or of given ones.

    Everything scored with the same (config, split, seed), or on the same given deployments, sees the same channels
    (common random numbers).

    Args:
        behaviour: a scheduler or a policy, see `Behaviour`; a learned policy acts greedily unless made to sample.
        config: the network; `episode_ttis` is the length that is scored.
        num_episodes: D; left out, 100, or all of the given deployments.
        seed: of the deployments.
        split: "test" for results, "validation" for tuning.
        device: where to run.
        deployments: in place of those that `seed` and `split` name.

    Raises:
        ValueError: `num_episodes` below 1 or above the number of given deployments, an unknown split or device, no
            behaviour, a policy that does not fit the network, what `Deployment.check` or `run_episode` refuses.

    >>> from rrmlab.game.schedulers import make_scheduler
    >>> scores = evaluate(make_scheduler("full_reuse"), NetworkConfig(episode_ttis=20), num_episodes=4)
    >>> scores.rates.shape, scores.score > 0
    ((4, 24), True)
    """
    check_behaviour("behaviour", behaviour)
    behaviour = on_device(behaviour, known_device(device))
    return evaluate_copies(behaviour, 1, config, num_episodes, seed, split, device, deployments)[0]


def evaluate_all(behaviours: Sequence[Behaviour], *arguments: Any, **options: Any) -> list[Scores]:
    """`evaluate` for several behaviours of the same knowledge: the channels are computed once for all of them.

    Args:
        behaviours: schedulers or policies.
        arguments, options: those of `evaluate` after the first.

    Raises:
        ValueError: what `evaluate` refuses, no behaviour, or behaviours that look at different views.
    """
    behaviours = several("behaviours", behaviours)
    for behaviour in behaviours:
        check_behaviour("behaviours", behaviour)
    if len({behaviour.knowledge for behaviour in behaviours}) != 1:
        raise ValueError("behaviours: must be at least one, all of the same knowledge")
    bound = signature(evaluate).bind(_SideBySide(behaviours), *arguments, **options)
    bound.apply_defaults()
    together, *rest = bound.args
    return evaluate_copies(together, len(behaviours), *rest)


class _SideBySide:
    """Behaviours each of which decides for a group of equally many environments, one after the other."""

    def __init__(self, behaviours: Sequence[Behaviour]) -> None:
        self.behaviours, self.knowledge = behaviours, behaviours[0].knowledge
        self.name = ", ".join(behaviour.name for behaviour in behaviours)

    def check_fits(self, network: NetworkConfig) -> None:
        for behaviour in self.behaviours:
            check_fits(behaviour, network)

    def begin(self, key: Tensor) -> None:
        for behaviour, part in zip(self.behaviours, key.chunk(len(self.behaviours)), strict=True):
            behaviour.begin(part)

    def serve(self, view: Any) -> Tensor:
        served, size = [], len(view.slots) // len(self.behaviours)
        for k, behaviour in enumerate(self.behaviours):
            group = slice(k * size, (k + 1) * size)
            tensors = {name: values[group] for name, values in vars(view).items() if isinstance(values, Tensor)}
            served.append(behaviour.serve(replace(view, **tensors)))
        return torch.cat(served)


def evaluate_copies(
    behaviour: Behaviour,
    copies: int,
    config: NetworkConfig,
    num_episodes: int | None,
    seed: int,
    split: str,
    device: Any,
    deployments: Deployment | None,
) -> list[Scores]:
    """Scores of `copies` groups of environments that all see the same deployments."""
    check_kind("config", config, NetworkConfig)
    check_fits(behaviour, config)
    num_episodes = number_of("num_episodes", num_episodes, EPISODES, config, deployments)
    rates, rewards, shares = [], [], []
    at_once = max(1, EVALUATION_ENVS // copies)
    with torch.no_grad():
        for first in range(0, num_episodes, at_once):
            num = min(at_once, num_episodes - first)
            deployment = given_or_drawn(deployments, config, num, seed, split, first)
            env = RRMEnv(config, num * copies, seed, split, device, copies=copies)
            total, earned = torch.zeros((), device=device), torch.zeros((), device=device)
            for _, _, reward, info in run_episode(behaviour, env, deployment):
                total, earned = total + info["rates"].double(), earned + reward.double()
            rates.append(total.cpu().numpy().reshape(copies, num, -1) / config.episode_ttis)
            shares.append(presence(config, deployment))
            rewards.append(earned.cpu().numpy().reshape(copies, num) / config.episode_ttis)
    share = np.concatenate(shares) if config.mean_stay_s else None
    # Of one who was never there the rate is 0.
    over = 1 if share is None else np.where(share > 0, share, 1)
    return [
        Scores.of(rate / over, reward, config.tail_weight, share)
        for rate, reward in zip(np.concatenate(rates, 1), np.concatenate(rewards, 1), strict=True)
    ]
