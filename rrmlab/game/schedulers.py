"""The schedulers: simple rules, mixtures, and all of them by their short names."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..checks import check_proportions, seed_number
from ..random_streams import MEMBERS, PolicyStream, sample
from .behaviours import Scheduler, check_behaviour
from .link_schedulers import Exhaustive, ITLinQ
from .views import SILENT, CellView, CrossGainView, NetworkView, ObservationView


class RandomWalk(Scheduler):
    """Each AP takes one of its allowed actions (a slot or silence) uniformly at random.

    Raises:
        ValueError: a seed that is not a whole number in 0 ... 2^63 - 1.
    """

    name = "Random walk"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed_number(seed)

    def begin(self, key: Tensor) -> None:
        self._key = key
        self._stream: PolicyStream | None = None

    def serve(self, view: ObservationView) -> Tensor:
        if self._stream is None:
            self._stream = PolicyStream(self._key, self.seed, view.slots.shape[1])
        return view.users(sample(view.action_mask.double(), self._stream.next()))

    def log_prob(self, view: ObservationView, actions: Tensor) -> Tensor:
        return -view.action_mask.sum(-1).double().log().sum(-1)


class TDM(Scheduler):
    """One user of the whole network per TTI, round robin; every other AP is silent."""

    name = "TDM"
    knowledge = NetworkView

    def serve(self, view: NetworkView) -> Tensor:
        user = view.ttis % view.serving.shape[1]
        ap = torch.arange(view.slots.shape[1], device=view.serving.device)
        return torch.where(view.serving[:, user, None] == ap, user, SILENT)


class FullReuse(Scheduler):
    """Every AP transmits to its best user by the PF factor (max-PF)."""

    name = "Full reuse"

    def serve(self, view: ObservationView) -> Tensor:
        return view.slots[..., 0]

    def log_prob(self, view: ObservationView, actions: Tensor) -> Tensor:
        return torch.where(view.users(actions) == self.serve(view), 0.0, -math.inf).double().sum(-1)


class MaxSINR(Scheduler):
    """Every AP transmits to its user of the highest reported SINR, however often that user was served."""

    name = "Max-SINR"
    knowledge = CellView

    def serve(self, view: CellView) -> Tensor:
        best, user = view.sinr.max(-1)
        return torch.where(best > 0, user, SILENT)


class Mixture(Scheduler):
    """Every TTI the whole network follows one of several schedulers, drawn with the given proportions.

    Raises:
        ValueError: no members, one that is no scheduler or cannot be logged, or proportions that are not one positive
            number per member.
    """

    name = "Mixture"
    knowledge = CrossGainView

    def __init__(self, members: list[Any], proportions: list[float] | None = None, seed: int = 0) -> None:
        for member in members if isinstance(members, list | tuple) else [members]:
            check_behaviour("members", member)
            if not issubclass(self.knowledge, member.knowledge):
                raise ValueError(f"members: {member.name} does not stay within the slots")
            if not hasattr(member, "log_prob"):
                raise ValueError(f"members: {member.name} has no log_prob, so what is mixed of it cannot be logged")
        proportions = [1.0] * len(members) if proportions is None else proportions
        proportions = check_proportions(proportions, members, "members")
        self.members, self.seed = list(members), seed_number(seed)
        self.shares = torch.tensor(proportions, dtype=torch.float64, device="cpu") / sum(proportions)

    def parameters(self) -> dict[str, Any]:
        members = [{"name": member.name, **member.parameters()} for member in self.members]
        return {"members": members, "shares": self.shares.tolist(), "seed": self.seed}

    def begin(self, key: Tensor) -> None:
        self._stream = PolicyStream(key, self.seed, 1, MEMBERS)
        for member in self.members:
            member.begin(key)

    def serve(self, view: CrossGainView) -> Tensor:
        choice = sample(self.shares.to(view.gain.device), self._stream.next()[:, 0])  # (E,)
        users = torch.stack([member.serve(view.narrow(member.knowledge)) for member in self.members])  # (K, E, I)
        return users[choice, torch.arange(len(choice), device=choice.device)]

    def log_prob(self, view: CrossGainView, actions: Tensor) -> Tensor:
        each = torch.stack([m.log_prob(view.narrow(m.knowledge), actions) for m in self.members], -1)
        return (each + self.shares.to(each.device).log()).logsumexp(-1)


# Short name -> class. One of the user's own is registered with `SCHEDULERS["short_name"] = cls`.
SCHEDULERS: dict[str, type[Scheduler]] = {
    "random_walk": RandomWalk,
    "tdm": TDM,
    "full_reuse": FullReuse,
    "max_sinr": MaxSINR,
    "itlinq": ITLinQ,
    "exhaustive": Exhaustive,
}


def make_scheduler(name: str, **arguments: Any) -> Scheduler:
    """A scheduler by its short name, e.g. `make_scheduler("itlinq", m_db=5.0, eta=0.3)`.

    Raises:
        ValueError: an unknown name, or an argument's value out of range.
        TypeError: an argument that this scheduler does not have.

    >>> make_scheduler("itlinq", m_db=5.0, eta=0.3).parameters()
    {'m_db': 5.0, 'eta': 0.3}
    """
    if not isinstance(name, str) or name not in SCHEDULERS:
        known = ", ".join(SCHEDULERS)
        raise ValueError(f"scheduler {name!r}: must be one of {known}, or your own by SCHEDULERS[{name!r}] = its class")
    return SCHEDULERS[name](**arguments)
