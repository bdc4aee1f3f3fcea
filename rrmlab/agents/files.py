"""Checkpoints of a policy on disk: what they hold, and whether they fit the agent."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from ..config import NetworkConfig
from .config import AgentConfig
from .paradigms import PARADIGMS

FORMAT = 1  # of the checkpoint
DESCRIPTION = {"format", "agent", "network", "seed"}  # names in policy.json


def _networks(config: AgentConfig, network: NetworkConfig) -> tuple[dict[str, tuple[int, ...]], tuple[int, ...]]:
    """Stack dimensions of each of the agent's networks, and the layer sizes that they share."""
    heads, inputs, actions = PARADIGMS[config.paradigm].heads(network.num_aps, network.top_n)
    stacks: dict[str, tuple[int, ...]] = {"critic": (2 if config.backbone == "sac" else 1, heads)}
    if config.backbone == "sac":
        stacks["actor"] = (heads,)
    return stacks, (inputs, *config.hidden, actions)


def _check_tensors(tensors: dict[str, Tensor], config: AgentConfig, network: NetworkConfig) -> None:
    """Raise ValueError unless the tensors are those of the agent on that network, float32, finite, with scales > 0."""
    wanted: dict[str, tuple[int, ...]] = {"obs_mean": (2 * network.top_n,), "obs_std": (2 * network.top_n,)}
    wanted |= {"reward_mean": (), "reward_std": ()}
    stacks, sizes = _networks(config, network)
    for name, stack in stacks.items():
        for k, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            wanted |= {f"{name}.{2 * k}": (*stack, fan_in, fan_out), f"{name}.{2 * k + 1}": (*stack, 1, fan_out)}
    for name in sorted(wanted.keys() ^ tensors.keys()):
        raise ValueError(f"tensor {name} is {'missing' if name in wanted else 'not one of this agent'}")
    for name, shape in wanted.items():
        found = tensors[name]
        if tuple(found.shape) != shape or found.dtype != torch.float32:
            raise ValueError(f"tensor {name} is {found.dtype} {tuple(found.shape)}, must be torch.float32 {shape}")
        if not bool(torch.isfinite(found).all()):
            raise ValueError(f"tensor {name} holds NaN or infinity, as after a training that diverged")
        if name.endswith("_std") and not bool((found > 0).all()):
            raise ValueError(f"tensor {name} must be above 0")
