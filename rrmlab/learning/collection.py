"""Logging a behaviour.

Shapes: E environments, T TTIs, I APs, N top users."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..checks import check_kind, check_tensor, is_kind, known_device, seed_number
from ..config import NetworkConfig
from ..game.behaviours import Behaviour, check_behaviour, check_fits, on_device
from ..game.deployment import Deployment
from ..game.env import RRMEnv
from ..game.evaluation import naming, run_episode
from ..game.given import given_or_drawn, number_of
from ..game.imperfect_reports import ImperfectReports
from ..game.views import CellView, NetworkView, ReportView
from .dataset import Dataset, join
from .tables import ROUNDING

TRANSITIONS = 320_000  # of a log, `study`
COLLECTION_ENVS = 200  # environments stepped at once


def collect(
    behaviour: Behaviour,
    config: NetworkConfig,
    num_transitions: int | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    deployments: Deployment | None = None,
) -> Dataset:
    """Log a behaviour on training deployments, or on given ones.

    Args:
        behaviour: a scheduler or policy that stays within the slots; of `ImperfectReports` of one, what it sees is
            logged.
        config: the network.
        num_transitions: n, left out 320,000, or whole episodes of all given deployments; the last episode is cut, and
            marked truncated, where this is reached.
        seed: of the deployments.
        device: where to run.
        deployments: in place of those that `seed` names.

    Raises:
        ValueError: fewer than 1 transition or more than given deployments have, no seed, an unknown device, a behaviour
            that serves users outside the slots, or what `Deployment.check` or `run_episode` refuses.

    >>> from rrmlab.game.schedulers import make_scheduler
    >>> data = collect(make_scheduler("random_walk"), NetworkConfig(episode_ttis=20), num_transitions=50)
    >>> len(data), tuple(data.obs.shape), tuple(data.actions.shape)
    (50, (63, 4, 6), (50, 4))
    """
    seed, device = seed_number(seed), known_device(device)
    check_kind("config", config, NetworkConfig)
    num_transitions = number_of(
        "num_transitions", num_transitions, TRANSITIONS, config, deployments, config.episode_ttis
    )
    check_behaviour("behaviour", behaviour)
    check_fits(behaviour, config)
    if issubclass(behaviour.knowledge, CellView | NetworkView) and not is_kind(behaviour, ImperfectReports):
        reason = f"may serve users outside the slots, as it looks at {behaviour.knowledge.__name__}"
        raise ValueError(f"behaviour = {behaviour.name}: {reason}; ObservationView or CrossGainView can be logged")
    logged = on_device(behaviour, device)
    metadata = {"network": config.to_dict(), "behaviour": logged.name}
    metadata |= {"seed": seed, "split": "train"} if deployments is None else {"split": "given"}
    if hasattr(logged, "parameters"):
        metadata["behaviour_parameters"] = logged.parameters()
        try:
            json.dumps(metadata)
        except (TypeError, ValueError) as error:
            raise ValueError(f"behaviour = {logged.name}, parameters: must be plain values ({error})") from None
    parts, remaining, index = [], num_transitions, 0
    while remaining > 0:
        envs = min(COLLECTION_ENVS, math.ceil(remaining / config.episode_ttis))
        part = given_or_drawn(deployments, config, envs, seed, "train", index)
        log = _log_episodes(logged, RRMEnv(config, envs, device=device), part, metadata)
        parts.append(_cut(log, min(remaining, len(log))))
        remaining, index = remaining - len(log), index + envs
    return join(parts, metadata) if len(parts) > 1 else parts[0]


def _cut(data: Dataset, num: int) -> Dataset:
    """The first `num` transitions; what follows is cut off, so the last one is marked truncated."""
    if num == len(data):  # whole episodes, which end truncated
        return data
    index = torch.arange(num, device="cpu")
    data = data.select(index)
    return replace(data, truncated=data.truncated | (index == num - 1))


def _log_episodes(behaviour: Behaviour, env: RRMEnv, deployment: Deployment, metadata: dict[str, Any]) -> Dataset:
    """One whole episode of every environment."""
    steps = env.config.episode_ttis
    names = ("obs", "mask", "actions", "rewards", "own_rewards", "log_prob")
    log: dict[str, list[Tensor]] = {name: [] for name in names}
    late: Any = behaviour if is_kind(behaviour, ImperfectReports) else None
    author = late.behaviour if late else behaviour
    with torch.no_grad():
        for view, users, reward, info in run_episode(behaviour, env, deployment):
            view = late.shown if late else view
            with naming(behaviour, "serve"):
                actions = view.actions(users)
            log["obs"].append(view.obs)
            log["mask"].append(view.action_mask)
            log["actions"].append(actions)
            log["rewards"].append(reward)
            log["own_rewards"].append(info["own_rewards"])
            log["log_prob"].append(_log_prob(author, view, actions, reward))
            if len(log["rewards"]) in (1, steps):  # at the first TTI, and all at the end: the check takes time
                probable = torch.stack(log["log_prob"])
                with naming(behaviour, "log_prob"):
                    if not bool(((probable <= ROUNDING) & (probable > -math.inf)).all()):
                        raise ValueError("must be finite and at most 0, ln of the probability of what it serves")
    last = late.seen(env.view(ReportView)) if late else env.view()
    log["obs"].append(last.obs)
    log["mask"].append(last.action_mask)
    columns = {name: torch.stack(values, 1).cpu().flatten(0, 1) for name, values in log.items()}
    step = torch.arange(steps, device="cpu")
    truncated = (step == steps - 1).repeat(env.num_envs)
    return Dataset(
        rows=(torch.arange(env.num_envs, device="cpu")[:, None] * (steps + 1) + step).flatten(),
        truncated=truncated,
        terminated=torch.zeros_like(truncated),
        metadata=metadata,
        **{**columns, "obs": columns["obs"].float(), "rewards": columns["rewards"].float()},
    )


def _log_prob(behaviour: Any, view: Any, actions: Tensor, reward: Tensor) -> Tensor:
    """ln of the behaviour's probability of the actions (E,), 0 if it has no `log_prob`."""
    if not hasattr(behaviour, "log_prob"):
        return torch.zeros_like(reward, dtype=torch.float64)
    log_prob = behaviour.log_prob(view, actions)
    with naming(behaviour, "log_prob"):
        check_tensor("it", log_prob, "float", "(E,)", reward)
    return log_prob.double()
