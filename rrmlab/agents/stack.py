"""Policies of several training seeds run and scored as one.

Shapes: S seeds, E environments, I APs, N top users."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import known_device
from ..config import NetworkConfig
from ..game.evaluation import Scores, evaluate_copies, on_device
from ..game.imperfect_reports import ImperfectReports
from ..game.views import ObservationView
from . import losses
from .policy import Policy


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
        delay_ttis, noise_db: with late or noisy reports, see `ImperfectReports`.
    """
    if not isinstance(policies, list | tuple) or not all(isinstance(policy, Policy) for policy in policies):
        raise ValueError("policies: must be a list of Policy")
    device = known_device(device)
    stack = PolicyStack([on_device(policy, device) for policy in policies])
    heard = ImperfectReports(stack, delay_ttis, noise_db) if delay_ttis or noise_db else stack
    return evaluate_copies(heard, len(policies), config, num_episodes, seed, split, device)


class PolicyStack:
    """Greedy policies of several seeds of one configuration run as one: S equal groups of environments, one per seed.

    Raises:
        ValueError: policies of different configurations.
    """

    knowledge = ObservationView

    def __init__(self, policies: Sequence[Policy]) -> None:
        if len({(p.config, p.network) for p in policies}) != 1 or any(p.stochastic for p in policies):
            raise ValueError("policies: must be greedy and of one AgentConfig and one NetworkConfig")
        self.first, self.size = policies[0], len(policies)
        name = "actor" if "actor" in policies[0]._nets else "critic"
        layers = zip(*(p._nets[name].layers for p in policies), strict=True)
        self._net = copy.deepcopy(policies[0]._nets[name])
        self._net.layers = torch.nn.ParameterList(torch.cat(list(same)) for same in layers)
        self._net.requires_grad_(False)
        scales = [torch.stack([p.tensors[k] for p in policies]) for k in ("obs_mean", "obs_std")]
        self._mean, self._std = (scale[:, None, None] for scale in scales)  # (S, 1, 1, 2N)

    @property
    def name(self) -> str:
        return self.first.name

    def begin(self, key: Tensor) -> None:
        """Greedy: nothing to prepare."""

    def check_fits(self, network: NetworkConfig) -> None:
        """See `Policy.check_fits`."""
        self.first.check_fits(network)

    def serve(self, view: ObservationView) -> Tensor:
        """Users to serve (S * E, I)."""
        paradigm = self.first.paradigm
        obs = (view.obs.to(self._mean).unflatten(0, (self.size, -1)) - self._mean) / self._std
        inputs = paradigm.observations(obs)
        values = self._net(inputs if "actor" in self.first._nets else inputs.unsqueeze(1))
        mask = paradigm.masks(view.action_mask.unflatten(0, (self.size, -1)))
        choice = losses.masked(values if values.ndim == mask.ndim else values[:, 0], mask).argmax(-1)  # (S, H, E)
        return view.users(paradigm.to_aps(choice, view.action_mask.shape[-1], view.obs.shape[1]).flatten(0, 1))
