"""Logging a behaviour on training deployments.

Shapes: E environments, T TTIs, I APs, N top users."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..checks import check_kind, known_device, seed_number, whole_number
from ..config import NetworkConfig
from ..game.env import RRMEnv
from ..game.evaluation import check_fits, on_device, run_episode
from ..game.schedulers import Behaviour, check_behaviour
from ..game.views import CellView, NetworkView
from .dataset import Dataset, join

COLLECTION_ENVS = 200  # environments stepped at once


def collect(
    behaviour: Behaviour,
    config: NetworkConfig,
    num_transitions: int = 320_000,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Dataset:
    """Log a behaviour on training deployments.

    Args:
        behaviour: a scheduler or policy that stays within the slots.
        config: the network.
        num_transitions: n; the last episode is cut, and marked truncated, where this is reached.
        seed: of the deployments.
        device: where to run.

    Raises:
        ValueError: fewer than 1 transition, no seed, an unknown device, or a behaviour that serves users
            outside the slots.
    """
    num_transitions, seed = whole_number("num_transitions", num_transitions), seed_number(seed)
    device = known_device(device)
    if num_transitions < 1:
        raise ValueError(f"num_transitions = {num_transitions}: must be at least 1")
    check_kind("config", config, NetworkConfig)
    check_behaviour("behaviour", behaviour)
    check_fits(behaviour, config)
    if issubclass(behaviour.knowledge, CellView | NetworkView):
        raise ValueError(
            f"behaviour = {behaviour.name}: serves users outside the slots, so its actions cannot be logged"
        )
    logged = on_device(behaviour, device)
    metadata = {"network": config.to_dict(), "behaviour": logged.name, "seed": seed, "split": "train"}
    if hasattr(logged, "parameters"):
        metadata["behaviour_parameters"] = logged.parameters()
    parts, remaining, index = [], num_transitions, 0
    while remaining > 0:
        envs = min(COLLECTION_ENVS, math.ceil(remaining / config.episode_ttis))
        env = RRMEnv(config, envs, seed, "train", device)
        env._next_index = index
        part = _log_episodes(logged, env, metadata)
        parts.append(_cut(part, min(remaining, len(part))))
        remaining, index = remaining - len(part), index + envs
    return join(parts, metadata) if len(parts) > 1 else parts[0]


def _cut(data: Dataset, num: int) -> Dataset:
    """The first `num` transitions; what follows is cut off, so the last one is marked truncated."""
    data = data.select(torch.arange(num))
    return replace(data, truncated=data.truncated | (torch.arange(num) == num - 1))


def _log_episodes(behaviour: Behaviour, env: RRMEnv, metadata: dict[str, Any]) -> Dataset:
    """One whole episode of every environment."""
    steps = env.config.episode_ttis
    log: dict[str, list[Tensor]] = {"obs": [], "mask": [], "actions": [], "rewards": [], "log_prob": []}
    with torch.no_grad():
        for view, users, reward, _ in run_episode(behaviour, env):
            actions = view.actions(users)
            log["obs"].append(view.obs)
            log["mask"].append(view.action_mask)
            log["actions"].append(actions)
            log["rewards"].append(reward)
            log["log_prob"].append(
                behaviour.log_prob(view, actions)
                if hasattr(behaviour, "log_prob")
                else torch.zeros(env.num_envs).double()
            )
    log["obs"].append(env.obs)
    log["mask"].append(env.action_mask)
    columns = {name: torch.stack(values, 1).cpu().flatten(0, 1) for name, values in log.items()}
    last = torch.arange(steps) == steps - 1
    return Dataset(
        rows=(torch.arange(env.num_envs)[:, None] * (steps + 1) + torch.arange(steps)).flatten(),
        truncated=last.repeat(env.num_envs),
        terminated=torch.zeros(env.num_envs * steps, dtype=torch.bool),
        metadata=metadata,
        **{**columns, "obs": columns["obs"].float(), "rewards": columns["rewards"].float()},
    )
