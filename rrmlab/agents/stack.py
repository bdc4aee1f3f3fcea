"""Policies of several training seeds run and scored as one.

Shapes: S seeds, E environments, I APs, N top users."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import is_kind, known_device
from ..config import NetworkConfig
from ..game.behaviours import on_device
from ..game.deployment import Deployment
from ..game.evaluation import Scores, evaluate_copies
from ..game.imperfect_reports import ImperfectReports
from ..game.views import ObservationView
from .actors import make_actor
from .policy import Policy
from .scale import Scale


def evaluate_seeds(
    policies: Sequence[Policy],
    config: NetworkConfig,
    num_episodes: int | None = None,
    seed: int = 0,
    split: str = "test",
    device: str | torch.device = "cpu",
    delay_ttis: int = 0,
    noise_db: float = 0.0,
    own_age_ttis: int = 0,
    neighbour_age_ttis: int = 0,
    deployments: Deployment | None = None,
) -> list[Scores]:
    """`evaluate` for the policies of several training seeds of one configuration, run side by side.

    Args:
        policies: of one configuration; the others are those of `evaluate`.
        delay_ttis, noise_db, own_age_ttis, neighbour_age_ttis: with late or noisy reports, see `ImperfectReports`.

    Raises:
        ValueError: what `evaluate` refuses, no policies, or policies that are not greedy and of one configuration.
    """
    if not isinstance(policies, list | tuple) or not policies or not all(is_kind(p, Policy) for p in policies):
        raise ValueError("policies: must be a list of at least one Policy")
    device = known_device(device)
    stack = PolicyStack([on_device(policy, device) for policy in policies])
    reports = (delay_ttis, noise_db, own_age_ttis, neighbour_age_ttis)
    seen = stack if reports == (0, 0, 0, 0) else ImperfectReports(stack, *reports)
    return evaluate_copies(seen, len(policies), config, num_episodes, seed, split, device, deployments)


class PolicyStack:
    """Greedy policies of several seeds of one configuration run as one: S equal groups of environments, one per seed.

    Raises:
        ValueError: policies of different configurations.
    """

    knowledge = ObservationView

    def __init__(self, policies: Sequence[Policy]) -> None:
        # Pairs, not one dict: agent and network both have a lam.
        facts = [
            [*p.config.to_dict().items(), *p.network.to_dict().items(), ("stochastic", p.stochastic)] for p in policies
        ]
        different = {one[0] for each in facts for one, other in zip(facts[0], each, strict=True) if one != other}
        if different:
            raise ValueError(f"policies: must be of one configuration, they differ in {', '.join(sorted(different))}")
        if policies[0].stochastic:
            raise ValueError("policies: must be greedy, these draw their actions")
        self.first, self.size = policies[0], len(policies)
        nets = [policy.nets for policy in policies]
        together = copy.deepcopy(nets[0])
        for name, net in together.items():
            layers = zip(*(each[name].layers for each in nets), strict=True)
            net.layers = torch.nn.ParameterList(torch.cat(list(same)) for same in layers).requires_grad_(False)
        scale = Scale.stacked([policy.scale for policy in policies])  # (S, 1, 1, N F)
        self._actor = make_actor(self.first.config, self.first.network, together, scale)

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
        obs, mask = (values.unflatten(0, (self.size, -1)) for values in (view.obs, view.action_mask))
        return view.users(self._actor.act(obs, mask).flatten(0, 1))
