"""The schedulers: simple rules, mixtures, and all of them by their short names."""

from __future__ import annotations

import copy
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from ..checks import check_proportions, check_range, real_number, seed_number
from ..config import NetworkConfig
from ..random_streams import MEMBERS, PolicyStream, sample
from .behaviours import Scheduler, SlotRule, check_behaviour, check_fits, on_device, parameters_of
from .link_schedulers import BestSubset, Exhaustive, GreedyMarginal, ITLinQ
from .messages import MessageRule
from .observations import OBSERVATIONS, observation_of
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
    """One user of the whole network per TTI, round robin over those who are there; every other AP is silent."""

    name = "TDM"
    knowledge = NetworkView

    def serve(self, view: NetworkView) -> Tensor:
        present = view.serving >= 0
        turn = view.ttis % present.sum(1, keepdim=True).clamp(min=1)
        user = (present & (present.cumsum(1) - 1 == turn)).int().argmax(1, keepdim=True)  # (E, 1)
        ap = torch.arange(view.slots.shape[1], device=view.serving.device)
        return torch.where(view.serving.gather(1, user) == ap, user, SILENT)


class FullReuse(SlotRule):
    """Every AP transmits to its best user by the PF factor (max-PF)."""

    name = "Full reuse"

    def serve(self, view: ObservationView) -> Tensor:
        return view.slots[..., 0]


class Threshold(SlotRule):
    """Every AP serves its best user by w^a * log2(1 + SINR) if w^b * log2(1 + SINR) >= c, else it is silent.

    It looks at what the paper's agents observe, the users in the slots, and nothing is exchanged. With a = 1 the best
    user is that of the first slot; a = b = 1 leaves one parameter, the least PF factor that is worth the interference.
    Source: `study`.

    Args:
        a: exponent of the weight in the choice of the user.
        b: exponent of the weight in the decision whether to transmit.
        c: what w^b * log2(1 + SINR) must reach, (bit/s/Hz)^(1 - b); with 0 this is full reuse.

    Raises:
        ValueError: an exponent outside of [0, 2], or `c` outside of [0, 10,000]; when scored, an observation that does
            not begin with the SINR in dB and ln w.
    """

    name = "Threshold"

    def __init__(self, a: float = 1.0, b: float = 0.6, c: float = 4.5) -> None:
        self.a, self.b, self.c = real_number("a", a), real_number("b", b), real_number("c", c)
        check_range(self, "a", 0, 2)
        check_range(self, "b", 0, 2)
        check_range(self, "c", 0, 10_000)

    def check_fits(self, network: NetworkConfig) -> None:
        """See `Policy.check_fits`."""
        features, needed = observation_of(network).features, OBSERVATIONS["local"].features
        if features[: len(needed)] != needed:
            raise ValueError(f"observation = {network.observation!r}: {self.name} needs one that begins with {needed}")

    def serve(self, view: ObservationView) -> Tensor:
        sinr_db, log_weight, *_ = view.obs.unflatten(-1, (view.slots.shape[-1], -1)).unbind(-1)  # (E, I, N) each
        filled, rate = view.slots != SILENT, torch.log2(1 + 10 ** (sinr_db / 10))
        best = (rate * torch.exp(self.a * log_weight)).masked_fill(~filled, -1).argmax(-1, keepdim=True)
        worth = filled & (rate * torch.exp(self.b * log_weight) >= self.c)
        return torch.where(worth.gather(-1, best), view.slots.gather(-1, best), SILENT).squeeze(-1)


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

    def check_fits(self, network: NetworkConfig) -> None:
        """See `Policy.check_fits`."""
        for member in self.members:
            check_fits(member, network)

    def to(self, device: str | torch.device) -> Mixture:
        """The same mixture with its policies on a device; itself if it has none."""
        members = [on_device(member, device) for member in self.members]
        if all(new is old for new, old in zip(members, self.members, strict=True)):
            return self
        moved = copy.copy(self)
        moved.members = copy.deepcopy(members)  # what has a state is not shared
        return moved

    def parameters(self) -> dict[str, Any]:
        members = [{"name": member.name, **parameters_of(member)} for member in self.members]
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
    "threshold": Threshold,
    "itlinq": ITLinQ,
    "greedy_marginal": GreedyMarginal,
    "best_subset": BestSubset,
    "graph_formula": MessageRule,
    "exhaustive": Exhaustive,
}


def make_scheduler(name: str, **arguments: Any) -> Scheduler:
    """A scheduler by its short name, e.g. `make_scheduler("itlinq", m_db=5.0, eta=0.3)`.

    Raises:
        ValueError: an unknown name, or an argument's value out of range.
        TypeError: an argument that this scheduler does not have, or one that is missing.

    >>> make_scheduler("itlinq", m_db=5.0, eta=0.3).parameters()
    {'m_db': 5.0, 'eta': 0.3}
    """
    if not isinstance(name, str) or name not in SCHEDULERS:
        known = ", ".join(SCHEDULERS)
        raise ValueError(f"scheduler {name!r}: must be one of {known}, or your own by SCHEDULERS[{name!r}] = its class")
    wanted = signature(SCHEDULERS[name])
    try:
        wanted.bind(**arguments)
    except TypeError as error:
        takes = ", ".join(wanted.parameters) or "no arguments"
        raise TypeError(f"scheduler {name!r}: {error}; it takes {takes}") from None
    return SCHEDULERS[name](**arguments)
