"""Baseline schedulers and the exhaustive oracle.

A scheduler has a `name`, says by `knowledge` what it may look at (a view of `game.views`), and serves: `begin(key)` at
an episode's start, then `serve(view)` -> users (E, I), -1 for silence, once per TTI. Learned policies have the same.
Those that can be logged as behaviour also have `log_prob(view, actions)` (E,), the log-probability of the joint action.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, Protocol

import torch
from torch import Tensor

from ..checks import check_proportions, check_range, real_number, seed_number
from ..random_streams import MEMBERS, PolicyStream, sample
from .views import SILENT, CellView, CrossGainView, NetworkView, ObservationView


class Behaviour(Protocol):
    """What `evaluate` and `collect` can run: schedulers and learned policies alike."""

    @property
    def name(self) -> str: ...

    @property
    def knowledge(self) -> type[ObservationView]: ...

    def begin(self, key: Tensor) -> None: ...

    def serve(self, view: Any) -> Tensor: ...


class Scheduler:
    """Base of the schedulers, which decide by rule in every TTI.

    One's own has a `name`, a `knowledge`, which is the view that `serve` gets (`ObservationView` unless it is set), and
    `serve(view)`, which returns the user that each AP serves, (E, I) int64, by the user's index and not by its slot, -1
    for silence. `view.slots[..., 0]` are the APs' best users by the PF factor.
    """

    name = ""
    knowledge: type[ObservationView] = ObservationView

    def begin(self, key: Tensor) -> None:
        """Called with the deployments' keys (E, 3) when an episode starts."""

    def serve(self, view: Any) -> Tensor:
        """Users to serve (E, I) int64, -1 for silence."""
        raise NotImplementedError

    def parameters(self) -> dict[str, Any]:
        """Its attributes that are plain numbers, for the metadata of what it logs; override it for others."""
        return {name: value for name, value in vars(self).items() if isinstance(value, int | float)}


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


class ITLinQ(Scheduler):
    """Information-theoretic link scheduling over the APs' best PF users.

    The links are sorted by PF factor; the first is admitted, and the next one if and only if
    max(INR into its user from the admitted APs, INR from its AP into their users) <= M * SNR^eta, with its own SNR.
    Source: Naderializadeh and Avestimehr, "ITLinQ" (2014), in the form of the lineage's public code.

    Args:
        m_db: M in dB; 25 is the paper's baseline, 0 the theoretical condition.
        eta: the exponent; 0.7 is the paper's baseline, 0.5 the theoretical condition.

    Raises:
        ValueError: M outside of +-100 dB (a ratio given for it, say), or an exponent outside of [0, 2].
    """

    name = "ITLinQ"
    knowledge = CrossGainView

    def __init__(self, m_db: float = 25.0, eta: float = 0.7) -> None:
        self.m_db, self.eta = real_number("m_db", m_db), real_number("eta", eta)
        check_range(self, "m_db", -100, 100)
        check_range(self, "eta", 0, 2)

    def serve(self, view: CrossGainView) -> Tensor:
        gain = view.gain[..., 0]  # (E, from I, to the chosen user of I)
        signal = gain.diagonal(dim1=1, dim2=2)
        present = view.slots[..., 0] != SILENT
        factor = (view.weight * torch.log2(1 + view.sinr))[..., 0]  # of the user in the first slot
        order = factor.masked_fill(~present, -1).argsort(dim=-1, descending=True, stable=True)
        allowed = 10 ** (self.m_db / 10) * signal**self.eta
        # The stronger of the two interferences between any two links; what matters is only the worse.
        mutual = torch.maximum(gain, gain.transpose(1, 2)) * _others(gain)
        admitted = torch.zeros_like(present)
        for k in range(order.shape[1]):
            link = order[:, k, None]
            worst = (mutual.gather(1, link.unsqueeze(-1).expand(-1, 1, mutual.shape[2])).squeeze(1) * admitted).amax(-1)
            fits = (worst <= allowed.gather(1, link).squeeze(1)) | (not k)
            admitted = admitted.scatter(1, link, (fits & present.gather(1, link).squeeze(1)).unsqueeze(1))
        return torch.where(admitted, view.slots[..., 0], SILENT)

    def log_prob(self, view: CrossGainView, actions: Tensor) -> Tensor:
        return torch.where(view.users(actions) == self.serve(view), 0.0, -math.inf).double().sum(-1)


class Exhaustive(Scheduler):
    """The oracle: the joint action of the greatest one-step reward, by trying all (N+1)^I with every current gain.

    Args:
        lam: lambda of the reward.

    Raises:
        ValueError: `lam` outside of [0, 1]; when serving, more than 65,536 joint actions.
    """

    name = "Exhaustive"
    knowledge = CrossGainView
    limit = 2**16

    def __init__(self, lam: float = 0.8) -> None:
        self.lam = real_number("lam", lam)
        check_range(self, "lam", 0, 1)

    def serve(self, view: CrossGainView) -> Tensor:
        rewards = joint_rewards(view, self.lam)
        return view.users(joint_actions(view)[rewards.argmax(-1)])


def joint_actions(view: ObservationView) -> Tensor:
    """All joint actions (A^I, I) in the order of the joint index (the last AP's action varies fastest)."""
    _, aps, actions = view.action_mask.shape
    if actions**aps > Exhaustive.limit:
        raise ValueError(f"{actions}^{aps} joint actions are too many to try: at most {Exhaustive.limit}")
    return torch.tensor(list(itertools.product(range(actions), repeat=aps)), device=view.slots.device)


def joint_rewards(view: CrossGainView, lam: float) -> Tensor:
    """One-step reward of every joint action (E, A^I); -inf where it uses an empty slot.

    The interference at a slot depends on who transmits and not on what, so the rates are computed once for the
    2^I transmitter sets and then looked up.
    """
    e, i, n = view.slots.shape
    actions = joint_actions(view)  # (X, I)
    sets = torch.tensor(list(itertools.product((0, 1), repeat=i)), device=view.gain.device).to(view.gain)  # (2^I, I)
    # Interference at slot n of AP k under each set: sum over the other transmitting APs.
    cross = view.gain * _others(view.gain)[:, :, None]
    interference = torch.einsum("si,eikn->eskn", sets, cross)
    signal = torch.einsum("eiin->ein", view.gain).unsqueeze(1)
    value = view.weight.pow(lam).unsqueeze(1) * torch.log2(1 + signal / (1 + interference))  # (E, 2^I, I, N)
    value = value.masked_fill((view.slots == SILENT).unsqueeze(1), -math.inf)
    value = torch.nn.functional.pad(value, (1, 0))  # silence earns nothing
    which = ((actions > 0) * 2 ** torch.arange(i - 1, -1, -1, device=actions.device)).sum(-1)  # (X,)
    flat = (which[:, None] * i + torch.arange(i, device=which.device)) * (n + 1) + actions  # (X, I)
    return value.reshape(e, -1)[:, flat.flatten()].view(e, -1, i).sum(-1)


def _others(gain: Tensor) -> Tensor:
    """1 between an AP and another, 0 between it and itself: (I, I), for gains (E, I, ...)."""
    return 1 - torch.eye(gain.shape[1], dtype=gain.dtype, device=gain.device)


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


def check_behaviour(name: str, value: Any) -> None:
    """ValueError unless the value can be run: a scheduler, a policy, or whatever has what `Behaviour` lists."""
    missing = [part for part in ("name", "knowledge", "begin", "serve") if not hasattr(value, part)]
    if isinstance(value, type) or missing:
        lacks = "is a class, not an object of it" if isinstance(value, type) else f"has no {', '.join(missing)}"
        raise ValueError(f"{name}: {value!r} is no scheduler and no policy, it {lacks}")
    if not isinstance(value.name, str) or not value.name:
        raise ValueError(f"{name}: {value!r} has name = {value.name!r}, which must be a text")
    if not isinstance(value.knowledge, type) or not issubclass(value.knowledge, ObservationView):
        raise ValueError(f"{name}: {value!r} has knowledge = {value.knowledge!r}, which must be a view of `game.views`")


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
