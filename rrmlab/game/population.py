"""Who is there in a TTI and which AP serves each user; where the rate average of a newcomer starts.

Shapes: E environments, the last dimension as in all of the game's state, I APs, J users, T TTIs.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..config import NetworkConfig
from .deployment import Deployment
from .radio import association, associations


def presence(config: NetworkConfig, deployment: Deployment) -> np.ndarray:
    """Share (E, J) of the counted TTIs in which each user is there."""
    end = config.warmup_ttis + config.episode_ttis
    first, last = deployment.arrives.clamp(min=config.warmup_ttis), deployment.leaves.clamp(max=end)
    return (last - first).clamp(min=0).double().cpu().numpy() / config.episode_ttis


class Population:
    """The users of one episode, those of TTI 0 at first.

    Attributes:
        path: (T, E / copies, J) int64, the AP of each user in every TTI; T is 1 where none changes.
        serving: (J, E) int64, the AP of each user now, also of one who is not there.
        present: (J, E) bool, who is there.
        own: (I, J, E) bool, True between an AP and the users who are there and whom it serves.

    Args:
        config: the network.
        deployment: E deployments, of which the first E / copies are repeated.
        copies: of each deployment.
    """

    def __init__(self, config: NetworkConfig, deployment: Deployment, copies: int) -> None:
        self._config, self._copies = config, copies
        drawn = deployment[: len(deployment) // copies]
        self.path = associations(config, drawn) if config.hysteresis_db else association(config, drawn).unsqueeze(0)
        self._arrives, self._leaves = (x.T.contiguous() for x in (deployment.arrives, deployment.leaves))
        moved = (self.path[1:] != self.path[:-1]).flatten(1).any(1).nonzero() + 1
        # Known ahead, so that a TTI in which nothing changes costs a look into a set.
        changes = (drawn.arrives, drawn.leaves, moved)
        self._changes = {int(t) for part in changes for t in part.unique()}
        self._ap = torch.arange(config.num_aps, device=self.path.device)[:, None, None]
        self._user = torch.arange(config.num_users, device=self.path.device)[:, None]
        self.go_to(0)

    def go_to(self, t: int) -> bool:
        """Set the attributes to those of TTI t, the one after the last call's; whether something differs."""
        if t and t not in self._changes:
            return False
        self.serving = self.path[min(t, len(self.path) - 1)].repeat(self._copies, 1).T.contiguous()
        self.present = (self._arrives <= t) & (t < self._leaves)
        self.own = (self._ap == self.serving) & self.present
        return True

    def shown(self) -> Tensor:
        """`serving` as (E, J), -1 for a user who is not there."""
        return self.serving.masked_fill(~self.present, -1).T.contiguous()

    def first_averages(self, rates: Tensor) -> Tensor:
        """Averages in TTI 0: rates (J, E) at full power over the mean number of users of an AP."""
        if not self._config.mean_stay_s:
            return rates * (self._config.num_aps / self._config.num_users)
        return rates * (self._config.num_aps / self.present.sum(0).clamp(min=1).to(rates.dtype))

    def with_newcomers(self, t: int, averages: Tensor, sinr: Tensor) -> Tensor:
        """The averages (J, E), those of the users who come in TTI t set to where `config.newcomer_average` says.

        "share": log2(1 + SINR) over the number of users of its AP, what equal turns would give; "cell": the mean
        average of its AP's other users, or share where there are none; "floor": `average_floor`, the greatest weight.

        Args:
            t: from 1 on, one in which something changed.
            averages, sinr: (J, E), now; the SINR linear.
        """
        if not bool((new := (self._arrives == t) & self.present).any()):
            return averages
        if self._config.newcomer_average == "floor":
            return torch.where(new, self._config.average_floor, averages)
        start = torch.log2(1 + sinr) / self._of_cell(self.own).clamp(min=1).to(averages.dtype)
        if self._config.newcomer_average == "cell":
            others = self.own & ~new
            count = self._of_cell(others)
            mean = self._of_cell(others * averages) / count.clamp(min=1)
            start = torch.where(count > 0, mean, start)
        return torch.where(new, start, averages)

    def best(self, factor: Tensor) -> tuple[Tensor, Tensor]:
        """The N best own users of every AP by factor (J, E) >= 0: users (I, N, E), any where there is none, and whether
        there is one. A user who is not there is in no slot.

        The user's index stands in the last bits of the factor as an integer, which orders like the number itself: one
        maximum finds value and user, and equal factors go to the lower index.
        """
        i, j = self._config.num_aps, self._config.num_users
        if self._config.mean_stay_s:
            factor = factor.masked_fill(~self.present, -1)  # below all
        last_bits = (1 << j.bit_length()) - 1
        nobody = -1 - j  # below all, and stands for user j
        key = (factor.double().view(torch.int64) | last_bits) - self._user
        key = torch.cat([key, key.new_full((1, factor.shape[1]), nobody)])
        found, users = [], []
        for _ in range(self._config.top_n):
            best = key.new_full((i, factor.shape[1]), nobody).scatter_reduce_(0, self.serving, key[:j], "amax")
            users.append(last_bits - (best & last_bits))
            found.append(best >= 0)
            key.scatter_(0, users[-1], nobody)
        return torch.stack(users, 1).clamp_(max=j - 1), torch.stack(found, 1)

    def _of_cell(self, values: Tensor) -> Tensor:
        """Sums over users (I, J, E), at each user that of its AP (J, E)."""
        # Along contiguous users: the order of a sum across rows would depend on E.
        return values.transpose(1, 2).contiguous().sum(-1).gather(0, self.serving)
