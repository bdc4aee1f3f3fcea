"""Centralized, independent, CTDE: how observations and actions become heads.

A head is one network with one discrete choice. Shapes: I APs, N top users, F features of each, H heads, D inputs and A
actions of a head.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import NetworkConfig
from ..game.observations import observation_of
from . import losses

JOINT_ACTION_LIMIT = 4096  # outputs of one network; beyond it the layer and its data needs grow past any use, `study`


@dataclass(frozen=True)
class Paradigm:
    """One of the three ways to train.

    Attributes:
        name: "centralized", "independent" or "ctde".
        joint: one head over the joint observation and the joint action, instead of one head per AP.
        mixed: a mixer makes one value Q_tot of the heads' values before they meet the TD target.
    """

    name: str
    joint: bool
    mixed: bool

    def heads(self, network: NetworkConfig) -> tuple[int, int, int]:
        """(H, D, A) on a network.

        Raises:
            ValueError: more joint actions than `JOINT_ACTION_LIMIT`.
        """
        num_aps, top_n, inputs = network.num_aps, network.top_n, observation_of(network).size(network)
        if not self.joint:
            return num_aps, inputs, top_n + 1
        actions = (top_n + 1) ** num_aps
        if actions > JOINT_ACTION_LIMIT:
            raise ValueError(
                f"paradigm = 'centralized' with num_aps = {num_aps} and top_n = {top_n}: its one head would have "
                f"(N+1)^I = {actions} outputs, at most {JOINT_ACTION_LIMIT} are allowed; "
                "take paradigm = 'ctde', whose heads have N+1 outputs each"
            )
        return 1, inputs * num_aps, actions

    def observations(self, obs: Tensor) -> Tensor:
        """obs (..., B, I, N F) -> (..., H, B, D)."""
        return obs.flatten(-2).unsqueeze(-3) if self.joint else obs.transpose(-2, -3)

    def masks(self, mask: Tensor) -> Tensor:
        """mask (..., B, I, N+1) -> (..., H, B, A)."""
        if not self.joint:
            # In memory the batch is last, as it is in the values of so few actions.
            return mask.movedim(-3, -1).contiguous().mT
        return (self._masked(mask) == 0).unsqueeze(-3)

    def barriers(self, mask: Tensor) -> Tensor:
        """The `losses.barrier` of `masks`: mask (..., B, I, N+1) -> (..., H, B, A); that of joint actions takes fewer
        steps and has -1e30 and below for -inf."""
        return (self._masked(mask) * -losses.HUGE).unsqueeze(-3) if self.joint else losses.barrier(self.masks(mask))

    def _masked(self, mask: Tensor) -> Tensor:
        """How many of a joint action's single actions are masked (..., B, A^I), as a matrix product."""
        return (~mask).flatten(-2).float() @ _members(*mask.shape[-2:], mask.device)

    def to_heads(self, actions: Tensor, num_actions: int) -> Tensor:
        """Per-AP actions (..., B, I), each one of `num_actions` = N+1, -> per-head actions (..., H, B)."""
        if not self.joint:
            return actions.transpose(-1, -2)
        return (actions * _place_values(actions.shape[-1], num_actions, actions.device)).sum(-1).unsqueeze(-2)

    def to_aps(self, actions: Tensor, num_actions: int, num_aps: int) -> Tensor:
        """Inverse of `to_heads`: (..., H, B) -> (..., B, I)."""
        if not self.joint:
            return actions.transpose(-1, -2)
        joint = actions.squeeze(-2).unsqueeze(-1)
        return joint.div(_place_values(num_aps, num_actions, joint.device), rounding_mode="floor") % num_actions


@functools.cache
def _place_values(num_aps: int, num_actions: int, device: torch.device) -> Tensor:
    """What each AP's action counts in the joint action (I,): the last AP's varies fastest."""
    return num_actions ** torch.arange(num_aps - 1, -1, -1, device=device)


@functools.cache
def _members(num_aps: int, num_actions: int, device: torch.device) -> Tensor:
    """1 where a joint action takes an AP's single action: (I A, A^I) float32."""
    joint = torch.arange(num_actions**num_aps, device=device).unsqueeze(-1)
    single = joint.div(_place_values(num_aps, num_actions, device), rounding_mode="floor") % num_actions  # (A^I, I)
    return torch.nn.functional.one_hot(single, num_actions).flatten(1).T.float()


PARADIGMS = {
    "centralized": Paradigm("centralized", joint=True, mixed=False),
    "independent": Paradigm("independent", joint=False, mixed=False),
    "ctde": Paradigm("ctde", joint=False, mixed=True),
}
